"""Progress on stderr, while stdout holds the result."""

import sys
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Watching:
    """Progress on stderr: a bar with the time left on a terminal, one line per step elsewhere,
    nothing when quiet.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._announced: set[str] = set()
        self._tasks: dict[str, TaskID] = {}
        self._bars: Progress | None = None

    def __enter__(self) -> "Watching":
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            columns = (
                TextColumn("{task.description:<20}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
            )
            self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bars away; what is printed next stands alone."""
        if self._bars:
            self._bars.stop()

    def __call__(self, step: str, done: int, total: int) -> None:
        """Show that `done` of `total` parts of `step` are done."""
        if self._quiet:
            return
        if self._bars is None:
            if step not in self._announced:
                self._announced.add(step)
                print(f"  {step} …", file=sys.stderr, flush=True)
            return
        if not self._tasks:
            self._bars.start()  # not before: what is printed until then goes where it should
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total)
        self._bars.update(self._tasks[step], completed=done, total=total)
