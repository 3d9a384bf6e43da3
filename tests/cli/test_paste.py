"""What a person pastes works: paths with blanks, dashes and Japanese, and hakaru off the PATH."""

import re
import shlex
import sys
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.cli.app import app
from hakaru.cli.paste import VERBS, pasted, runnable
from hakaru.cli.wrapping import whole
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


@pytest.fixture
def off_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with hakaru and hf, as `make up` leaves them: no shell finds them by name."""
    folder = tmp_path / "venv"
    folder.mkdir()
    for name in ("hakaru", "hf"):
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", [str(folder / "hakaru")])
    monkeypatch.setenv("PATH", "/nowhere")
    return folder


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("hakaru chat", "venv/hakaru chat"),
        ("To have one: hakaru engine build", "To have one: venv/hakaru engine build"),
        ("See: hakaru --help", "See: venv/hakaru --help"),
        ("`hakaru test` does it.", "`venv/hakaru test` does it."),
        ("Start with: hakaru up.", "Start with: venv/hakaru up."),
        ("作るには: hakaru engine build", "作るには: venv/hakaru engine build"),
        ("次に hakaru upを実行", "次に venv/hakaru upを実行"),
        ("次にhakaru upを実行", "次にvenv/hakaru upを実行"),
        ("hf download org/repo", "venv/hf download org/repo"),
        ("hakaru: no such file", "hakaru: no such file"),
        ("since hakaru cannot count them", "since hakaru cannot count them"),
        ("/my/hakaru test/model.gguf: damaged", "/my/hakaru test/model.gguf: damaged"),
        ("hakaru fit 'my hakaru test/a.gguf'", "venv/hakaru fit 'my hakaru test/a.gguf'"),
        (
            f"the file's {whole('/my hakaru up.gguf')} is the engine's; {whole('hakaru up')}",
            f"the file's {whole('/my hakaru up.gguf')} is the engine's; {whole('venv/hakaru up')}",
        ),
    ],
)
@pytest.mark.usefixtures("off_the_path")
def test_a_command_in_a_sentence_is_named_by_its_path(sentence: str, told: str) -> None:
    """After `make up` no shell finds `hakaru`. A path in which these words stand is left alone."""
    assert runnable(sentence) == told


def test_the_path_is_what_a_shell_takes(
    off_the_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From any folder, for a page; with blanks, from the folder itself; and the short name where
    the shell finds it, or where another program runs.
    """
    assert runnable("hakaru chat", here=False) == f"{off_the_path}/hakaru chat"
    folder = off_the_path.rename(tmp_path / "my venv")
    monkeypatch.setattr("sys.argv", [str(folder / "hakaru")])
    assert shlex.split(runnable("hakaru chat")) == ["my venv/hakaru", "chat"]
    monkeypatch.chdir(folder)
    assert runnable("hakaru chat") == "./hakaru chat"
    monkeypatch.setenv("PATH", str(folder))
    assert runnable("hakaru chat") == "hakaru chat"
    monkeypatch.setattr("sys.argv", ["pytest"])
    monkeypatch.setenv("PATH", "/nowhere")
    assert runnable("hakaru chat") == "hakaru chat"


def test_every_command_is_known_as_one() -> None:
    """A new one is added where sentences are looked through."""
    assert set(VERBS) == set(app.commands)


@pytest.mark.usefixtures("off_the_path")
@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize(
    "command",
    [["serve", "--nope"], ["--help"], ["tasks", "--help"], ["ls"], ["chat", "--port", "1"],
     ["show", "no-such-model"], ["engine", "use", "native"], ["hardware"], ["fit", "qwen3-8b",
      "--memory", "64GiB", "--source", "computed"], ["test", "qwen3-8b"]],
    ids=lambda words: " ".join(words[:2]),
)  # fmt: skip
def test_whatever_a_terminal_is_told_can_be_pasted(
    command: list[str],
    language: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Errors, help and results: no sentence has a command that the shell does not find."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    run(["--lang", language, *command])
    told = "".join(capsys.readouterr())
    assert "venv/hakaru " in told or "venv/hf " in told
    verbs = "|".join(VERBS)
    bare = rf"(?<![/\w-])(?a:hakaru (?:{verbs})\b|hf download)"
    usage = "Usage: hakaru|使い方: hakaru"
    assert not [line for line in told.splitlines()
                if re.search(bare, line) and not re.match(usage, line)]  # fmt: skip


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
    assert run(["test", "llama-3.1-70b-instruct"]) == 4
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("hf models ls --filter gguf --filter ") for line in lines)


def test_a_path_in_an_error_is_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where blanks and Japanese stand in it."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    path = "/nowhere/my own models/とても長い 名前/a model.gguf"
    assert run(["show", path]) == 4
    assert f"{path}:" in capsys.readouterr().err.splitlines()
