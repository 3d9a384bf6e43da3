"""Printing: JSON, sentences and tables."""

import json
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TextIO

from hakaru.cli.paste import runnable
from hakaru.cli.table import GAP, Cell, Table
from hakaru.cli.wrapping import cells_of, unmarked, whole, wrapped
from hakaru.language import say, without_controls
from hakaru.units import Figure

if TYPE_CHECKING:
    from rich.console import Console

WIDEST: Final = 100
"""Cells of a line of sentences, since longer lines are hard to read."""


def print_json(data: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def print_text(text: str) -> None:
    """A sentence, or several below each other: on a terminal wrapped where it may be, elsewhere
    each in one line.
    """
    _print_sentences(text, sys.stdout)


def print_aside(text: str) -> None:
    """A sentence on stderr."""
    _print_sentences(text, sys.stderr)


def warn(text: str) -> None:
    """What a person should know, on stderr, where it stands in nobody's way."""
    print_aside(f"hakaru: {text}")


def _print_sentences(text: str, stream: TextIO) -> None:
    width = terminal_width(stream)
    for line in map(without_controls, runnable(text).split("\n")):
        lines = [unmarked(line)] if width is None else wrapped(line, min(width, WIDEST))
        print("\n".join(lines), file=stream, flush=True)


def terminal_width(stream: TextIO) -> int | None:
    """How many cells wide the terminal of `stream` is, or as COLUMNS says; None: it is none."""
    if not stream.isatty():
        return None
    named, width = os.environ.get("COLUMNS", ""), 0
    with suppress(OSError, ValueError):  # a stream without a descriptor
        width = os.get_terminal_size(stream.fileno()).columns
    return (int(named) if named.isdigit() else 0) or width or 80


def show_table(table: Table) -> None:
    """A table on stdout that fits the terminal; in a pipe all of it, a row in a line."""
    lines = table.lines(terminal_width(sys.stdout))
    if not sys.stdout.isatty():
        for line in lines:
            print("".join(text for text, _ in line))
        return
    from rich.text import Text

    console = _console()
    for line in lines:
        console.print(Text.assemble(*line), soft_wrap=True)


def print_facts(rows: Sequence[Sequence[str]]) -> None:
    """Names, and beside each its value; what is too long goes on below itself."""
    width, names = terminal_width(sys.stdout), max((cells_of(name) for name, _ in rows), default=0)
    for name, value in rows:
        text, room = without_controls(runnable(value)), (width or 0) - names - len(GAP)
        lines = wrapped(text, room) if width and cells_of(text) > room else [unmarked(text)]
        if width and max(map(cells_of, lines)) > room:  # a path, too long to stand beside its name
            lines = [name, *(GAP + line for line in wrapped(text, width - len(GAP)))]
        else:
            blanks = " " * (names - cells_of(name))
            lines = [f"{name}{blanks}{GAP}{lines[0]}", *(" " * names + GAP + s for s in lines[1:])]
        print("\n".join(line.rstrip() for line in lines))


def _console() -> "Console":
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            """The reader left, as `head` does; rich itself would end with exit code 1."""
            raise BrokenPipeError

    return Plain(highlight=False, markup=False, emoji=False)


def with_interval(figure: Figure, style: str) -> str:
    """A figure and its interval in one table cell."""
    return f"{figure.value:{style}} [{figure.lowest:{style}}…{figure.highest:{style}}]"


def interval_cell(figure: Figure, style: str, *, mark: str = "") -> Cell:
    """A figure as a table cell: with its interval, or where there is little room, without."""
    return Cell(with_interval(figure, style) + mark, f"{figure.value:{style}}{mark}")


def next_step(command: str, *, before: str = "") -> None:
    """The last line on a terminal: what to do now, as `paste.pasted` spells it. Where stdout goes
    into a pipe or a file, it stands on stderr, if that is a terminal. The command is never broken:
    too long for the line, it has its own. The sentence `before` explains it.
    """
    tell = print_text if sys.stdout.isatty() else print_aside
    if sys.stdout.isatty() or sys.stderr.isatty():
        if before:
            tell(before)
        label = say("Next: {command}", command="").strip()
        tell(f"{whole(label)} {whole(command)}")
