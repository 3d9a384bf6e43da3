"""The picture of a choice, laid out in pixels: what a template draws, for a file and for the page.
Pure.

Across the speed, upwards the score of the column that leads, the area the memory. A row without a
score stands on a strip below; where no speed is known the memory is across. The stairs join the
rows that no other beats in both; a row of the frontier below them is there since it needs less
memory. No label covers a mark or another label. Where there is little room, marks have the numbers
of the rows.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from hakaru.language import listed, say
from hakaru.pictures.axes import Axis, Tick
from hakaru.pictures.choice_labels import Label, labels_of
from hakaru.pictures.labels import text_width
from hakaru.pictures.marks import (
    SMALL,
    Limit,
    Mark,
    State,
    limit_of,
    marks_of,
    px,
    stairs,
    state_words,
)
from hakaru.pictures.plane import WIDE, Plane, across_title, plane_of, upwards_title
from hakaru.selection.chosen import Chosen

BELOW: Final = 44.0  # pixels below the panels, for the values and the title of the axis
KEY_ROW: Final = 20.0
KEY_MARK: Final = 20.0  # pixels of a mark of the key, before its text
KEY_GAP: Final = 18.0


class KeyEntry(Struct, frozen=True, kw_only=True):
    """What a mark means."""

    x: float
    y: float
    state: State | None  # None: a square, of a measured speed
    text: str


class Layout(Struct, frozen=True, kw_only=True):
    """A picture in pixels; y grows downwards."""

    width: int
    height: float
    plane: Plane
    across: str  # titles of the axes
    upwards: str  # where no row has a score, why
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    marks: list[Mark]
    labels: list[Label]
    stairs: list[tuple[float, float]]
    limit: Limit | None
    strip: str  # the head of the strip; empty where there is no strip, or nothing else
    strip_x: float
    key: list[KeyEntry]


def choice_layout(chosen: Chosen, *, width: int = WIDE) -> Layout:
    """Where everything stands. There must be rows. Below WIDE marks have numbers, not names."""
    plane = plane_of(chosen, width)
    marks, corners, limit = marks_of(plane, chosen), stairs(plane), limit_of(plane, chosen)
    strip = _strip(plane, chosen)
    key = _key(marks, width, plane.bottom + BELOW + KEY_ROW)
    return Layout(
        width=width, height=key[-1].y + KEY_ROW / 2, plane=plane,
        across=across_title(plane, chosen),
        upwards=upwards_title(plane, chosen) if plane.scored else strip,
        x_ticks=_ticks(plane.x, 8 if plane.is_wide else 4),
        y_ticks=_ticks(plane.y, 6) if plane.scored else [],
        marks=marks, stairs=corners, limit=limit,
        labels=labels_of(plane, chosen, marks, corners, limit),
        strip=strip if plane.scored else "", strip_x=_beside(strip, plane, limit), key=key,
    )  # fmt: skip


def notes(layout: Layout) -> list[str]:
    """How the picture is read."""
    told, plane = [], layout.plane
    if plane.across == "speed":
        told.append(
            say("Bar across: nine of ten measured speeds lie in it. Area: memory, RAM included.")
        )
    if plane.scored:
        told.append(say("Bar upwards: a standard error of the score, by the number of questions."))
    if layout.stairs:
        told.append(
            say("Stairs: no row is better in score and speed. Those below need less memory.")
            if plane.across == "speed"
            else say("Stairs: no row is better in score and memory. Those below are faster.")
        )
    if plane.left_out:
        names = listed(plane.left_out)
        told.append(say("Not drawn, since their speed is not known: {names}.", names=names))
    return told


def _ticks(axis: Axis, most: int) -> list[Tick]:
    return [Tick(at=px(axis.at(value)), text=f"{abs(value):,g}") for value in axis.ticks(most)]


def _strip(plane: Plane, chosen: Chosen) -> str:
    if not plane.others:
        return ""
    if any(one.row.score for one in plane.others):
        return say("no score, or below four bits")
    return say("not measured on this board") if chosen.search.lead else say("not measured")


def _beside(strip: str, plane: Plane, limit: Limit | None) -> float:
    """Where the head of the strip begins: not on the line of the limit."""
    begin = plane.left + 6
    is_crossed = limit and begin - 3 < limit.x < begin + text_width(strip, SMALL)
    return limit.x + 6 if limit and is_crossed else begin


def _key(marks: Sequence[Mark], width: int, y: float) -> list[KeyEntry]:
    """What the marks mean, in as many lines as are needed."""
    states = {mark.state for mark in marks}
    told: list[tuple[State | None, str]] = [
        (state, text) for state, text in state_words().items() if state in states
    ]
    if any(mark.is_measured for mark in marks):
        told.append((None, say("speed measured here")))
    entries, x = list[KeyEntry](), KEY_GAP
    for state, text in told:
        wide = KEY_MARK + text_width(text, SMALL)
        if x > KEY_GAP and x + wide > width:
            x, y = KEY_GAP, y + KEY_ROW
        entries.append(KeyEntry(x=px(x), y=px(y), state=state, text=text))
        x += wide + KEY_GAP
    return entries
