"""Who is read next, and how far: paired rounds in which most candidates are dropped before much of them was read. Pure.

All of a round are read on the same windows, beside one run of the source. The half comes first that the rule would rather take: if one of
these passes, the others often need not be read at all.
"""

from collections.abc import Sequence
from typing import Final

from hakaru.choosing.candidate import Candidate
from hakaru.choosing.rule import ranked

ROUNDS: Final = (12, 24, 48, 96)
"""Windows after which candidates are dropped or settled; then all of them."""


def next_round(open_: Sequence[Candidate], n_windows: int, rounds: Sequence[int] = ROUNDS) -> tuple[list[Candidate], int]:
    """Which of the open candidates are read next, and up to how many of `n_windows`: half of them, those first that the rule would take if all
    passed, or the smallest where some were not timed yet; as far as the next round of the one that was read least, and without who was read that far.
    """
    order = ranked(open_) if all(c.speed for c in open_) else sorted(open_, key=lambda c: c.total_bytes)
    turn = order[: max(1, len(order) // 2)]
    read = min(c.n_read for c in turn)
    n = min((n for n in rounds if read < n < n_windows), default=n_windows)
    return [c for c in turn if c.n_read < n or c.n_read == read], n
