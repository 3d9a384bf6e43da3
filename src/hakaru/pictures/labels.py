"""Where the labels of a picture stand, so that none covers a mark or another label. Pure.

Each label is tried at places around its mark, and takes the cheapest: a place on another label, on
a mark or outside the picture is none; one across a thin line, or further away, costs, and so does a
leader, the line from a far label to its mark, across another label. The labels are placed three
times, since the first did not know of the last. Widths of texts are estimated on the side of the
wide fonts, as nobody knows which font a reader has.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from msgspec import Struct

NARROW: Final = frozenset("iljtfrI.,:;'|!()[] -1")
WIDE: Final = frozenset("mwMWQ@%…")
FIRST_JAPANESE: Final = "\u2e80"  # from here on letters are as wide as high
OPENING: Final = frozenset("（「『(")
NO_BEGIN: Final = frozenset(" 、。）」』：,.)ーゃゅょっャュョッ")
"""What begins no line."""
DISTANCES: Final = (4, 12, 24, 40, 60, 84, 112)
"""Pixels between a mark and its label, the near ones first."""
PASSES: Final = 3
FAR: Final = 9.0  # pixels from a mark from which on its label has a leader
CROSSED_LINE: Final = 2.0  # what each square pixel of a thin line costs
CROSSED: Final = 200.0  # what a leader across a label or a mark costs
DOUBTFUL: Final = 60.0  # what it costs to stand as near to another mark
CLEAR: Final = 6.0  # pixels by which a label is nearer to its own mark
Segment = tuple[float, float, float, float]
"""A line from one point to another: x, y, x, y."""


class Box(NamedTuple):
    """A rectangle; y grows downwards. Units: pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def common(self, other: "Box") -> float:
        """The area that both cover."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def holds(self, other: "Box") -> bool:
        """Whether the other lies inside as a whole."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )


class Wanted(Struct, frozen=True, kw_only=True):
    """A label that is to be placed beside its mark."""

    x: float  # the middle of the mark
    y: float
    radius: float
    width: float  # of the label
    height: float

    @property
    def mark(self) -> Box:
        """The square that the mark fills."""
        x, y, radius = self.x, self.y, self.radius
        return Box(x - radius, y - radius, x + radius, y + radius)

    def gap(self, box: Box) -> float:
        """Pixels between the edge of the mark and a label at `box`."""
        x, y = min(max(self.x, box.left), box.right), min(max(self.y, box.top), box.bottom)
        return math.hypot(x - self.x, y - self.y) - self.radius

    def leader(self, box: Box) -> Segment | None:
        """The line from the edge of the mark to the nearest point of a label at `box`; None where
        the label stands near.
        """
        if (gap := self.gap(box)) <= FAR:
            return None
        x, y = min(max(self.x, box.left), box.right), min(max(self.y, box.top), box.bottom)
        part = self.radius / (gap + self.radius)
        return self.x + part * (x - self.x), self.y + part * (y - self.y), x, y


def crosses(line: Segment, box: Box) -> bool:
    """Whether a part of the line lies in the box. Source: Liang and Barsky, 1984."""
    x, y, to_x, to_y = line
    first, last = 0.0, 1.0
    for step, room in (
        (x - to_x, x - box.left),
        (to_x - x, box.right - x),
        (y - to_y, y - box.top),
        (to_y - y, box.bottom - y),
    ):
        if step == 0:
            if room < 0:
                return False
        elif step < 0:
            first = max(first, room / step)
        else:
            last = min(last, room / step)
    return first < last


def text_width(text: str, size: float) -> float:
    """About the width of a text, in pixels, in letters of `size` pixels."""
    return size * sum(_em(letter) for letter in text)


def _em(letter: str) -> float:
    if letter >= FIRST_JAPANESE:
        return 1.0
    if letter in NARROW:
        return 0.4
    return 0.9 if letter in WIDE else 0.63


def lines_of(text: str, width: float, size: float) -> list[str]:
    """The text in lines of at most `width` pixels: broken at blanks, Japanese anywhere but before a
    mark of punctuation.
    """
    lines = [""]
    for piece in _pieces(text):
        if lines[-1] and text_width(lines[-1] + piece.rstrip(), size) > width:
            lines[-1] = lines[-1].rstrip()
            lines.append("")
        lines[-1] += piece if lines[-1] else piece.lstrip()
    return [line.rstrip() for line in lines]


def _pieces(text: str) -> Iterator[str]:
    """What may stand alone at the end of a line."""
    piece = ""
    for letter, after in zip(text, [*text[1:], " "], strict=True):
        piece += letter
        is_japanese = max(letter, after) >= FIRST_JAPANESE
        if letter == " " or (is_japanese and letter not in OPENING and after not in NO_BEGIN):
            yield piece
            piece = ""
    yield piece


def places(wanted: Sequence[Wanted], room: Box, lines: Sequence[Box]) -> list[Box | None]:
    """The place of each label inside `room`, or None where there is none. `lines` are thin and may
    be crossed where nothing better is left.
    """
    placed: list[Box | None] = [None] * len(wanted)
    for _ in range(PASSES):
        for i, one in enumerate(wanted):
            others = [(w, box) for w, box in zip(wanted, placed, strict=True) if w is not one]
            placed[i] = _cheapest(one, room, others, lines)
    return placed


def _cheapest(
    wanted: Wanted, room: Box, others: Sequence[tuple[Wanted, Box | None]], lines: Sequence[Box]
) -> Box | None:
    """The best place for one label. `others`: the other marks, and where their labels stand now."""
    best, least = None, math.inf
    labels = [box for _, box in others if box]
    leaders = [leader for other, box in others if box and (leader := other.leader(box))]
    met = [*labels, *(other.mark for other, _ in others)]
    for cost, box in _around(wanted):
        if cost >= least or not room.holds(box):
            continue
        if any(box.common(taken) for taken in (*met, wanted.mark)):
            continue
        cost += CROSSED_LINE * sum(box.common(line) for line in lines)
        cost += CROSSED * sum(crosses(leader, box) for leader in leaders)
        if leader := wanted.leader(box):
            cost += CROSSED * sum(crosses(leader, taken) for taken in met)
        near = wanted.gap(box) + CLEAR
        cost += DOUBTFUL * sum(other.gap(box) < near for other, _ in others)
        if cost < least:
            best, least = box, cost
    return best


def _around(wanted: Wanted) -> Iterator[tuple[float, Box]]:
    """Places around the mark, and what each costs: beside before above, below and askew."""
    x, y, width, height = wanted.x, wanted.y, wanted.width, wanted.height
    for distance in DISTANCES:
        away = wanted.radius + distance
        askew = 0.7 * away
        for extra, left, top in (
            (0, x + away, y - height / 2),
            (2, x - away - width, y - height / 2),
            (4, x - width / 2, y - away - height),
            (4, x - width / 2, y + away),
            (3, x + askew, y - askew - height),
            (3, x + askew, y + askew),
            (5, x - askew - width, y - askew - height),
            (5, x - askew - width, y + askew),
        ):
            yield 2 * distance + extra, Box(left, top, left + width, top + height)
