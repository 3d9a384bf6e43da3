"""Which candidates are read next, and on how many windows. Pure.

The race has rounds, so that most candidates are dropped after a few windows. All candidates of a
turn are read on the same windows, beside one run of the source. The half that the rule would rather
take comes first: if a candidate of this half passes, the others often need not be read at all.
"""

from collections.abc import Sequence
from typing import Final

from hakaru.choosing.candidate import Candidate
from hakaru.choosing.rule import ranked

ROUNDS: Final = (12, 24, 48, 96)
"""Windows after which candidates are dropped or settled; then all of them."""


def next_round(
    open_: Sequence[Candidate], n_windows: int, rounds: Sequence[int] = ROUNDS
) -> tuple[list[Candidate], int]:
    """The candidates to read next, and up to which window.

    Takes the better half of `open_`: by the rule's order if all are timed, else the smallest. This
    half is read to the next entry of `rounds` above its least-read candidate; the last round ends
    at `n_windows`. Example: four untimed levels of which none was read -> the two smallest, to 12.
    """
    order = (
        ranked(open_) if all(c.speed for c in open_) else sorted(open_, key=lambda c: c.total_bytes)
    )
    turn = order[: max(1, len(order) // 2)]
    read = min(c.n_read for c in turn)
    n = min((n for n in rounds if read < n < n_windows), default=n_windows)
    return [c for c in turn if c.n_read < n or c.n_read == read], n
