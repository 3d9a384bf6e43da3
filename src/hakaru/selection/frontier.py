"""Which rows no other row beats in everything: score, speed and the least memory. Pure."""

from collections.abc import Sequence

from hakaru.selection.boards import better_up
from hakaru.selection.contender import Contender


def beats(a: Contender, b: Contender) -> bool:
    """Whether `a` is nowhere behind `b` and somewhere ahead.

    Rows without a score are beaten by none: nobody knows how good they are. Neither are rows of the
    same model: the smaller type is faster, and loses more. Below four bits a model is another
    than the one that was measured, and beats none.
    """
    if a.score is None or b.score is None or a.model.id == b.model.id or a.is_below_four_bits:
        return False
    ours = better_up(a.score), a.speed, -a.least_bytes
    theirs = better_up(b.score), b.speed, -b.least_bytes
    return ours != theirs and all(x >= y for x, y in zip(ours, theirs, strict=True))


def frontier(contenders: Sequence[Contender]) -> list[Contender]:
    """The rows with a score that no other row beats, the best score first."""
    scored = [
        contender
        for contender in contenders
        if contender.score and not contender.is_below_four_bits
    ]
    first = [b for b in scored if not any(beats(a, b) for a in scored)]
    return sorted(
        first, key=lambda contender: -better_up(contender.score) if contender.score else 0.0
    )


def who_beats(contender: Contender, first: Sequence[Contender]) -> Contender | None:
    """The best of the frontier's rows that beat this one; None for a row of the frontier."""
    return next((other for other in first if beats(other, contender)), None)
