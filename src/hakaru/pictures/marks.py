"""The marks of a choice on their plane: one for each row, the stairs of the rows that no other
beats, and the line at what is wished for. Pure.
"""

import math
from typing import Final, Literal

from msgspec import Struct

from hakaru.language import say
from hakaru.pictures.labels import text_width
from hakaru.pictures.plane import GIB, STRIP_HEAD, STRIP_ROW, Plane, Row, spread
from hakaru.selection.boards import better_up
from hakaru.selection.chosen import Chosen
from hakaru.selection.contender import Contender
from hakaru.selection.told import interval_text, speed_text
from hakaru.units import format_bytes

State = Literal["taken", "first", "behind", "misses"]
LARGEST: Final = 13.0  # pixels from the middle of the largest mark to its edge
LEAST: Final = 3.5
PLAIN: Final = 6.0  # of every mark where the memory is across
SMALL: Final = 11.0  # pixels of the letters of axes and lines


class Mark(Struct, frozen=True, kw_only=True):
    """One row. Units: pixels, y downwards."""

    number: int  # the place of the row
    state: State
    is_measured: bool  # the speed was; else it is predicted
    x: float
    y: float
    radius: float
    span: tuple[float, float] | None  # of the speed's interval; None: none is drawn
    error: tuple[float, float] | None  # of the score; None: no score
    told: str  # the row in words


class Limit(Struct, frozen=True, kw_only=True):
    """A line across the panels, and its text."""

    x: float
    text: str
    text_x: float
    anchor: Literal["start", "end"]


def marks_of(plane: Plane, chosen: Chosen) -> list[Mark]:
    """One mark for each row: those with a score first."""
    most = max(row.memory_bytes for row in chosen.rows)
    marks = []
    for one in plane.scored:
        assert one.score
        top, bottom = sorted(px(plane.y.at(value)) for value in spread(one.score))
        error = top, bottom
        marks.append(_mark(one, plane, chosen, most, plane.y.at(one.score.value), error))
    for i, one in enumerate(plane.others):
        y = plane.middle + STRIP_HEAD + (i + 0.5) * STRIP_ROW
        marks.append(_mark(one, plane, chosen, most, y, None))
    return marks


def _mark(
    one: Row, plane: Plane, chosen: Chosen, most: int, y: float, error: tuple[float, float] | None
) -> Mark:
    row, pace = one.row, one.row.pace
    radius, span = PLAIN, None
    if plane.across == "speed" and pace:
        radius = max(LEAST, LARGEST * math.sqrt(row.memory_bytes / most))
        span = px(plane.x.at(pace.low)), px(plane.x.at(pace.high))
    return Mark(
        number=one.number, state=state_of_row(row, chosen),
        is_measured=is_measured(row), x=px(plane.x.at(plane.across_of(row))), y=px(y),
        radius=px(radius), span=span, error=error, told=told(row),
    )  # fmt: skip


def px(value: float) -> float:
    """A tenth of a pixel is enough."""
    return round(value, 1)


def is_measured(row: Contender) -> bool:
    """Whether the row's speed was measured on this machine."""
    return bool(row.pace and row.measured and row.pace is row.measured.decode)


def state_of_row(row: Contender, chosen: Chosen) -> State:
    """What the row is among the others."""
    if row is chosen.recommended:
        return "taken"
    if row.misses:
        return "misses"
    return "first" if row in chosen.search.frontier else "behind"


def state_words() -> dict[State, str]:
    """The states in words."""
    return {
        "taken": say("recommended"),
        "first": say("no row is ahead in everything"),
        "behind": say("behind, or not measured"),
        "misses": say("misses a wish"),
    }


def told(row: Contender) -> str:
    """The row in words."""
    parts = [f"{row.model.id} {type_of(row)}", format_bytes(row.memory_bytes)]
    if row.pace:
        speed, interval = speed_text(row.pace), interval_text(row.pace)
        parts.append(say("{speed} tokens/s ({interval})", speed=speed, interval=interval))
    if row.published:
        parts.append(f"{row.published.benchmark} {row.published.value:g}")
    return say(", ").join(parts)


def type_of(row: Contender) -> str:
    """The type of the weights, and that of the cache where it is not the usual one."""
    return row.type if row.cache == "f16" else f"{row.type}, KV {row.cache}"


def stairs(plane: Plane) -> list[tuple[float, float]]:
    """Corners of the stairs down from the best score: a step wherever a row with a lower score is
    better in what is across. Empty where no row has a score.
    """
    steps = list[tuple[float, float]]()
    least = math.inf
    scored = [(one.score, one.row) for one in plane.scored if one.score]
    for score, row in sorted(scored, key=lambda r: (-better_up(r[0]), plane.behind(r[1]))):
        if plane.behind(row) < least:
            least = plane.behind(row)
            steps.append((px(plane.x.at(plane.across_of(row))), px(plane.y.at(score.value))))
    if not steps:
        return []
    edge = plane.left if plane.across == "speed" else plane.right
    befores = [edge, *(x for x, _ in steps)]
    flights = [((before, y), (x, y)) for before, (x, y) in zip(befores, steps, strict=False)]
    return [*(corner for flight in flights for corner in flight), (steps[-1][0], plane.middle)]


def limit_of(plane: Plane, chosen: Chosen) -> Limit | None:
    """The line at the pace that is wished for, or at the memory that there is."""
    if plane.wish:
        x, text = plane.x.at(plane.wish), say("wished for: {n:,.3g} tokens/s", n=plane.wish)
    else:
        usable = chosen.hardware.usable_bytes
        x, text = plane.x.at(usable / GIB), say("usable: {bytes}", bytes=format_bytes(usable))
    if x > plane.right:
        return None
    ends = x + 5 + text_width(text, SMALL) > plane.right
    return Limit(
        x=px(x), text=text, text_x=px(x - 5 if ends else x + 5), anchor="end" if ends else "start"
    )
