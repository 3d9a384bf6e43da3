"""Least squares with a pull, none below zero: the rates of a machine from a few files. Pure, and
without numpy, which would make `fit` wait.
"""

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

ROUNDS: Final = 300
PULL: Final = 0.1
"""How strongly a rate is drawn to the usual one; by 1 to a file whose whole time it explains."""
WEAK_PULL: Final = 0.02
"""How strongly a cost that may be nothing is drawn to its usual value."""


class Cost(Struct, frozen=True):
    """One column: what it is drawn to, in parts of the unit, and how strongly."""

    usual: float
    pull: float


RATE: Final = Cost(1.0, PULL)
"""Something that surely takes time."""
LOOSE_RATE: Final = Cost(1.0, WEAK_PULL)
EXTRA: Final = Cost(0.0, WEAK_PULL)
"""Something that may take none."""
RARE: Final = Cost(0.0, PULL)
"""Something that takes none on many machines."""


def explained(row: Sequence[float], found: Sequence[float]) -> float:
    """The part of a time that the costs explain: 1 is all."""
    return sum(a * b for a, b in zip(row, found, strict=True))


def nearest(rows: Sequence[Sequence[float]], costs: Sequence[Cost]) -> list[float]:
    """The b >= 0 for which `rows @ b` is nearest to 1 and b to the usual costs, one coordinate at a
    time.
    """
    found = [cost.usual for cost in costs]
    for _ in range(ROUNDS):
        for j, cost in enumerate(costs):
            up, down = cost.pull**2 * cost.usual, cost.pull**2
            for row in rows:
                rest = explained(row, found) - row[j] * found[j]
                up += row[j] * (1 - rest)
                down += row[j] ** 2
            found[j] = max(0.0, up / down)
    return found


def spread(rows: Sequence[Sequence[float]], found: Sequence[float], expected: float) -> float:
    """The standard deviation of the log of the time of another file: what is `expected` of a file
    that was not timed, and what is not explained of those that were. Costs that fit few files
    closely prove nothing, so that more files take nothing from the first.
    """
    off = [math.log(max(explained(row, found), 1e-9)) for row in rows]
    few = 1 / math.sqrt(len(rows))
    return math.hypot(expected * (1 + few), math.sqrt(sum(e * e for e in off) / len(rows)))
