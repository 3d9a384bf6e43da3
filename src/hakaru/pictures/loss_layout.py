"""The candidates of a decision in pixels, for a page: their loss, with its interval, against their
memory. Pure.

Marks have the numbers of the table below the picture. The loss is on a logarithmic axis, on which
the source, which loses nothing, stands on the lower edge. For a file, with the speed beside it, see
`pareto`.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from hakaru.language import say
from hakaru.pictures.axes import Axis, LogAxis, Tick
from hakaru.pictures.marks import px
from hakaru.units import BYTE_SCALES, Figure, byte_unit, format_bytes

State = Literal["taken", "first", "behind", "misses"]
"""Chosen, meets every constraint, measured and does not, and not measured."""
HEIGHT: Final = 300.0
EDGE: Final = 62.0  # pixels left of the panel, for the values of its axis
TOP: Final = 26.0
BELOW: Final = 44.0
INSET: Final = 24.0  # pixels inside the panel in which no mark has its middle
RADIUS: Final = 10.0
FLOOR: Final = 3.0
"""How many times the lower edge lies below the least loss."""


class Candidate(NamedTuple):
    """What is drawn of a candidate."""

    number: int  # of its row in the table
    memory_bytes: int
    loss: Figure
    state: State
    told: str  # in words


class LossMark(NamedTuple):
    """A candidate. Units: pixels, y downwards."""

    number: int
    state: State
    x: float
    y: float
    error: tuple[float, float]  # the interval of the loss
    told: str


class Line(NamedTuple):
    """A bound: where it stands, and its text."""

    at: float
    text: str


class LossLayout(Struct, frozen=True, kw_only=True):
    """A picture in pixels."""

    width: int
    height: float
    left: float
    right: float
    top: float
    bottom: float
    across: str
    upwards: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    tier: Line
    limit: Line | None
    marks: list[LossMark]


def loss_layout(
    candidates: Sequence[Candidate], tier: tuple[str, float], limit_bytes: int | None, width: int
) -> LossLayout:
    """Where everything stands. There must be candidates. `tier` is its name and its bound."""
    name, bound = tier
    right, bottom = width - 12.0, TOP + HEIGHT
    least, most = (f([c.memory_bytes for c in candidates]) for f in (min, max))
    unit = byte_unit(most)
    scale = BYTE_SCALES[unit]
    room = 0.1 * (most - least or most)
    x = Axis((least - room) / scale, (most + room) / scale, EDGE + INSET, right - INSET)
    y = _losses(candidates, bound, (bottom - INSET / 2, TOP + INSET))
    limit = None
    if limit_bytes and x.low < limit_bytes / scale < x.high:
        limit = Line(px(x.at(limit_bytes / scale)), f"≤ {format_bytes(limit_bytes)}")
    return LossLayout(
        width=width, height=bottom + BELOW, left=EDGE, right=right, top=TOP, bottom=bottom,
        across=say("memory, {unit}", unit=unit),
        upwards=say("mean KLD, nats per token"),
        x_ticks=[Tick(at=px(x.at(n)), text=f"{n:,g}") for n in x.ticks(8 if width > 500 else 4)],
        y_ticks=[Tick(at=px(y.at(n)), text=f"{n:g}") for n in y.ticks()],
        tier=Line(px(y.at(bound)), say("tier {name}", name=name)),
        limit=limit,
        marks=[
            LossMark(
                c.number, c.state, px(x.at(c.memory_bytes / scale)), px(_at(y, c.loss.value)),
                (px(_at(y, c.loss.highest)), px(_at(y, c.loss.lowest))), c.told,
            )
            for c in candidates
        ],
    )  # fmt: skip


def _losses(candidates: Sequence[Candidate], bound: float, ends: tuple[float, float]) -> LogAxis:
    """The axis holds every loss above nothing, and the bound."""
    values = [v for c in candidates for v in (c.loss.value, c.loss.highest) if v > 0]
    return LogAxis(min([*values, bound]) / FLOOR, max([*values, bound]) * 1.2, *ends)


def _at(axis: Axis, value: float) -> float:
    """The pixel of a value; what is below the axis stands on its edge."""
    return axis.at(max(value, axis.low))
