"""`hakaru choose` as people see it: whole screens, exit codes, and the next step."""

import io
import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hakaru.cli import run

WHOLE = Path(__file__).parent / "whole"
PREDICTED = re.compile(r"\d[\d,.]*…[\d,.]+|(?<=  )\d[\d,]*(?:\.\d)?(?=  )|\d+\.\d s\b")
"""Speeds, which change whenever the coefficients are fitted anew."""


class Terminal(io.StringIO):
    """What a terminal would show."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Terminal]:
    """What a command shows on a terminal of 80 columns, in a home where nothing was measured."""

    def run_on_terminal(arguments: str) -> Terminal:
        screen = Terminal()
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("TERM", "xterm")
        run(shlex.split(arguments))
        return screen

    return run_on_terminal


def told(screen: Terminal) -> str:
    """Without signs for bold letters, and without what a new fit changes."""
    text = re.sub(r"\x1b\[[\d;]*m", "", screen.getvalue())
    lines = [PREDICTED.sub("<predicted>", f"  {line}  ").strip() for line in text.splitlines()]
    return "".join(re.sub(" {2,}", "  ", line) + "\n" for line in lines)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("choose", "choose --hardware 4090 --top 6"),
        ("choose-ja", "--lang ja choose --hardware 4090 --top 6"),
        ("choose-not", "choose --hardware '2GiB RAM' --license open --context 131072 --users 4"),
        ("choose-buy", "choose --model gemma-3-27b-it --for-hardware any --min-speed 12 --top 4"),
    ],
)
def test_the_whole_screen(name: str, arguments: str, shown: Callable[[str], Terminal]) -> None:
    """Changed on purpose or not at all: written anew where the file is missing."""
    screen = shown(arguments)
    file = WHOLE / f"{name}.txt"
    if not file.exists():
        file.write_text(told(screen), encoding="utf-8")
        pytest.fail(f"{file} was missing; read it before you keep it")
    assert told(screen) == file.read_text(encoding="utf-8")


def test_the_last_line_fetches_the_recommended_row(shown: Callable[[str], Terminal]) -> None:
    """A whole command, ready to be pasted."""
    last = shown("choose --hardware RTX-3060-12GB").getvalue().splitlines()[-1]
    assert re.fullmatch(r"Next: \S*hakaru pull [\w.-]+:[\w]+", last)


def test_nothing_that_meets_everything_ends_with_3(capsys: pytest.CaptureFixture[str]) -> None:
    """And the JSON says what to relax."""
    code = run(["choose", "--hardware", "RTX 3060 12GB", "--min-speed", "100000", "--json"])
    data = json.loads(capsys.readouterr().out)
    assert code == 3 and data["recommended"] is None and data["rows"] == []
    assert [way["field"] for way in data["relax"]] == ["min_speed"]
    assert data["left_out"]["speed"] > 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--hardware RTX-4099", "--hardware: no accelerator 'RTX-4099' in the catalogue"),
        ("--task poems", "--task is 'poems', expected one of chat, code"),
        ("--first-token soon", "'--first-token': 'soon' is no duration"),
        ("--model qwen3-8b --for-hardware mine", "--for-hardware is 'mine', expected any"),
        ("--plot rows.gif", "rows.gif: the ending says which picture to write"),
        ("--plot rows.svg --for-hardware any", "--plot draws the rows for one machine; leave"),
        ("--users 300", "--users is 300, expected a whole number from 1 to 256"),
    ],
)
def test_bad_input_is_told_by_its_option(
    arguments: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one sentence on stderr, with code 2."""
    assert run(["choose", *arguments.split()]) == 2
    said = capsys.readouterr()
    assert words in said.err and not said.out


def test_the_language_of_the_text_is_that_of_the_task(capsys: pytest.CaptureFixture[str]) -> None:
    """Unless another is named."""
    for arguments, language in (([], "ja"), (["--language", "en"], "en")):
        run(["--lang", "ja", "choose", "--hardware", "4090", "--top", "1", "--json", *arguments])
        assert json.loads(capsys.readouterr().out)["constraints"]["language"] == language


def test_a_picture_of_the_rows_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the text, and without a row not at all, which is said."""
    path = tmp_path / "rows.svg"
    command = ["choose", "--hardware", "4090", "--plot", str(path)]
    assert run(command) == 0
    first = capsys.readouterr().out.split("Recommended: ")[1].split()[0]
    assert 'taken-name" x=' in path.read_text(encoding="utf-8")
    assert f">{first}</text>" in path.read_text(encoding="utf-8")
    other = tmp_path / "none.svg"
    command = ["choose", "--hardware", "2GiB RAM", "--model", "qwen3-14b", "--plot", str(other)]
    assert run(command) == 3
    assert "none.svg is not written: there is no row to draw" in capsys.readouterr().err
    assert not other.exists()


def test_what_is_known_of_a_projector_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Its weights by its shape, the rest called assumed, with the command that tells the real one;
    the next step fetches it, too. Other tasks need none.
    """
    for task in ("vision", "chat"):
        asked = ["choose", "--task", task, "--hardware", "RTX 4090", "--top", "1"]
        assert run(asked) == 0
        told = " ".join(capsys.readouterr().out.split())
        assert ("of weights (by the shape of its tower)" in told) == (task == "vision")
        assert run([*asked, "--json"]) == 0
        first = json.loads(capsys.readouterr().out)["recommended"]
        name = f"{first['model']}:{first['type']}"
        assert (f"hakaru pull {name} --vision --dry-run" in told) == (task == "vision")
        assert (f"hakaru pull {name} --vision" in told) == (task == "vision")
        eyes = first["projector"]
        if task == "chat":
            assert (eyes, first["assumed_projector_bytes"]) == (None, None)
            continue
        assert eyes["weights_source"] == "computed"
        assert first["assumed_projector_bytes"] == eyes["bytes"] - eyes["weights_bytes"]
        held = sum(d["extras_bytes"] for d in first["devices"])
        assert held == eyes["bytes"] - eyes["host_bytes"]
