"""Progress on stderr, while stdout holds the result.

On a terminal there are two lines, which go when the work is done: how long it has taken and how
long it still takes, as a whole; and the present step with its bar. Elsewhere each step is told
once, in a line. How long the whole still takes is told by whoever does the work (`foresee`), and
between two such tellings it counts down; where nobody knows, that is said.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from hakaru.language import say
from hakaru.units import time_left

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.live import Live

BAR: Final = 20
"""Cells of the bar of the present step."""


class Watching:
    """Progress on stderr: two lines on a terminal, one line per step elsewhere, nothing when
    quiet.
    """

    def __init__(self, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._quiet, self._clock, self._began = quiet, clock, clock()
        self._has_screen = sys.stderr.isatty()
        self._announced: set[str] = set()
        self._step = ("", 0, 0)  # its name, parts that are done, all parts
        self._foreseen: tuple[float, float] | None = None  # moments: the end at best, and at worst
        self._live: Live | None = None

    def __enter__(self) -> "Watching":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the lines away; what is printed next stands alone."""
        if self._live:
            self._live.stop()
            self._live = None

    def foresee(self, least_s: float, most_s: float) -> None:
        """Hear how many seconds the whole still takes."""
        now = self._clock()
        self._foreseen = now + least_s, now + most_s

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show that `done` of `total` parts of `step` are done."""
        if self._quiet:
            return
        self._step = step, done, total
        if self._has_screen:
            if self._live is None:  # not before: what is printed until then goes where it should
                self._live = _live(self._shown)
                self._live.start()
            self._live.refresh()
        elif step not in self._announced:
            self._announced.add(step)
            print(f"  {step} …", file=sys.stderr, flush=True)

    def overall(self) -> str:
        """How long the whole has taken, and how long it still takes."""
        now = self._clock()
        spent = say("{time} so far", time=_minutes(now - self._began))
        ends = self._foreseen
        if ends is None:
            left = say("time left not known yet")
        elif ends[1] <= now:
            left = say("longer than foreseen")
        else:
            left = time_left(max(0.0, ends[0] - now), ends[1] - now)
        return say("{spent}, {left}", spent=spent, left=left)

    def _shown(self) -> "RenderableType":
        from rich.console import Group
        from rich.text import Text

        whole = Text(self.overall(), no_wrap=True, overflow="ellipsis")
        step, done, total = self._step
        told = say("{done} of {total} {step}", done=done, total=total, step=step)
        return Group(whole, StepLine(told, step, done / total if total else 0.0))


class StepLine(Struct, frozen=True):
    """The present step with its bar, as Rich draws it: `━━━━╸  8 of 12 texts read with Q4_K_M`. Of
    a long name the end is cut, never the count.
    """

    told: str  # count and name, in the language in use
    step: str  # the name alone
    share: float  # of the step that is done

    def __rich_console__(
        self, console: "Console", options: "ConsoleOptions"
    ) -> "Iterator[RenderableType]":
        """A bar and a text beside it, for the width of the terminal."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        told, name = Text(self.told), Text(self.step)
        room = options.max_width - BAR - 1
        if told.cell_len > room:
            name.truncate(max(1, room - told.cell_len + name.cell_len), overflow="ellipsis")
            told = Text(self.told.replace(self.step, name.plain))
        line = Table.grid(padding=(0, 1))
        line.add_column(width=BAR)
        line.add_column(no_wrap=True)
        line.add_row(ProgressBar(total=1.0, completed=self.share, width=BAR), told)
        yield line


def _live(shown: "Callable[[], RenderableType]") -> "Live":
    from rich.console import Console
    from rich.live import Live

    here = copy_context()  # Live draws in a thread of its own, which would not know the language

    return Live(
        console=Console(stderr=True),
        get_renderable=lambda: here.copy().run(shown),
        transient=True,
        refresh_per_second=2,
        redirect_stdout=sys.stdout.isatty(),  # else the result in a pipe would go to the screen
    )


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
