"""What a person pastes works: paths with blanks, dashes and Japanese, and hakaru off the PATH."""

import shlex
import sys
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.cli.paste import pasted, runnable
from hakaru.evaluation.tasks import parse_items
from hakaru.testing import tiny_shape, write_tiny_llama


@pytest.mark.parametrize("name", ["a b.gguf", "モデル 4bit.gguf", "it's.gguf", "$HOME.gguf"])
def test_a_path_comes_back_as_it_is(name: str) -> None:
    """The shell splits the command into the very words that were meant."""
    command = pasted("hakaru", "serve", Path(name), "--context", "512")
    assert shlex.split(command) == ["hakaru", "serve", name, "--context", "512"]


def test_a_path_that_begins_with_a_dash_is_no_option() -> None:
    """`-x.gguf` would be read as options."""
    assert pasted("hakaru", "serve", Path("-x.gguf")) == "hakaru serve ./-x.gguf"


def test_hakaru_off_the_path_is_named_by_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `make up` no shell finds `hakaru`; where one does, the short name stands."""
    folder = tmp_path / "my venv"
    folder.mkdir()
    program = folder / "hakaru"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(program)])
    monkeypatch.setenv("PATH", "/nowhere")
    assert shlex.split(runnable("hakaru chat")) == ["my venv/hakaru", "chat"]
    monkeypatch.setenv("PATH", str(folder))
    assert runnable("hakaru chat") == "hakaru chat"
    monkeypatch.setattr("sys.argv", ["pytest"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert runnable("hakaru chat") == "hakaru chat"


def test_what_an_error_says_to_paste_is_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A right line of a task file, and an address: a terminal would break them at a blank."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    tasks, model = tmp_path / "tasks.jsonl", tmp_path / "model.gguf"
    tasks.write_text('{"prompt": "a"}')
    write_tiny_llama(model, tiny_shape())
    assert run(["test", str(model), "--no-speed", "--tasks", str(tasks)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert any(parse_items("x", line) for line in lines if line.startswith("{"))
    assert run(["test", "qwen3-8b"]) == 4
    assert "hf download Qwen/Qwen3-8B" in capsys.readouterr().err.splitlines()


def test_a_path_in_an_error_is_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where blanks and Japanese stand in it."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    path = "/nowhere/my own models/とても長い 名前/a model.gguf"
    assert run(["show", path]) == 4
    assert f"{path}:" in capsys.readouterr().err.splitlines()
