"""A conversation, with a server that is played."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from hakaru.errors import EngineRefused
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


def with_room(n_ctx: int, heard: list[list[str]], *, tells: bool = True) -> Conversation:
    """With a server whose context holds `n_ctx` letters, and refuses more; it may tell both
    numbers.
    """

    def answer(request: httpx.Request) -> httpx.Response:
        texts = [turn["content"] for turn in json.loads(request.content)["messages"]]
        n = sum(map(len, texts))
        if n > n_ctx:
            error: dict[str, Any] = {"message": "too long", "code": "context_length_exceeded"}
            numbers = {"n_prompt_tokens": n, "n_ctx": n_ctx} if tells else {}
            return httpx.Response(400, json={"error": error | numbers})
        heard.append(texts)
        events: list[dict[str, Any]] = [
            {"choices": [{"delta": {"content": "yes"}, "finish_reason": "stop"}]},
            {"choices": [], "usage": {"total_tokens": n + 3}},
        ]
        return httpx.Response(200, text="".join(f"data: {json.dumps(e)}\n\n" for e in events))

    client = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://x/v1/")
    return Conversation(client, "m", system="s")


@pytest.mark.parametrize("tells", [True, False])
def test_where_the_context_is_full_the_oldest_turns_go(tells: bool) -> None:
    """And no more than need to, with some room where the server tells how long it all is. The
    instruction stays, and a question stands first.
    """
    heard: list[list[str]] = []
    talk = with_room(18, heard, tells=tells)
    for text in ("a", "bbbbbbb", "cccc"):
        assert list(talk.ask(text)) == ["yes"]
    assert heard[1] == ["s", "a", "yes", "bbbbbbb"]
    assert heard[2] == (["s", "cccc"] if tells else ["s", "bbbbbbb", "yes", "cccc"])
    assert talk.n_left_out == (4 if tells else 2)
    assert talk.n_used == sum(map(len, heard[2])) + 3


def test_a_question_that_is_too_long_alone_is_refused_and_forgotten() -> None:
    """Nothing could go that would make room; what was said before stays."""
    heard: list[list[str]] = []
    talk = with_room(20, heard)
    list(talk.ask("aaaa"))
    with pytest.raises(EngineRefused, match="too long"):
        list(talk.ask("b" * 30))
    assert len(heard) == 1
    assert list(talk.ask("c")) == ["yes"]


@pytest.mark.parametrize("fault", ["refused", "broken off", "gone", "stopped"])
def test_an_answer_stays_where_no_other_comes(fault: str) -> None:
    """Another answer that is refused, breaks off or never begins takes nothing away."""

    def answer(request: httpx.Request) -> httpx.Response:
        if fault == "refused":
            return httpx.Response(503, json={"error": {"message": "busy", "code": "busy"}})
        if fault == "gone":
            raise httpx.ConnectError("gone")
        events = 'data: {"choices": [{"delta": {"content": "half"}}]}\n\n'
        return httpx.Response(200, text=events + 'data: {"error": {"message": "died"}}\n\n')

    turns = [
        {"role": role, "content": f"{role} {n}"} for n in (1, 2) for role in ("user", "assistant")
    ]
    client = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://x/v1/")
    talk = Conversation(client, "m", turns=list(turns))
    answers = talk.again()
    if fault == "stopped":
        next(answers)
        answers.close()
        assert talk.turns == [*turns[:3], {"role": "assistant", "content": "half"}]
        return
    with pytest.raises(EngineRefused):
        list(answers)
    assert talk.turns == turns
