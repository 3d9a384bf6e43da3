"""Printing: JSON, sentences and tables."""

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hakaru.cli.paste import runnable
from hakaru.language import say, without_controls
from hakaru.units import Figure

if TYPE_CHECKING:
    from rich.console import Console


def print_json(data: dict[str, Any]) -> None:
    """One JSON object on stdout."""
    print(json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False))


def print_text(text: str) -> None:
    """A sentence: on a terminal wrapped between words (by cells, so that Japanese fits too),
    elsewhere in one line.
    """
    text = "\n".join(without_controls(line) for line in text.split("\n"))
    if sys.stdout.isatty() and len(text) > 40:
        _console().print(text)
    else:
        print(text)


def print_aside(text: str) -> None:
    """A sentence on stderr."""
    print(without_controls(text), file=sys.stderr, flush=True)


def warn(text: str) -> None:
    """What a person should know, on stderr, where it stands in nobody's way."""
    print(f"hakaru: {without_controls(text)}", file=sys.stderr, flush=True)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1) -> None:
    """A plain table that is never cut: the first `left` columns to the left, the others to the
    right.
    """
    from rich.measure import Measurement
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for i, title in enumerate(header):
        table.add_column(title, justify="left" if i < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(without_controls(cell) for cell in row))
    console = _console()
    console.width = max(
        console.width,
        Measurement.get(console, console.options.update(max_width=10_000), table).maximum,
    )
    console.print(table)


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


def next_step(command: str) -> None:
    """The last line on a terminal: what to do now, as `paste.pasted` spells it."""
    if sys.stdout.isatty():
        print(say("Next: {command}", command=runnable(command)))
