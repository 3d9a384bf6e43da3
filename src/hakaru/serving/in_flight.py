"""The requests that one engine works on, and those that wait for it: how many there are now, how
many may be, and since when there is none.

A queue without an end makes everybody wait until the clients give up, and the engine then works for
nobody. So the request behind the last place is refused at once, with the time after which one
should be free.
"""

import math
import time
from collections.abc import Callable
from typing import Any, Final

QUEUE_PER_SLOT: Final = 64
"""Requests that may wait for each answer that is given at once. OpenAI's clients wait ten minutes:
the last of 64 is still answered where an answer takes nine seconds.
"""
WEIGHT: Final = 0.2
"""Of the newest answer in the mean time that an answer takes."""
LONGEST_S: Final = 60
"""OpenAI's clients heed no longer Retry-After."""


class Full(Exception):
    """All places are taken; `retry_after_s` is when one should be free."""

    def __init__(self, n: int, retry_after_s: int) -> None:
        super().__init__()
        self.n, self.retry_after_s = n, retry_after_s


class InFlight:
    """The requests on their way to the engine and back. It answers `n_slots` at once, and so many
    more may wait; None: QUEUE_PER_SLOT for each slot.
    """

    def __init__(
        self,
        n_slots: int,
        n_queue: int | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.n_slots, self._n_queue, self._clock = n_slots, n_queue, clock
        self.n_answered = 0  # to their ends, without an error
        self._n = self._n_asked = 0
        self.mean_s: float | None = None  # of an answer, from its place in the queue to its end
        self._since = clock()  # when the last request ended

    @property
    def n(self) -> int:
        """Requests that take a place, or soon will."""
        return self._n

    @property
    def is_idle(self) -> bool:
        """True if nothing is asked."""
        return self._n == 0

    @property
    def idle_s(self) -> float | None:
        """Seconds since the last answer ended; None while there is one."""
        return None if self._n else self._clock() - self._since

    def enter(self) -> "Visit":
        """Count a request in."""
        self._n += 1
        return Visit(self)

    def as_json(self) -> dict[str, Any]:
        """What `/health` tells."""
        answering = min(self._n_asked, self.n_slots)
        idle_s = self.idle_s
        return {
            "answering": answering,
            "waiting": self._n_asked - answering,
            "idle_s": None if idle_s is None else round(idle_s, 1),
        }

    def take_place(self) -> float:
        """Take a place in the queue. Returns when. Raises Full."""
        if self._n_asked >= self._n_places:
            raise Full(self._n_asked, self._retry_after_s())
        self._n_asked += 1
        return self._clock()

    def leave(self, asked_at: float | None, *, is_answered: bool) -> None:
        """Count a request out, which took its place at `asked_at`, if it did."""
        self._n, self._since = self._n - 1, self._clock()
        if asked_at is None:
            return
        self._n_asked -= 1
        if is_answered:
            self.n_answered += 1
            took_s = self._since - asked_at
            mean_s = took_s if self.mean_s is None else self.mean_s
            self.mean_s = mean_s + WEIGHT * (took_s - mean_s)

    @property
    def _n_places(self) -> int:
        queue = QUEUE_PER_SLOT * self.n_slots if self._n_queue is None else self._n_queue
        return self.n_slots + queue

    def _retry_after_s(self) -> int:
        """When the next place should be free. So many places, each taken for the mean time, become
        free that often (Little's law).
        """
        mean_s = self.mean_s or 0.0
        return min(LONGEST_S, max(1, math.ceil(mean_s / self._n_places)))


class Visit:
    """One request on its way. `leave` counts it out: once, however often it is called."""

    def __init__(self, in_flight: InFlight | None) -> None:
        self._in_flight = in_flight  # None: it is not counted, or not any more
        self._asked_at: float | None = None

    def take_place(self) -> None:
        """Take a place in the queue, if it has none yet. Raises Full."""
        if self._asked_at is None and self._in_flight:
            self._asked_at = self._in_flight.take_place()

    def leave(self, *, is_answered: bool = False) -> None:
        """Give the place back. Only the time of what was answered to its end is counted."""
        in_flight, self._in_flight = self._in_flight, None
        if in_flight:
            in_flight.leave(self._asked_at, is_answered=is_answered)
