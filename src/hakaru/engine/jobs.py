"""What the child that writes weights is asked for, one job per tensor. Parent and child share this
module; it imports no engine.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

PIECE: Final = 2**18
"""Weights per piece, or one unit where that is longer: 1 MiB of F32, which the caches hold."""


class TensorJob(Struct, frozen=True, kw_only=True):
    """Read the weights of one tensor, quantize them, and write them."""

    name: str
    type_id: int  # of the weights that are read
    wanted_id: int  # the type in which they are written
    n_elements: int
    unit: int  # weights that stay together: a row, if a block of it may look at the others
    source: int  # number of the file in the request's list `sources`
    at: int  # byte of the first weight in `source`
    target: int  # number of the file in the request's list `targets`
    to: int  # byte of the first weight in `target`
    importance_at: int | None = None
    """Byte in the file of importances from which the tensor's vectors lie, each of `unit` numbers;
    None: the tensor has none.
    """
    per_vector: int = 0  # weights that share one vector of importances

    def as_json(self) -> dict[str, str | int | None]:
        """The job in the child's request."""
        return asdict(self)


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
