"""What a speed rests on that no published speed could calibrate: the RAM of a PC, the bus between
RAM and a card, and several users at a time. Each has a range from physics and from what is sold,
and a figure that rests on one of them says so. Pure.
"""

import math
from typing import Final

from hakaru.planning.speed_figures import LINK_GB_S, RAM_GB_S
from hakaru.planning.token_work import TokenWork

PART_OF_RAM: Final = 0.8
"""The part of the RAM's bandwidth that decoding reaches with enough threads."""
OFF_FOR_SEVERAL: Final = math.log(1.5)
"""By how much the interval of a step for several users is wider at each end. Seven published steps
of 2 to 16 tokens on two GPUs were predicted to a tenth (docs/speed.md): too few to calibrate by.
"""

Range = tuple[float, float, float]
"""Seconds: the most, the usual, the least."""


def ram_s(work: TokenWork, depth: float) -> Range:
    """How long a decoded token reads from RAM."""
    n_bytes = work.read_bytes + work.cache_bytes(depth)
    slow, usual, fast = (n_bytes / (PART_OF_RAM * 1e9 * gb_s) for gb_s in RAM_GB_S)
    return slow, usual, fast


def copy_s(experts: TokenWork, n_batch: int) -> Range:
    """How long a token of a prompt waits for its part of the experts that each micro-batch copies
    from RAM to the card: those that any of its tokens uses. Fewer than 32 tokens are computed on
    the processor instead (llama.cpp, `offload_op`).
    """
    n_bytes = experts.expert_bytes * experts.part_of_experts(n_batch) / n_batch
    slow, usual, fast = (n_bytes / (1e9 * gb_s) for gb_s in LINK_GB_S)
    return slow, usual, fast


def with_range(seconds: float, interval: tuple[float, float], added: Range) -> tuple[float, float]:
    """The interval (logs of measured over predicted speed) of `seconds` and what is added to it."""
    slow, usual, fast = added
    whole = seconds + usual
    slowest = seconds * math.exp(-interval[0]) + slow
    fastest = seconds * math.exp(-interval[1]) + fast
    return math.log(whole / slowest), math.log(whole / fastest)


def for_several(
    interval: tuple[float, float], alone_s: float, step_s: float, users: int
) -> tuple[float, float]:
    """The interval of a step for several users. Nobody is faster than alone, nor slower than if the
    users took turns.
    """
    if users == 1:
        return interval
    low, high = interval[0] - OFF_FOR_SEVERAL, interval[1] + OFF_FOR_SEVERAL
    slower = math.log(step_s / (users * alone_s))  # below 0
    faster = math.log(step_s / alone_s)
    return max(low, min(slower, 0.0) + interval[0]), min(high, max(faster, 0.0) + interval[1])
