"""How long processes waited for a processor while something else had it: Linux counts it for each
thread. Time in which a process sleeps or computes is not among it, so that what is left of the
clock's time is the same on a busy machine as on an idle one.
"""

import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

EVERY_S: Final = 0.01


class Queued:
    """Between entering and leaving, the seconds for which the threads of some processes waited, all
    of them added up; 0 where the system does not count it. Processes that end meanwhile count as
    they were seen last.
    """

    def __init__(self, pids: Iterable[int]) -> None:
        self._pids = tuple(pids)
        self._first: dict[Path, int] = {}
        self._last: dict[Path, int] = {}
        self._ended = threading.Event()
        self._looking = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Queued":
        self._first = self._counted()
        self._looking.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._looking.join()

    @property
    def seconds(self) -> float:
        """So far."""
        return sum(n - self._first.get(file, 0) for file, n in self._last.items()) / 1e9

    def _look(self) -> None:
        while not self._ended.wait(EVERY_S):
            self._last |= self._counted()
        self._last |= self._counted()

    def _counted(self) -> dict[Path, int]:
        """Nanoseconds in the queue since each thread began."""
        counted = {}
        for pid in self._pids:
            with suppress(FileNotFoundError):  # the process has just ended
                for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                    with suppress(OSError, IndexError):  # the thread has
                        counted[file] = int(file.read_text().split()[1])
        return counted
