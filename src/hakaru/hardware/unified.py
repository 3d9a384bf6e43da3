"""Unified memory: how much of a memory that processor and GPU share a model may take on the GPU.

Apple's Metal recommends a working set; Linux lends AMD's and Intel's integrated GPUs half of the
RAM (GTT) unless somebody sets more; NVIDIA's boards offer what the kernel calls MemTotal. Sizes
that were seen stand in a table. For a size between two of them the share of the smaller one is
taken, and the sentence says that the figure is interpolated.
"""

from bisect import bisect_right
from typing import Any, Final

from msgspec import Struct

from hakaru.language import say
from hakaru.units import format_bytes

APPLE_MIB: Final = {
    8: 5460, 16: 12123, 18: 13639, 24: 18186, 32: 25559, 36: 28753, 48: 38338, 64: 53084,
    128: 110100, 256: 228065, 512: 475136,
}  # fmt: skip
"""Metal's recommendedMaxWorkingSetSize in MiB, by the memory in GB that a Mac is sold with. Source:
public logs of llama.cpp on current macOS, 2026.
"""
HALF: Final = 0.5
"""The part of the RAM that Linux lends an integrated GPU by default. Source: Linux,
drivers/gpu/drm/ttm (pages_limit); for Intel assumed.
"""
BOARD: Final = 0.93
"""The part of a Jetson's memory that Linux calls MemTotal: the smallest part that was seen (7,619
of 8,192 MiB). Assumed for boards that were not seen.
"""


class UnifiedShare(Struct, frozen=True, kw_only=True):
    """How much of a unified memory a model may take."""

    total_bytes: int  # the memory, as the driver reports it
    usable_bytes: int  # the part that a model may take on an idle machine
    why: str  # where the figure comes from, in words


def unified_share(
    row: dict[str, Any], sold_gib: float, by_hand_bytes: int | None = None
) -> UnifiedShare:
    """The GPU's share of the memory, for a machine of the catalogue's `row` that is sold with
    `sold_gib`. `by_hand_bytes` is the share that a person set; None: the system's default holds.
    """
    sold = int(sold_gib * 2**30)
    total, usable, why = sold, sold, say("all of it")
    if by_hand_bytes is not None:
        usable, why = min(by_hand_bytes, sold), say("as it was set by hand")
    elif row["vendor"] == "apple":
        usable, was_seen = apple_share(sold_gib)
        why = (
            say("what Metal recommends")
            if was_seen
            else say("what Metal recommends, interpolated between sizes that were seen")
        )
    elif row.get("shares_ram"):
        usable, why = int(sold * HALF), say("half of the RAM by default; more if set by hand")
    elif "reported_mib" in row:
        total = row["reported_mib"] * 2**20
        usable, why = (
            row.get("idle_mib", row["reported_mib"]) * 2**20,
            say("as its driver reports on an idle machine"),
        )
    elif row["vendor"] == "nvidia":
        usable, why = (
            int(sold * BOARD),
            say("the system takes the rest, interpolated between boards that were seen"),
        )
    return UnifiedShare(total_bytes=total, usable_bytes=usable, why=why)


def apple_share(sold_gib: float) -> tuple[int, bool]:
    """Bytes that Metal recommends on a Mac that is sold with `sold_gib` GB; then True if that
    figure was seen, False if it is interpolated.
    """
    if sold_gib in APPLE_MIB:
        return APPLE_MIB[int(sold_gib)] * 2**20, True
    sizes = list(APPLE_MIB)
    below = sizes[max(0, bisect_right(sizes, sold_gib) - 1)]
    return int(sold_gib * 2**30 * APPLE_MIB[below] / (below * 1024)), False


def unified_note(name: str, share: UnifiedShare, sold_gib: float) -> str:
    """The sentence on how much of a unified memory a model may take."""
    return say(
        "{name}: a model may take {usable} of its {sold:g} GB ({why}).",
        name=name,
        usable=format_bytes(share.usable_bytes),
        sold=sold_gib,
        why=share.why,
    )
