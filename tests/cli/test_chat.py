"""`hakaru chat` at a prompt, without a model."""

import sys
from collections.abc import Iterator

import httpx
import pytest

from hakaru.cli.commands import chat
from hakaru.serving.conversation import Conversation


class Endless(Conversation):
    """A model that repeats one word until it is stopped."""

    def _stream(self, begun: str) -> Iterator[str]:
        self.n_tokens, self.is_cut = self.max_tokens or 0, True
        yield "again " * self.n_tokens


def typed(monkeypatch: pytest.MonkeyPatch, *lines: str) -> Conversation:
    """What is left of a conversation in which a person typed these lines."""
    left = iter(lines)

    def line(prompt: str) -> str:
        for text in left:
            return text
        raise EOFError

    monkeypatch.setattr("builtins.input", line)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    talk = Endless(httpx.Client(), "m", max_tokens=3)
    assert chat._talk(talk, None) == 0
    return talk


def test_an_endless_answer_is_stopped_and_goes_on_when_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is said after how many tokens, and what to type; `/more` goes on with the same answer."""
    talk = typed(monkeypatch, "hello", "/more")
    said = capsys.readouterr()
    assert "[stopped after 3 tokens; /more goes on, --max-tokens 12 allows more]" in said.err
    assert said.out == "again again again \n" * 2
    assert [turn["role"] for turn in talk.turns] == ["user", "assistant"]


def test_more_without_a_cut_answer_asks_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model does not get `/more` for a question."""
    talk = typed(monkeypatch, "/more")
    said = capsys.readouterr()
    assert (said.out, talk.turns) == ("", [])
    assert "no answer was cut" in said.err


def test_a_single_answer_that_is_stopped_names_the_option(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After `-p` there is no prompt at which `/more` could be typed."""
    chat._talk(Endless(httpx.Client(), "m", max_tokens=3), "hello")
    assert "for more: --max-tokens 12" in capsys.readouterr().err
