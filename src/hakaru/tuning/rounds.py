"""Who is read next, and how far: paired rounds in which most candidates are dropped before much of them was read. Pure.

All of a round are read on the same windows, beside one run of the source. Of those that were not read yet the smaller half comes first: if
one of them passes, the larger ones that are no faster need not be read at all.
"""

from collections.abc import Sequence
from typing import Final

from hakaru.tuning.decide import Candidate

ROUNDS: Final = (12, 24, 48, 96)
"""Windows after which candidates are dropped or settled; then all of them."""


def next_round(open_: Sequence[Candidate], n_windows: int) -> tuple[list[Candidate], int]:
    """Who of the open candidates is read next, and up to how many of `n_windows`: the smaller half of those that were not read at all, or all
    that were read least.
    """
    read = min(_read(c) for c in open_)
    behind = sorted((c for c in open_ if _read(c) == read), key=lambda c: c.total_bytes)
    n = min((n for n in ROUNDS if read < n < n_windows), default=n_windows)
    return (behind if read else behind[: (len(behind) + 1) // 2]), n


def _read(candidate: Candidate) -> int:
    return candidate.quality.n_windows if candidate.quality else 0
