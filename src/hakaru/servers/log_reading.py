"""The last lines of a server's log, and those that follow."""

import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Final

LOOK_S: Final = 0.2


def last_lines(path: Path, n: int) -> list[str]:
    """The last `n` lines of the log at `path`, those of the file before it included; none where
    there is no log.
    """
    lines: deque[str] = deque(maxlen=n)
    for part in (path.with_name(f"{path.name}.1"), path):
        with suppress(OSError), part.open(encoding="utf-8", errors="replace") as file:
            lines.extend(line.rstrip("\n") for line in file)
    return list(lines)


def following(path: Path, n: int, *, goes_on: Callable[[], bool]) -> Iterator[str]:
    """The last `n` lines of the log at `path`, and each that is written, while `goes_on`."""
    with ExitStack() as opened:
        file = _opened(path, opened)
        if file:
            file.seek(0, os.SEEK_END)
        yield from last_lines(path, n)
        while True:
            is_last = not goes_on()  # what was written before the end is read once more
            yield from _whole_lines(file)
            if _is_another(path, file):  # the old one was full
                opened.close()
                file = _opened(path, opened)
                yield from _whole_lines(file)
            if is_last:
                return
            time.sleep(LOOK_S)


def _whole_lines(file: IO[str] | None) -> Iterator[str]:
    """The lines that are written to their end."""
    while file and (line := file.readline()):
        if not line.endswith("\n"):
            file.seek(file.tell() - len(line.encode()))
            return
        yield line.rstrip("\n")


def _opened(path: Path, closing: ExitStack) -> IO[str] | None:
    with suppress(OSError):
        return closing.enter_context(path.open(encoding="utf-8", errors="replace"))
    return None


def _is_another(path: Path, file: IO[str] | None) -> bool:
    """Whether the log at `path` is not the one that is open."""
    with suppress(OSError):
        return file is None or path.stat().st_ino != os.fstat(file.fileno()).st_ino
    return False
