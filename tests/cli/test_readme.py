"""What README says to type: every command of it, and its answer where the answer is shown."""

import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from hakaru.cli import run
from hakaru.cli.app import app
from hakaru.testing import tiny_shape, write_tiny_llama

ROOT = Path(__file__).parent.parent.parent
PAGES = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.ja.md")]
NOT_RUN = {
    "up": "test_cli.py runs it",
    "test": "test_test.py runs it",
    "tune": "test_whole.py runs it",
    "bench": "tests/evaluation/test_calibrating.py runs it",
    "chat": "needs a server and a person",
    "conform": "needs a server; tests/cli/test_conform_command.py has one of its own",
    "serve": "tests/serving runs it",
    "stop": "needs a server; test_ps.py",
    "logs": "needs a server; test_ps.py",
    "engine build": "takes minutes and a network; tests/engine/test_native.py",
    "catalog add": "needs a network; test_catalog.py has a Hub of its own",
    "catalog rm": "nothing of one's own is there; test_catalog.py adds and removes",
    "catalog update": "needs a network; test_catalog.py has a Hub of its own",
    "choose --race": "needs a network; test_to_race.py has a Hub of its own",
    "pull": "needs a network; test_pull.py has a Hub of its own",
    "rm": "needs what was pulled; test_rm.py",
    "show": "needs a network; test_show.py has a Hub of its own",
    "quantize model.gguf --bpw": "takes minutes; test_quantize_budget.py",
    "quantize model.gguf --size": "takes minutes; test_quantize_budget.py",
    "quantize model.gguf --quality": "takes minutes; test_quantize_budget.py",
    "quantize model.gguf --fit": "takes minutes; test_quantize_budget.py",
    "quantize folder": "needs llama.cpp's converter",
}
"""How the commands begin that are parsed and not run, and why."""


def typed(page: str) -> list[str]:
    """The commands of a page: `hakaru ...` in a line, in a table or in a block."""
    fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", page, re.DOTALL | re.MULTILINE))
    blocks = re.findall(r"^(?:\$ )?(hakaru .+)$", fenced, re.MULTILINE)
    inline = re.findall(r"`(?:\.venv/bin/)?(hakaru [^`\n]+)`", page)
    return [line.partition("#")[0].strip() for line in blocks + inline]


COMMANDS = sorted({command for page in PAGES for command in typed(page)})


def test_both_pages_have_their_commands() -> None:
    """The reader of the pages finds them, and both pages show the same ones in their tables."""
    english, japanese = (
        {c.replace(" --lang ja", "").replace(" --language ja", "") for c in typed(page)}
        for page in PAGES
    )
    assert len(english) > 20
    assert english ^ japanese <= {'hakaru formula --params 70B --bits 16 --hardware "2x A100 80GB"'}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_has_options_that_exist(command: str) -> None:
    """Read by the parser that reads what a person types."""
    words = shlex.split(command.replace(" --lang ja", ""))[1:]
    entry: click.Command = app
    while isinstance(entry, click.Group):
        name = words.pop(0)
        assert name in entry.commands, command
        entry = entry.commands[name]
    entry.make_context(command, words)


@pytest.mark.parametrize("page", PAGES, ids=["en", "ja"])
def test_what_make_is_told_exists(page: str) -> None:
    """`make up` and the like are targets of the Makefile."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"^make (\w+)|`make (\w+)`", page, re.MULTILINE))
    assert {a or b for a, b in named} - targets == set()
    assert len(named) >= 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, and a folder of models, of the names that README uses."""
    path = tmp_path_factory.mktemp("readme")
    (path / "models").mkdir()
    write_tiny_llama(path / "model.gguf", tiny_shape(n_ctx_train=32768))
    return path


def begins_as(command: str) -> bool:
    return command.removeprefix("hakaru ").startswith(tuple(NOT_RUN))


@pytest.mark.engine
@pytest.mark.parametrize("command", [c for c in COMMANDS if not begins_as(c)])
def test_a_command_answers(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run as it stands. A model that does not fit is an answer, too."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    (folder / "small.gguf").unlink(missing_ok=True)
    code = run(shlex.split(command)[1:])
    said = capsys.readouterr()
    assert code in {0, 3}, said.err
    assert said.out.count("\n") > 1


@pytest.mark.engine
@pytest.mark.parametrize("page", PAGES, ids=["en", "ja"])
def test_the_answer_that_is_shown_is_the_answer(
    page: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The transcript of `fit` on a terminal of 80 columns, character by character."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "80")
    ((command, answer),) = re.findall(r"^\$ hakaru (fit .+)\n((?:.*\n)*?)```", page, re.MULTILINE)
    assert run(shlex.split(command)) == 0
    text = re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out)
    shown = "".join(line.rstrip() + "\n" for line in text.splitlines())
    assert shown == "".join(line.rstrip() + "\n" for line in answer.splitlines())
