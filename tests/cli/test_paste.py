"""What a person pastes works: paths with blanks, dashes and Japanese, and hakaru off the PATH."""

import shlex
from pathlib import Path

import pytest

from hakaru.cli.paste import pasted, runnable


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
