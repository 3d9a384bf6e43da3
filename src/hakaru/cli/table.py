"""A table that fits its terminal.

A cell has one or more forms, the longest first: `Cell("60.2 [52.1…61.2]", "60.2")`. Where the
terminal is too narrow, columns take shorter forms or go, turn by turn, in the order that the
columns name. If that does not suffice, a row takes as many lines as the columns name, and at last
a line for each cell. No cell is ever wrapped or cut: a path that is wider than the terminal stands
alone in its line. Piped, all stands in its longest form, a row in a line.
Left out: borders, and columns of equal width.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from msgspec import Struct

from hakaru.cli.wrapping import cells_of
from hakaru.language import without_controls
from hakaru.units import bytes_in, bytes_told

GAP: Final = "  "
Piece = tuple[str, str]
"""A text, and the style that rich draws it in."""
Line = list[Piece]


@dataclass(frozen=True, slots=True, init=False)
class Cell:
    """What stands in a cell, in one or more forms."""

    forms: tuple[str, ...]  # the longest first
    style: str  # such as "green"; "" is the terminal's own

    def __init__(self, *forms: str, style: str = "") -> None:
        object.__setattr__(self, "forms", tuple(map(without_controls, forms)))
        object.__setattr__(self, "style", style)

    def __str__(self) -> str:
        return self.forms[0]

    def form(self, n: int) -> str:
        """The form after `n` turns at which it became shorter."""
        return self.forms[min(n, len(self.forms) - 1)]


def bytes_cell(n: int | None, unit: str) -> Cell:
    """A number of bytes in the unit of its table: `98.4 MiB`, or where there is little room
    `98.4Mi`.
    """
    if n is None:
        return Cell("-")
    return Cell(bytes_told(n, unit), bytes_in(n, unit).replace(" ", "").removesuffix("B"))


class Column(Struct, frozen=True):
    """A column: its title, and what it does where there is little room."""

    title: str | Cell
    left: bool = False  # whether its cells begin below each other; else they end so
    shortens: tuple[int, ...] = ()  # the turns at which its cells take their next form
    goes: int | None = None  # the turn at which the column goes; None: it stays
    below: int = 0  # its line, where a row takes several
    overhangs: bool = False  # a path or a name: alone in its line it may be wider than the terminal


class Shown(Struct, frozen=True):
    """A column as it is shown: the texts below each other, with their title."""

    title: Piece
    pieces: list[Piece]
    left: bool

    @property
    def width(self) -> int:
        """In cells of the terminal."""
        return max(cells_of(text) for text, _ in (self.title, *self.pieces))

    def cell(self, piece: Piece) -> Line:
        """`piece` with the blanks that align it."""
        blanks = (" " * (self.width - cells_of(piece[0])), "")
        return [piece, blanks] if self.left else [blanks, piece]


class Table(Struct, frozen=True):
    """Columns and rows, which `lines` makes fit."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str | Cell]]

    def head(self) -> list[str]:
        """The titles, in full."""
        return [str(column.title) for column in self.columns]

    def full(self) -> list[list[str]]:
        """All cells, in full."""
        return [[str(cell) for cell in row] for row in self.rows]

    def lines(self, width: int | None) -> list[Line]:
        """The lines for a terminal of `width` cells; None is a pipe, where all stands in full."""
        if width is None:
            return _drawn([self._shown(0, self.columns)])
        if not self.columns:
            return []
        for parts in self._in_parts():
            for turn in self._turns():
                shown = [self._shown(turn, columns) for columns in parts]
                widths = [
                    0 if [c.overhangs for c in columns] == [True] else _width(in_line)
                    for columns, in_line in zip(parts, shown, strict=True)
                ]
                if all(bool(i) * len(GAP) + n <= width for i, n in enumerate(widths)):
                    return _drawn(shown)
        return self._one_by_one()

    def _turns(self) -> Iterator[int]:
        last = max(max((*column.shortens, column.goes or 0)) for column in self.columns)
        yield from range(last + 1)

    def _in_parts(self) -> Iterator[list[Sequence[Column]]]:
        """The columns in one line, then in two, and so on."""
        lines = [column.below for column in self.columns]
        for last in range(max(lines) + 1):
            yield [
                [c for c, line in zip(self.columns, lines, strict=True) if min(line, last) == i]
                for i in range(last + 1)
            ]

    def _shown(self, turn: int, columns: Sequence[Column]) -> list[Shown]:
        """Those of `columns` that are left at `turn`, in the form that they have there."""
        shown = []
        for column, *cells in zip(self.columns, *self.rows, strict=True):
            if any(column is one for one in columns) and (
                column.goes is None or turn < column.goes
            ):
                n = sum(at <= turn for at in column.shortens)
                title, _ = _piece(column.title, n)
                pieces = [_piece(cell, n) for cell in cells]
                shown.append(Shown((title, "bold" if title else ""), pieces, column.left))
        return shown

    def _one_by_one(self) -> list[Line]:
        """A line for each cell, with its title, in the shortest form."""
        lines: list[Line] = []
        for row in self.rows:
            for i, (column, cell) in enumerate(zip(self.columns, row, strict=True)):
                (title, _), (text, style) = _piece(column.title, 9), _piece(cell, 9)
                start = GAP if i else ""
                if text:
                    lines.append([(f"{start}{title}{': ' if title else ''}", ""), (text, style)])
        return lines


def _piece(cell: str | Cell, n: int) -> Piece:
    return (cell.form(n), cell.style) if isinstance(cell, Cell) else (without_controls(cell), "")


def _width(shown: Sequence[Shown]) -> int:
    return sum(column.width for column in shown) + len(GAP) * (len(shown) - 1)


def _drawn(parts: Sequence[Sequence[Shown]]) -> list[Line]:
    """The titles and the rows; each takes as many lines as there are parts."""
    n_rows = len(parts[0][0].pieces)
    lines = []
    for row in range(-1, n_rows):
        for i, columns in enumerate(parts):
            line: Line = [(GAP, "")] if i else []
            for column in columns:
                piece = column.title if row < 0 else column.pieces[row]
                line += [*column.cell(piece), (GAP, "")]
            if line := _without_blank_end(line):
                lines.append(line)
    return lines


def _without_blank_end(line: Line) -> Line:
    """`line` without the blanks at its end; empty if it is nothing but blanks."""
    while line and not line[-1][0].strip():
        line = line[:-1]
    return [*line[:-1], (line[-1][0].rstrip(), line[-1][1])] if line else []
