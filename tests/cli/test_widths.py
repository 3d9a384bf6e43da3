"""Every table and every sentence fits its terminal, in both languages. The results are made up, and
no engine is asked.
"""

import io
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import made_up
from clusters_made import write_cluster
from decisions import decision_of_every_state
from hakaru.cli import run
from hakaru.cli.commands import choose
from hakaru.cli.output import show_table
from hakaru.cli.table import Cell, Table
from hakaru.cli.tell.cluster import print_links
from hakaru.cli.tell.comparison import comparison_table, print_comparison
from hakaru.cli.tell.conform import areas_table, print_conformance
from hakaru.cli.tell.doctor import errors_table
from hakaru.cli.tell.engine import inventory_table
from hakaru.cli.tell.ps import print_holdings, servers_table, strangers_table
from hakaru.cli.tell.quantize import print_made, roles_table, tensors_table
from hakaru.cli.tell.tasks import tasks_table
from hakaru.cli.tell.test import findings_table, tell
from hakaru.cli.tell.tune import print_decision
from hakaru.cli.wrapping import cells_of
from hakaru.clusters.cluster import Link
from hakaru.clusters.cluster_file import read_cluster
from hakaru.clusters.links import CheckedLink
from hakaru.errors import NodeError
from hakaru.evaluation.comparison import Comparison
from hakaru.language import current_language, use_language
from hakaru.selection import buying


def compared_table(compared: Comparison) -> Table:
    return comparison_table(compared.measured, compared.tier)


def links_of(folder: Path) -> list[CheckedLink]:
    """A link that was measured, and one to a machine that is off."""
    _, attic, cellar = read_cluster(write_cluster(folder / "cluster.toml")).nodes
    source = "measured through ssh, 2026-12-01"
    trouble = NodeError("{host}: no answer within {seconds:.0f} s.", host="cellar", seconds=20)
    return [
        CheckedLink(node=attic, link=Link(gbit_per_s=0.941, ping_ms=0.312, source=source)),
        CheckedLink(node=cellar, trouble=trouble),
    ]


WIDTHS = (60, 80, 120, 160)
TABLES: dict[str, Callable[[Path], Table]] = {
    "test": lambda folder: findings_table(made_up.findings(folder)),
    "comparison": lambda folder: compared_table(made_up.comparison(folder)),
    "tasks": lambda folder: tasks_table(made_up.graded(15), made_up.graded(17)),
    "plan": lambda folder: tensors_table(made_up.made(folder, is_raced=False).tensors),
    "roles": lambda folder: roles_table(made_up.made(folder, is_raced=True)),
    "doctor": lambda folder: errors_table(made_up.summaries()),
    "conform": lambda folder: areas_table(made_up.conformance()),
    "engine": lambda folder: inventory_table(made_up.inventory()),
    "servers": lambda folder: servers_table(made_up.holdings()[0]),
    "strangers": lambda folder: strangers_table(made_up.holdings()[1]),
}
TOLD: dict[str, Callable[[Path], object]] = {
    "test": lambda folder: tell(made_up.findings(folder)),
    "comparison": lambda folder: print_comparison(made_up.comparison(folder)),
    "plan": lambda folder: print_made(made_up.made(folder, is_raced=False)),
    "decision": lambda folder: print_decision(decision_of_every_state(folder)),
    "race": lambda folder: print_made(made_up.made(folder, is_raced=True)),
    "conform": lambda folder: print_conformance(made_up.conformance()),
    "ps": lambda folder: print_holdings(*made_up.holdings()),
    "links": lambda folder: print_links(links_of(folder)),
}
COMMANDS = {
    "fit": "fit tiny.gguf --source computed --explain --hardware 2xL4+16GiB --max-context",
    "not": "fit llama-3.1-70b-instruct --type Q8_0 --source computed --hardware L4+16GiB",
    "show": "show tiny.gguf",
    "known": "show llama-3.1-swallow-8b-instruct-v0.5",
    "formula": "formula --params 70B --bits 4 --hardware 2xL4+16GiB",
    "hardware": "hardware",
    "deploy": "deploy tiny.gguf --cluster cluster.toml --target rpc -c 256",
    "list": "ls --catalog swallow",
    "catalog": "catalog",
    "disk": "ls",
    "ps": "ps",
    "error": "fit no-such-model",
    "choose": "choose --hardware 4090+64GiB --explain",
    "types": "choose --hardware L4 --model qwen3-14b --users 2",
    "nothing": "choose --hardware 4090 --min-speed 100000",
    "buy": "choose --model gemma-3-27b-it --for-hardware any",
}


