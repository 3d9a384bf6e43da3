"""Record what a command shows on a terminal of 80 columns, as an SVG whose text stays text.

    scripts/record.py docs/first-run.svg --until "Ctrl-C" -- hakaru up

The command runs in a pseudo-terminal. A terminal emulator follows what it writes, so that progress
stands in the picture as a person sees it at the end: not at all. With `--until` the picture is
taken when that text stands on the screen, and the command gets Ctrl-C; without, when the command
ends. The SVG names fonts that machines have, and asks nothing of the network.
"""

import argparse
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import escape, quoteattr

import pyte
from msgspec import Struct

COLUMNS: Final = 80
ROWS: Final = 200  # more than any command writes, so that nothing scrolls away
ENDS_WITHIN_S: Final = 20.0  # after Ctrl-C
MORE_S: Final = 1.0  # what comes so soon after the text of `--until` is in the picture, too
CELL: Final = (8.4, 19.0)  # pixels of a character
EDGE: Final = 16.0
BAR: Final = 34.0  # the height of the window's title
FONTS: Final = (
    "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Noto Sans Mono CJK JP', "
    "'BIZ UDGothic', 'MS Gothic', 'Osaka-Mono', monospace"
)
PAPER, INK = "#16191e", "#e8e6e1"
COLOURS: Final = {
    "black": "#5c6370", "red": "#f0917f", "green": "#7fcf9b", "brown": "#e3c07a",
    "blue": "#82b4e8", "magenta": "#d3a1e0", "cyan": "#7fcbd0", "white": "#d8d6d0",
    "brightblack": "#98a1ae", "brightred": "#ff9f8c", "brightgreen": "#8fe0ac",
    "brightbrown": "#f2d28f", "brightblue": "#9cc6f5", "brightmagenta": "#e2b6ee",
    "brightcyan": "#95dde2", "brightwhite": "#ffffff",
}  # fmt: skip
"""The terminal's sixteen colours, each readable on PAPER."""
FAINT: Final = 2  # an attribute of text that the emulator does not know: drawn in grey


class Screen(pyte.Screen):
    """A screen that shows faint text, which is grey."""

    def select_graphic_rendition(self, *attrs: int, private: bool = False) -> None:
        """Set how the next characters look. What is private sets something else."""
        if not private:
            super().select_graphic_rendition(*[90 if a == FAINT else a for a in attrs])


