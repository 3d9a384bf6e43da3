"""A deadline for checks: a pattern can take longer than anybody lives, and so can a schema with one.

The system's timer interrupts what runs, also inside `re`, which looks for signals while it searches. It counts the time that this process
computes, so that a busy machine makes no answer wrong. Signals reach the main thread alone: in another thread there is no deadline.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

SECONDS: Final = 2.0


class TooSlow(Exception):
    """What ran did not end in time."""


@contextmanager
def deadline(seconds: float = SECONDS) -> Iterator[None]:
    """Raises TooSlow in what runs inside once it has computed for so many seconds."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGVTALRM, _too_slow)
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    finally:
        signal.signal(signal.SIGVTALRM, before)


def _too_slow(number: int, frame: FrameType | None) -> None:
    raise TooSlow