class Terminal(io.StringIO):
    """What a terminal would show."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """Without the signs that make a text bold."""
        return re.sub(r"\x1b\[[\d;]*m", "", self.getvalue()).split("\n")[:-1]


def terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> Terminal:
    """Both streams lead there from now on."""
    screen = Terminal()
    for stream in ("stdout", "stderr"):
        monkeypatch.setattr(sys, stream, screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", str(width))
    return screen


@pytest.fixture(params=["en", "ja"])
def language(request: pytest.FixtureRequest) -> str:
    """Each of the two, in use."""
    return use_language(request.param)


WORKED_OUT: dict[str, object] = {}


@pytest.fixture(autouse=True)
def worked_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What no width changes is asked once in each language."""
    for module, name in ((choose, "choose"), (buying, "shopping")):
        asked = getattr(module, name)

        def answer(
            *args: object, asked: Callable[..., object] = asked, **options: object
        ) -> object:
            key = f"{asked} {current_language()} {args} {options}"
            if key not in WORKED_OUT:
                WORKED_OUT[key] = asked(*args, **options)
            return WORKED_OUT[key]

        monkeypatch.setattr(module, name, answer)


@pytest.fixture
def files(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the commands name, in the folder where they run."""
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(tiny, "tiny.gguf")
    write_cluster(Path("cluster.toml"))


def forms_of(cell: str | Cell) -> tuple[str, ...]:
    return (cell,) if isinstance(cell, str) else cell.forms


def too_wide(lines: list[str], width: int) -> list[str]:
    """The lines that are wider, but for a path or a command on a line of its own."""
    pasted = re.compile(r"\s*(?:\S*/\S*|\S*(?:hakaru|hf) .*|'.*\.gguf'?.*|-c \d+ .*)$")
    return [line for line in lines if cells_of(line) > width and not pasted.match(line)]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", TABLES)
def test_a_table_fits_and_splits_no_cell(
    name: str, width: int, language: str, tmp_path: Path
) -> None:
    """A row takes as many lines as any other; each cell stands on one of them, in full or in a form
    that the table names.
    """
    table = TABLES[name](tmp_path)
    lines = ["".join(text for text, _ in line) for line in table.lines(width)]
    assert max(map(cells_of, lines)) <= width
    assert all(line == line.rstrip() for line in lines)
    assert len(lines) % (len(table.rows) + 1) == 0
    for row in table.rows:
        assert any(line.startswith(forms_of(row[0])) for line in lines)
    whole_lines = "\n".join(lines)
    for column, *cells in zip(table.columns, *table.rows, strict=True):
        for cell in cells if column.goes is None else []:
            assert any(form in whole_lines for form in forms_of(cell))


@pytest.mark.parametrize("name", TABLES)
def test_at_160_everything_is_told_in_full_in_one_line(
    name: str, language: str, tmp_path: Path
) -> None:
    """No interval is missing where there is room for it."""
    table = TABLES[name](tmp_path)
    if name not in {"comparison", "engine", "servers"}:  # long names and many figures take more
        assert table.lines(160) == table.lines(None)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_in_a_pipe_has_a_row_in_a_line(
    name: str,
    language: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In full, without blanks at the ends, whatever COLUMNS says."""
    monkeypatch.setenv("COLUMNS", "60")
    table = TABLES[name](tmp_path)
    show_table(table)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(table.rows) + 1
    assert all(line == line.rstrip() for line in lines)
    for line, row in zip(lines[1:], table.rows, strict=True):
        assert all(str(cell) in line for cell in row)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", TOLD)
def test_what_is_told_of_results_fits(
    name: str, width: int, language: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables and sentences; no line ends with a blank."""
    monkeypatch.chdir(tmp_path)
    screen = terminal(monkeypatch, width)
    TOLD[name](Path())
    lines = screen.lines()
    assert lines and too_wide(lines, width) == []
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", COMMANDS)
def test_what_commands_say_fits(
    name: str, width: int, language: str, files: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal of every width, also what stands on stderr."""
    screen = terminal(monkeypatch, width)
    run([*COMMANDS[name].split(), "--lang", language])
    lines = screen.lines()
    assert lines and too_wide(lines, width) == []
    assert [line for line in lines if line != line.rstrip()] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_in_a_pipe_end_no_line_with_a_blank(
    name: str, language: str, files: None, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that `diff` and editors have nothing to mark."""
    run([*COMMANDS[name].split(), "--lang", language])
    lines = "".join(capsys.readouterr()).splitlines()
    assert lines and [line for line in lines if line != line.rstrip()] == []
