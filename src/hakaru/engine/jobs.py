"""What the child that writes weights is asked for, one job per tensor. Parent and child share this
module; it imports no engine.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PIECE: Final = 2**18
"""Weights per piece, or one unit where that is longer: 1 MiB of F32, which the caches hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorJob:
    """Read `n_elements` weights of the type `type_id` from byte `at` of the file `source`, make
    them `wanted_id`, write them from byte `to` of the file `target`. Both files are numbers in the
    request's lists.

    `unit` weights stay together: a row where blocks of the target may look at its other blocks.
    Every `per_vector` weights share one vector of `unit` importances; the vectors lie one after
    another from byte `importance_at` of the file of importances (None: the tensor has none).
    """

    name: str
    type_id: int
    wanted_id: int
    n_elements: int
    unit: int
    source: int
    at: int
    target: int
    to: int
    importance_at: int | None = None
    per_vector: int = 0

    def as_json(self) -> dict[str, str | int | None]:
        """The fields as the child takes them."""
        return {name: getattr(self, name) for name in self.__slots__}


def pieces(job: TensorJob) -> Iterator[tuple[int, int]]:
    """(first weight, how many) of every piece: whole units, and none across a border of importance
    vectors.
    """
    longest = max(PIECE // job.unit, 1) * job.unit
    border = job.n_elements if job.importance_at is None else job.per_vector
    for begin in range(0, job.n_elements, border):
        end = min(begin + border, job.n_elements)
        for first in range(begin, end, longest):
            yield first, min(longest, end - first)
