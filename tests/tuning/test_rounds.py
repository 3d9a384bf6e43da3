"""Who is read next, and how far."""

from dataclasses import replace

import pytest

from hakaru.evaluation.divergence import identical
from hakaru.tuning.decide import Candidate
from hakaru.tuning.rounds import next_round


def level(type_: str, size: int, n_windows: int = 0) -> Candidate:
    quality = replace(identical(), n_windows=n_windows) if n_windows else None
    return Candidate(type=type_, weights_bytes=size, bpw=4.0, total_bytes=size, fits=True, quality=quality)


@pytest.mark.parametrize(
    ("open_", "who", "n"),
    [
        ([level("L", 4), level("S", 1), level("M", 2)], ["S", "M"], 12),
        ([level("L", 4), level("S", 1, 12), level("M", 2, 24)], ["L"], 12),
        ([level("L", 4, 24), level("S", 1, 12), level("M", 2, 12)], ["S", "M"], 24),
        ([level("L", 4, 48), level("S", 1, 48)], ["S", "L"], 60),
        ([level("S", 1, 60)], ["S"], 60),
    ],
)
def test_the_smaller_half_is_read_first_then_who_was_read_least(open_: list[Candidate], who: list[str], n: int) -> None:
    """Of sixty windows; the last round ends with the last window."""
    turn, upto = next_round(open_, 60)
    assert ([c.type for c in turn], upto) == (who, n)
