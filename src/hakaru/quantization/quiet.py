"""Keeps a solver's stray words out of the result on stdout.

HiGHS (in scipy 1.13 to 1.17) has a printf left in its integer solver that no option turns off, and stdout is where
`--json` prints its one object. While the solver runs, the process's stdout is its stderr. Only around the solver's call,
and only by whoever talks to a person: the allocation itself is pure and knows nothing of it.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """What anybody in this process writes to stdout meanwhile goes to stderr, C's buffers included."""
    sys.stdout.flush()
    _flush_c()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        _flush_c()
        os.dup2(kept, 1)
        os.close(kept)


def _flush_c() -> None:
    with suppress(OSError, AttributeError, TypeError):  # no libc by this way on Windows
        ctypes.CDLL(None).fflush(None)
