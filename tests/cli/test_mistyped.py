"""What helps whoever mistyped a command line."""

import os
from pathlib import Path

import click
import pytest

from hakaru.cli import run
from hakaru.cli.app import app
from hakaru.cli.number_types import TOKENS

BELONGS = (
    "A model has the type of its file: hakaru quantize MODEL {0} writes another one, hakaru fit "
    "MODEL {0} tells whether that would fit."
)


def commands_with_a_file() -> list[list[str]]:
    """Every command that takes a file as its argument, as words."""
    groups = {name: c for name, c in app.commands.items() if isinstance(c, click.Group)}
    named = [([name], c) for name, c in app.commands.items() if name not in groups]
    named += [([g, name], c) for g, group in groups.items() for name, c in group.commands.items()]
    return [
        words
        for words, command in named
        if any(isinstance(p, click.Argument) and p.name != "words" for p in command.params)
    ]


@pytest.mark.parametrize("command", commands_with_a_file(), ids=" ".join)
def test_a_file_that_begins_with_a_dash_is_named_with_its_folder(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """The parser takes it for options; what to type is in the sentence."""
    assert run([*command, "-x my.gguf"]) == 2
    error = capsys.readouterr().err
    assert "A file whose name begins with a dash is typed as './-x my.gguf' here. See: " in error
    assert error.count("\n") == 1


def test_a_file_with_a_dash_is_known_by_being_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever its ending; a word that names none is only a wrong option."""
    monkeypatch.chdir(tmp_path)
    assert run(["show", "-model"]) == 2
    assert "dash" not in capsys.readouterr().err
    (tmp_path / "-model").touch()
    assert run(["show", "-model"]) == 2
    assert "is typed as ./-model here" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["show", "serve", "test", "up", "tune", "chat"])
@pytest.mark.parametrize("option", ["--bits 4", "--type Q4_K_M"])
def test_the_type_is_the_file_s_where_no_command_makes_one(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The article's words are no option of these, and the sentence says whose they are."""
    assert run([command, "model.gguf", *option.split()]) == 2
    assert BELONGS.format(option) in capsys.readouterr().err


def test_an_option_of_other_commands_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    """And nothing is said of an option that no command has."""
    assert run(["show", "x", "--bpw"]) == 2
    assert "--bpw is an option of hakaru quantize. See: " in capsys.readouterr().err
    assert run(["show", "x", "--backend", "cpu"]) == 2
    assert (
        "--backend is an option of hakaru engine build, hakaru serve. See: "
        in capsys.readouterr().err
    )
    assert run(["show", "x", "--nonsense"]) == 2
    assert "is an option of" not in capsys.readouterr().err


def test_every_number_of_tokens_is_read_in_one_way() -> None:
    """Whatever command has the option."""
    counts = {"context", "ubatch", "max_tokens"}
    params = [p for c in app.commands.values() for p in c.params if p.name in counts]
    assert len(params) > 8
    assert all(param.type is TOKENS for param in params)


@pytest.mark.parametrize("command", ["fit", "serve", "test", "up", "tune", "chat", "formula"])
def test_a_wrong_number_names_its_option(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What was found, what was expected, and where."""
    option = "--max-tokens" if command == "chat" else "--context"
    needed = ["--params", "7B", "--bits", "4"] if command == "formula" else ["x.gguf"]
    assert run([command, *needed, option, "32kb"]) == 2
    assert capsys.readouterr().err == (
        f"hakaru: Invalid value for '{option}': '32kb' is no number of tokens; expected such as "
        f"8192 or 32k, where k is 1,024. See: hakaru {command} --help\n"
    )


def test_a_name_that_is_no_text_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Linux allows any bytes in a file's name; no answer and no ledger could write it."""
    odd = os.fsdecode(b"/models/\xff.gguf")
    for words in (["fit", odd], ["rm", odd], ["conform", odd], ["serve", "m", "--api-key", odd]):
        assert run(words) == 2
        assert "/models/?.gguf: is no text in UTF-8; rename" in capsys.readouterr().err
