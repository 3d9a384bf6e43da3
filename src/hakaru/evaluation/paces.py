"""How long the rest of a long work takes, from how long its parts took so far. Pure.

The work is counted in parts of a few kinds: windows that are read, levels that are timed. The
slowest pace that was seen of a kind is taken for all of its parts to come, so that the work is
rather done sooner than told. Before every kind that is still needed was seen once, nothing is told.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

Kind = Literal["windows", "trials"]
Work = Mapping[Kind, int]
"""Parts by kind: windows read with one level, levels timed through the server."""


class Paces(Struct):
    """The slowest paces so far."""

    seconds: dict[Kind, float] = field(default_factory=dict)  # per part

    def took(self, work: Work, seconds: float) -> None:
        """Learn from a step that did one kind of `work` in so many seconds."""
        for kind, parts in work.items():
            if parts > 0:
                self.seconds[kind] = max(self.seconds.get(kind, 0.0), seconds / parts)

    def left(self, least: Work, most: Work) -> tuple[float, float] | None:
        """The seconds that the rest takes, if it is as little as `least` and as much as `most`;
        None where there is no basis to say so.
        """
        needed = {kind for kind, parts in most.items() if parts > 0}
        if not needed <= self.seconds.keys():
            return None
        return self._sum(least), self._sum(most)

    def _sum(self, work: Work) -> float:
        return sum(self.seconds.get(kind, 0.0) * parts for kind, parts in work.items())
