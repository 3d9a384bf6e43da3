"""`hakaru chat` at a prompt, without a model."""

import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hakaru.cli.commands import chat
from hakaru.models.embedded import is_english_only
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


@pytest.mark.parametrize("is_english", [True, False])
def test_the_opening_says_where_the_model_speaks_english_only(
    is_english: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a prompt, with the way to another model; in a pipe nobody reads it."""
    for has_prompt in (True, False):
        monkeypatch.setattr("builtins.input", _ended)
        monkeypatch.setattr(sys.stdin, "isatty", lambda there=has_prompt: there, raising=False)
        assert chat._talk(Endless(httpx.Client(), "m"), None, is_english=is_english) == 0
        said = capsys.readouterr().err
        assert ("understands English only" in said) == (is_english and has_prompt)
        assert ("hakaru chat MODEL.gguf" in said) == (is_english and has_prompt)


def _ended(prompt: str) -> str:
    raise EOFError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("SmolLM2-135M-Instruct.Q4_1.gguf", True),
        ("SmolLM2-135M-Instruct.Q4_1-Q3_K_M.gguf", True),
        ("smollm2-135m-instruct-q8_0.gguf", True),
        ("SmolLM2-360M-Instruct.gguf", False),
        ("モデル.gguf", False),
    ],
)
def test_what_is_made_of_the_embedded_model_speaks_english_only_too(
    name: str, expected: bool, tmp_path: Path
) -> None:
    """A level that `up` chose is served from a file of another name."""
    assert is_english_only(tmp_path / name) == expected


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
