"""Keeps a solver's stray words out of the result on stdout.

HiGHS (in scipy 1.13 to 1.17) has a printf left in its integer solver that no option turns off, and
stdout is where `--json` prints its one object. While the solver runs, the process's stdout leads
nowhere. Only around the solver's call, and only by whoever talks to a person: the allocation itself
is pure and knows nothing of it.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def stdout_muted() -> Iterator[None]:
    """What anybody in this process writes to stdout meanwhile is lost, C's buffers included."""
    sys.stdout.flush()
    _flush_c()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        sys.stdout.flush()
        _flush_c()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _flush_c() -> None:
    with suppress(OSError, AttributeError, TypeError):  # no libc by this way on Windows
        ctypes.CDLL(None).fflush(None)
