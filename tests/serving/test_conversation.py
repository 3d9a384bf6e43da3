"""A conversation, with a server that is played."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from hakaru.serving.conversation import Conversation


def conversation(
    answers: list[tuple[str, str]], heard: list[dict[str, Any]], **changes: Any
) -> Conversation:
    """With a server that gives these answers, each a text and the reason of its end."""

    def answer(request: httpx.Request) -> httpx.Response:
        heard.append(json.loads(request.content))
        text, reason = answers[len(heard) - 1]
        events: list[dict[str, Any]] = [
            *({"choices": [{"delta": {"content": word}}]} for word in text.split(" ") if word),
            {"choices": [{"delta": {}, "finish_reason": reason}], "timings": {"predicted_n": 7}},
        ]
        return httpx.Response(200, text="".join(f"data: {json.dumps(e)}\n\n" for e in events))

    client = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://x/v1/")
    return Conversation(client, "m", **changes)


def test_an_answer_that_does_not_end_is_cut_and_goes_on() -> None:
    """The limit is asked of the server; the rest is asked for with the half answer, and one whole
    answer stands in the turns.
    """
    heard: list[dict[str, Any]] = []
    talk = conversation([("a b", "length"), ("c", "stop")], heard, max_tokens=7, system="Be brief.")
    assert list(talk.ask("count")) == ["a", "b"]
    assert (talk.is_cut, talk.goes_on, talk.n_tokens) == (True, True, 7)
    assert list(talk.more()) == ["c"]
    assert (talk.is_cut, talk.goes_on) == (False, False)
    assert [request["max_tokens"] for request in heard] == [7, 7]
    asked = {"role": "user", "content": "count"}
    assert heard[1]["messages"][1:] == [asked, {"role": "assistant", "content": "ab"}]
    assert talk.turns == [asked, {"role": "assistant", "content": "abc"}]


def test_an_answer_that_was_cut_before_its_first_word_cannot_go_on() -> None:
    """A model that was still thinking: the question does not stay either."""
    talk = conversation([("", "length")], [], max_tokens=7)
    assert list(talk.ask("count")) == []
    assert (talk.is_cut, talk.goes_on, talk.turns) == (True, False, [])


@pytest.mark.parametrize("ask", [Conversation.ask, lambda talk, _: talk.more()])
def test_without_a_limit_none_is_asked(ask: Callable[[Conversation, str], Any]) -> None:
    """The page and programs decide for themselves."""
    heard: list[dict[str, Any]] = []
    talk = conversation([("a", "stop")], heard)
    talk.turns.append({"role": "assistant", "content": "begun"})
    list(ask(talk, "count"))
    assert "max_tokens" not in heard[0]
