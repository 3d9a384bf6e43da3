"""The mix that decodes as fast as asked for: mixes are measured, and after one that is too slow the
next is allocated with a lower limit of seconds per token.
"""

from collections.abc import Callable, Mapping
from typing import Final

from hakaru.errors import DoesNotFit
from hakaru.quantization.allocate import Allocation
from hakaru.units import Figure

ROUNDS: Final = 4


def fast_enough(
    first: Allocation,
    tokens_per_s: float,
    *,
    decoded: Callable[[Mapping[str, str]], Figure],
    within: Callable[[float], Allocation],
) -> tuple[Allocation, Figure]:
    """The first allocation that decodes `tokens_per_s`, and its measured speed.

    `decoded` measures the tokens per second of a recipe; `within` allocates anew with a limit of
    seconds per token. Raises DoesNotFit, with the speed of the fastest mix that was tried.
    """
    allocation, max_seconds, fastest = first, first.seconds, 0.0
    for _ in range(ROUNDS):
        speed = decoded(allocation.types)
        if speed.value >= tokens_per_s:
            return allocation, speed
        fastest = max(fastest, speed.value)
        too_slow_by = 1 / speed.value - 1 / tokens_per_s
        max_seconds = min(max_seconds, allocation.seconds) - too_slow_by
        try:
            allocation = within(max_seconds)
        except DoesNotFit:
            break
    raise DoesNotFit(
        "the fastest mix that was tried decodes {found:.1f} tokens per second here, expected at "
        "least {wanted:.1f}; ask for less speed, or for fewer bytes.",
        found=fastest,
        wanted=tokens_per_s,
    )