def main() -> None:
    """Run the command and write the picture. Exits with 1 if `--until` never came."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("svg", type=Path, help="the picture to write")
    parser.add_argument("--until", help="take the picture when this text stands on the screen")
    parser.add_argument("--shown", help="the command as the picture shows it, if not as it is run")
    parser.add_argument("command", nargs="+")
    asked = parser.parse_args()
    screen, seen = recorded(asked.command, until=asked.until)
    if not seen:
        print("\n".join(line.rstrip() for line in screen.display).rstrip(), file=sys.stderr)
        raise SystemExit(f"the command ended, and '{asked.until}' never stood on its screen")
    shown = asked.shown or shlex.join(asked.command)
    asked.svg.write_text(svg(screen, shown), encoding="utf-8")
    print(f"{asked.svg}: {asked.svg.stat().st_size:,} bytes")


def recorded(command: list[str], *, until: str | None) -> tuple[Screen, bool]:
    """The screen when the command has ended, or a moment after `until` came; and whether it
    came.
    """
    screen = Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    child, terminal = pty.fork()
    if child == 0:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # in the background a shell ignores it
        os.environ |= {"TERM": "xterm-256color", "COLUMNS": str(COLUMNS), "LINES": str(ROWS)}
        os.execvp(command[0], command)
    seen, take_at = until is None, float("inf")
    while time.monotonic() < take_at and (written := _written(terminal)) is not None:
        stream.feed(written)
        if until and not seen and any(until in _shown(screen, row) for row in screen.dirty):
            seen, take_at = True, time.monotonic() + MORE_S
        screen.dirty.clear()  # whoever times something is disturbed by who reads every line
    _end(child, terminal)
    return screen, seen


def _shown(screen: Screen, row: int) -> str:
    """The text of one line."""
    return "".join(screen.buffer[row][column].data for column in range(COLUMNS))


def _written(terminal: int) -> bytes | None:
    """What the command wrote in the last moment; None when it has ended."""
    if not select.select([terminal], [], [], 0.1)[0]:
        return b""
    try:
        return os.read(terminal, 2**16) or None
    except OSError:  # Linux says so where the other side is closed
        return None


def _end(child: int, terminal: int) -> None:
    """Press Ctrl-C, be patient, then use force."""
    with suppress(OSError):  # it has ended
        os.write(terminal, b"\x03")
    end = time.monotonic() + ENDS_WITHIN_S
    while not os.waitpid(child, os.WNOHANG)[0]:
        _written(terminal)  # who writes to a terminal that nobody reads does not end
        if time.monotonic() > end:
            os.killpg(child, signal.SIGKILL)
            end += ENDS_WITHIN_S
    os.close(terminal)


class Run(Struct, frozen=True):
    """Characters of one line that look alike and are equally wide. What is wide and what is narrow
    are runs of their own, so that no font can shift what follows.
    """

    column: int  # where it begins
    text: str
    n_columns: int
    look: str  # attributes of `<text>`


def svg(screen: Screen, command: str) -> str:
    """The screen up to its last line with text, in a window with the command above it."""
    lines = [list(_runs(screen, row)) for row in range(screen.lines)]
    while lines and not lines[-1]:
        lines.pop()
    typed = Run(0, f"$ {command}", len(command) + 2, ' class="b"')
    width = COLUMNS * CELL[0] + 2 * EDGE
    height = BAR + (len(lines) + 1) * CELL[1] + EDGE
    styles = (
        f"text {{ font: 14px {FONTS}; fill: {INK}; }} "
        ".b { font-weight: 700; } .u { text-decoration: underline; }"
    )
    begin = (
        '<svg xmlns="http://www.w3.org/2000/svg" role="img" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" aria-label={quoteattr(command)}>'
    )
    parts = [begin, f"<title>{escape(command)}</title>", f"<style>{styles}</style>"]
    parts += [f'<rect width="{width:g}" height="{height:g}" rx="8" fill="{PAPER}"/>']
    for n, colour in enumerate(("red", "brown", "green")):
        x, y = EDGE + 5 + 18 * n, BAR / 2
        parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="5" fill="{COLOURS[colour]}"/>')
    for row, line in enumerate([[typed], *lines]):
        parts += [_text(row, run) for run in line]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _runs(screen: Screen, row: int) -> Iterator[Run]:
    """The runs of a line. Two blanks end a run: not every reader of SVG keeps them."""
    cells = [screen.buffer[row][column] for column in range(COLUMNS)]
    after = [*cells[1:], None]  # behind a wide character stands an empty cell
    n_columns = [2 if right and not right.data else 1 for right in after]
    shown = [(c, cell, n) for c, (cell, n) in enumerate(zip(cells, n_columns, strict=True))]
    for (n, look), like in groupby(
        (entry for entry in shown if entry[1].data), key=lambda e: (e[2], _look(e[1]))
    ):
        members = list(like)
        text = "".join(cell.data[0] for _, cell, _ in members)  # one sign for each cell
        for found in re.finditer(r"\S+(?: \S+)*", text):
            run = members[found.start() : found.end()]
            whole = "".join(cell.data for _, cell, _ in run)
            yield Run(run[0][0], whole, n * len(run), look)


def _look(cell: Any) -> str:
    """The attributes of the `<text>` of a cell."""
    colour = cell.bg if cell.reverse else cell.fg
    is_number = colour not in COLOURS and colour != "default"
    fill = f"#{colour}" if is_number else COLOURS.get(colour, "")
    classes = " ".join(name for name, is_so in (("b", cell.bold), ("u", cell.underscore)) if is_so)
    return (f' class="{classes}"' if classes else "") + (f' style="fill:{fill}"' if fill else "")


def _text(row: int, run: Run) -> str:
    x, y = EDGE + run.column * CELL[0], BAR + (row + 0.75) * CELL[1]
    return (
        f'<text x="{x:g}" y="{y:g}" textLength="{run.n_columns * CELL[0]:g}" '
        f'lengthAdjust="spacingAndGlyphs"{run.look}>{escape(run.text)}</text>'
    )


if __name__ == "__main__":
    main()
