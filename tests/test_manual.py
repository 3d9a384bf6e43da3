"""The page of `man hakaru`: whole, and roff by the readers' own checks."""

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from hakaru.cli.app import app

PAGE = Path(__file__).resolve().parent.parent / "docs" / "hakaru.1"


def options(group: click.Group, path: str) -> dict[str, list[str]]:
    """The options of every command, by its words."""
    found: dict[str, list[str]] = {}
    for name, command in group.commands.items():
        words = f"{path} {name}"
        named = [param for param in command.params if isinstance(param, click.Option)]
        found[words] = [param.opts[0] for param in named if not param.hidden]
        if isinstance(command, click.Group):
            found |= options(command, words)
    return found


def test_every_command_and_option_stands_in_it() -> None:
    """Each under its command."""
    sections = PAGE.read_text(encoding="utf-8").replace("\\-", "-").split("\n.SS ")
    by_command = {section.partition("\n")[0]: section for section in sections[1:]}
    expected = options(app, "hakaru")
    assert set(by_command) == set(expected)
    for words, named in expected.items():
        for option in set(named) - {"--help"}:
            assert option in by_command[words], words


def test_mandoc_finds_nothing_wrong_with_it() -> None:
    """Long lines are no fault, and a date would be another one each day."""
    if shutil.which("mandoc") is None:
        pytest.skip("mandoc is not installed: apt-get install mandoc")
    done = subprocess.run(
        ["mandoc", "-T", "lint", str(PAGE)], capture_output=True, text=True, check=False
    )
    faults = [
        line
        for line in (done.stdout + done.stderr).splitlines()
        if "text line longer than" not in line and "missing date" not in line
    ]
    assert faults == []


def test_man_shows_what_stands_behind_the_options() -> None:
    """Also lines that have their own ends, as they are."""
    if shutil.which("man") is None:
        pytest.skip("man is not installed: apt-get install man-db")
    shown = subprocess.run(
        ["man", "--warnings", "-l", str(PAGE)],
        capture_output=True,
        text=True,
        check=True,
        env={"MANWIDTH": "100", "PATH": "/usr/bin:/bin"},
    )
    if "hakaru" not in shown.stdout:
        pytest.skip("this man shows no pages: a minimized system")
    assert 'bash, in ~/.bashrc: eval "$(hakaru completion bash)"' in shown.stdout
    assert shown.stderr == ""
