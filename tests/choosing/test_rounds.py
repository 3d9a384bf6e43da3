"""Who is read next, and how far."""

import pytest
from msgspec.structs import replace

from hakaru.choosing.candidate import Candidate
from hakaru.choosing.rounds import next_round
from hakaru.evaluation.divergence import identical
from speeds import speed_of


def level(type_: str, size: int, n_windows: int = 0, rate: float | None = None) -> Candidate:
    quality = replace(identical(), n_windows=n_windows) if n_windows else None
    return Candidate(
        type=type_,
        weights_bytes=size,
        bpw=4.0,
        total_bytes=size,
        fits=True,
        quality=quality,
        speed=speed_of(rate) if rate else None,
    )


@pytest.mark.parametrize(
    ("open_", "who", "n"),
    [
        ([level("L", 4), level("S", 1), level("M", 2), level("T", 3)], ["S", "M"], 12),
        ([level("L", 4), level("S", 1, 12), level("M", 2, 24), level("T", 3)], ["S"], 24),
        ([level("L", 4, 0, 90), level("S", 1, 12, 50), level("M", 2, 12, 50)], ["L"], 12),
        ([level("L", 4, 0, 50), level("S", 1, 12, 50), level("M", 2, 12, 50)], ["S"], 24),
        ([level("L", 4, 48, 50), level("S", 1, 48, 50)], ["S"], 60),
        ([level("S", 1, 60)], ["S"], 60),
    ],
)
def test_the_half_that_the_rule_would_rather_take_is_read_first(
    open_: list[Candidate], who: list[str], n: int
) -> None:
    """The smallest as long as nobody knows how fast they are; of sixty windows, with which the last
    round ends.
    """
    turn, upto = next_round(open_, 60)
    assert ([c.type for c in turn], upto) == (who, n)
