"""The memory of every device as a page shows it: a stacked bar with a line at what may be used, and
a table with the same figures, all in one unit.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from hakaru.language import say
from hakaru.planning.shares import Placement, Share
from hakaru.units import byte_unit, bytes_told

WHOLE: Final = 100.0
"""Width of a bar."""
ROOM: Final = 1.02
"""How far a bar reaches beyond the larger of what is needed and what may be used."""


class Piece(Struct, frozen=True, kw_only=True):
    """A part of a bar."""

    number: int  # of the part, which has a colour
    told: str  # the part in words
    begin: str  # where the piece begins, of WHOLE
    share: str  # how wide it is


class Bar(Struct, frozen=True, kw_only=True):
    """One device."""

    title: str
    pieces: list[Piece]
    limit: str  # where the line stands, of WHOLE


class Chart(Struct, frozen=True, kw_only=True):
    """The bars of all devices, and the table beside them."""

    caption: str
    bars: list[Bar]
    head: list[str]
    rows: list[tuple[str, list[str]]]  # the parts: label and cells
    foot: list[tuple[str, list[str]]]  # the sum, and what may be used


def devices_chart(placement: Placement, allocated: Sequence[int | None] | None = None) -> Chart:
    """The chart of a plan. `allocated` are the bytes that the engine took of each part, on all
    devices together, in the order of `Share.bar`; None: it took nothing yet. In the language in
    use.
    """
    shares = placement.devices
    unit = byte_unit(max(share.needed_bytes for share in shares))
    names = [say("weights"), say("KV cache"), say("compute"), say("other"), say("with use")]
    several = len(shares) > 1
    columns = [share.bar for share in shares]
    sums = [share.needed_bytes for share in shares]
    limits = [bytes_told(share.device.usable_bytes, unit) for share in shares]
    taken = list(allocated or [])
    taken_sum = bytes_told(sum(n for n in taken if n), unit) if any(taken) else "-"
    return Chart(
        caption=say("Memory by part and device"),
        bars=[_bar(share, names, unit) for share in shares],
        head=["", *(share.device.name if several else say("planned") for share in shares)]
        + ([say("allocated")] if allocated is not None else []),
        rows=[
            (name, [*(bytes_told(column[i], unit) for column in columns)]
             + ([bytes_told(n, unit) if (n := taken[i]) else "-"] if taken else []))
            for i, name in enumerate(names)
        ],
        foot=[
            (say("total"), [*(bytes_told(n, unit) for n in sums)] + ([taken_sum] if taken else [])),
            (say("may be used"), limits + ([""] if taken else [])),
        ],
    )  # fmt: skip


def _bar(share: Share, names: Sequence[str], unit: str) -> Bar:
    needed, usable = share.needed_bytes, share.device.usable_bytes
    scale = WHOLE / (ROOM * max(needed, usable, 1))
    begin, pieces = 0.0, []
    for number, (name, n_bytes) in enumerate(zip(names, share.bar, strict=True)):
        told = f"{name}: {bytes_told(n_bytes, unit)}"
        width = n_bytes * scale
        pieces.append(Piece(number=number, told=told, begin=f"{begin:.3f}", share=f"{width:.3f}"))
        begin += width
    title = say(
        "{device}: {needed} needed, {free} may be used (the line)",
        device=share.device.name,
        needed=bytes_told(needed, unit),
        free=bytes_told(usable, byte_unit(usable)),
    )
    return Bar(title=title, pieces=pieces, limit=f"{usable * scale:.3f}")
