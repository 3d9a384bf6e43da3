"""The labels of a choice: the name of each row at its mark with its type and memory below, or where
there is little room its number. Pure.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise, repeat
from typing import Final, Literal

from msgspec import Struct

from hakaru.pictures.labels import Box, Segment, Wanted, places, text_width
from hakaru.pictures.marks import Limit, Mark, px, type_of
from hakaru.pictures.plane import Plane
from hakaru.selection.chosen import Chosen
from hakaru.selection.contender import Contender
from hakaru.units import format_bytes

NAME, DETAIL = 12.0, 11.0  # pixels of the letters
LINE: Final = 14.0  # pixels from one line to the next
BOLD: Final = 1.08  # how much wider bold letters are
CAP: Final = 4.0  # half the end of a bar
HALO: Final = 4.0  # pixels of the ring around the recommended row
HEAD: Final = 18.0  # pixels below the upper edge, for the text of the limit


class Label(Struct, frozen=True, kw_only=True):
    """The name at a mark. Units: pixels."""

    x: float
    y: float  # the foot of the first line
    anchor: Literal["start", "middle", "end"]  # which part of the text stands at x
    name: str
    detail: str  # empty for a number
    is_taken: bool
    leader: Segment | None  # the line to the mark, where it is far


def labels_of(
    plane: Plane,
    chosen: Chosen,
    marks: Sequence[Mark],
    corners: Sequence[tuple[float, float]],
    limit: Limit | None,
) -> list[Label]:
    """A label for every mark for which there is room; those of the strip stand beside the bar."""
    rows = {one.number: one.row for one in (*plane.scored, *plane.others)}
    texts = [_texts(rows[mark.number], chosen, plane) for mark in marks]
    wanted = [_wanted(mark, *text) for mark, text in zip(marks, texts, strict=True)]
    n = len(plane.scored)
    lines = [
        *(box for mark in marks[:n] for box in _bars(mark)),
        *(_thin(*a, *b) for a, b in pairwise(corners)),
        *([_thin(limit.x, plane.top, limit.x, plane.middle)] if limit else []),
    ]
    room = Box(plane.left + 3, plane.top + HEAD, plane.right - 3, plane.middle - 3)
    boxes = [*places(wanted[:n], room, lines), *map(_beside, marks[n:], wanted[n:], repeat(plane))]
    return [
        _label(mark, one, box, *text)
        for mark, one, box, text in zip(marks, wanted, boxes, texts, strict=True)
        if box
    ]


def _texts(row: Contender, chosen: Chosen, plane: Plane) -> tuple[str, str]:
    """The two lines of a label. Where all rows are of one model, its name says nothing."""
    if not plane.is_wide:
        return str(chosen.rows.index(row) + 1), ""
    if len(chosen.rows) > 1 and len({one.model.id for one in chosen.rows}) == 1:
        return type_of(row), format_bytes(row.memory_bytes)
    return row.model.id, f"{type_of(row)} · {format_bytes(row.memory_bytes)}"


def _wanted(mark: Mark, name: str, detail: str) -> Wanted:
    of_name = text_width(name, NAME) * (BOLD if mark.state == "taken" else 1.0)
    width = max(of_name, text_width(detail, DETAIL))
    radius = mark.radius + (HALO if mark.state == "taken" else 0.0)
    height = 2 * LINE if detail else LINE
    return Wanted(x=mark.x, y=mark.y, radius=radius, width=width, height=height)


def _bars(mark: Mark) -> Iterator[Box]:
    """The bars of a mark, with their ends."""
    for x in mark.span or ():
        yield _thin(mark.x, mark.y, x, mark.y)
        yield _thin(x, mark.y - CAP, x, mark.y + CAP)
    for y in mark.error or ():
        yield _thin(mark.x, mark.y, mark.x, y)
        yield _thin(mark.x - CAP, y, mark.x + CAP, y)


def _thin(x: float, y: float, to_x: float, to_y: float) -> Box:
    """A line as a box."""
    return Box(min(x, to_x) - 2, min(y, to_y) - 2, max(x, to_x) + 2, max(y, to_y) + 2)


def _beside(mark: Mark, wanted: Wanted, plane: Plane) -> Box:
    """Right of the bar, or left of it where there is no room."""
    low, high = mark.span or (mark.x, mark.x)
    left = max(high, mark.x + wanted.radius) + 8
    if left + wanted.width > plane.right - 3:
        left = min(low, mark.x - wanted.radius) - 8 - wanted.width
    top = mark.y - wanted.height / 2
    return Box(left, top, left + wanted.width, top + wanted.height)


def _label(mark: Mark, wanted: Wanted, box: Box, name: str, detail: str) -> Label:
    """The text on the side of the box that is next to the mark."""
    leader = wanted.leader(box) if mark.error else None
    anchor: Literal["start", "middle", "end"] = "middle"
    x = (box.left + box.right) / 2
    if box.left >= mark.x:
        anchor, x = "start", box.left
    elif box.right <= mark.x:
        anchor, x = "end", box.right
    return Label(
        x=px(x), y=px(box.top + 0.8 * LINE), anchor=anchor, name=name, detail=detail,
        is_taken=mark.state == "taken",
        leader=(px(leader[0]), px(leader[1]), px(leader[2]), px(leader[3])) if leader else None,
    )  # fmt: skip
