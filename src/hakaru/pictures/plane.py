"""The plane on which the rows of a choice stand: what is across and upwards, and where the panel of
the scores and the strip of rows without a score lie. Pure.
"""

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from msgspec import Struct

from hakaru.language import language_name, say
from hakaru.models.scores import Score
from hakaru.pictures.axes import Axis, LogAxis
from hakaru.selection.boards import standard_error
from hakaru.selection.chosen import Chosen
from hakaru.selection.contender import Contender

Across = Literal["speed", "memory"]
GIB: Final = 2**30
WIDE: Final = 720  # pixels, with a name at every mark
NARROW: Final = 340  # pixels, for a phone: with numbers
EDGE: Final = 54.0  # pixels left of the panel, for the values of its axis
TOP: Final = 26.0  # pixels above the panel, for the title of its axis
INSET: Final = 24.0  # pixels inside the panel in which no mark has its middle
ABOVE: Final = 52.0  # the same at the upper edge, and
BESIDE: Final = 64.0  # at the right edge of a wide picture: for labels
HEIGHT: Final = 300.0  # of the panel with up to ROOMY rows
ROOMY: Final = 9
MORE: Final = 14.0  # pixels for each further row
STRIP_HEAD: Final = 26.0
STRIP_ROW: Final = 34.0
LEAST_SPAN: Final = 8.0
"""By how much the fast end of the axis is ahead of the slow one, at least: leaves room for labels
where all rows are about as fast.
"""


class Row(NamedTuple):
    """A row of the choice."""

    number: int  # its place
    row: Contender
    score: Score | None


class Plane(Struct, frozen=True, kw_only=True):
    """Where rows stand. Units: pixels, y downwards."""

    is_wide: bool
    across: Across
    scored: list[Row]
    others: list[Row]  # without a score: on the strip
    left_out: list[str]  # names of rows whose speed is not known
    left: float
    right: float
    top: float
    middle: float  # where the panel ends and the strip begins
    bottom: float
    x: Axis
    y: Axis
    wish: float | None  # tokens per second

    def across_of(self, row: Contender) -> float:
        """What the row has across."""
        if self.across == "speed" and row.pace:
            return row.pace.value
        return row.memory_bytes / GIB

    def behind(self, row: Contender) -> float:
        """The same, turned so that less is better."""
        return -self.across_of(row) if self.across == "speed" else self.across_of(row)


def plane_of(chosen: Chosen, width: int) -> Plane:
    """The plane for the rows of a choice. Across is the speed, or where most rows have none, the
    memory.
    """
    rows = chosen.rows
    is_speed = 2 * sum(row.pace is not None for row in rows) >= len(rows)
    numbered = [Row(i, row, row.published) for i, row in enumerate(rows, 1)]
    drawn = [one for one in numbered if one.row.pace or not is_speed]
    scored, others = [r for r in drawn if r.score], [r for r in drawn if not r.score]
    is_wide, wish = width >= WIDE, _wish(chosen)
    height = (HEIGHT + MORE * max(0, len(scored) - ROOMY)) if scored else 0.0
    left, right, middle = EDGE, width - 12.0, TOP + height
    ends = left + INSET, right - (BESIDE if is_wide else INSET)
    contenders = [one.row for one in drawn]
    return Plane(
        is_wide=is_wide, across="speed" if is_speed else "memory", scored=scored, others=others,
        left_out=[one.row.model.id for one in numbered if one not in drawn],
        left=left, right=right, top=TOP, middle=middle,
        bottom=middle + (STRIP_HEAD + STRIP_ROW * len(others) if others else 0.0),
        x=_speeds(contenders, wish, ends) if is_speed else _memories(contenders, ends),
        y=_scores([one.score for one in scored if one.score], (middle - INSET, TOP + ABOVE)),
        wish=wish if is_speed else None,
    )  # fmt: skip


def spread(score: Score) -> tuple[float, float]:
    """One standard error below and above the score; of a rate something is left."""
    error = standard_error(score)
    return max(score.value - error, 0.1 * score.value), score.value + error


def _wish(chosen: Chosen) -> float | None:
    """The pace that is wished for: of writing, or where nothing is written, of reading."""
    traffic = chosen.conditions.traffic
    return traffic.decode_tokens_per_s or traffic.n_prompt / traffic.first_token_s


def _speeds(rows: Sequence[Contender], wish: float | None, ends: tuple[float, float]) -> Axis:
    paces = [row.pace for row in rows if row.pace]
    values = [value for pace in paces for value in (pace.low, pace.high)]
    values += [wish] if wish else []
    low, high = min(values), max(values)
    more = max(1.0, LEAST_SPAN * low / high) ** 0.5
    return LogAxis(low / more, high * more, *ends)


def _memories(rows: Sequence[Contender], ends: tuple[float, float]) -> Axis:
    return Axis(0, max(row.memory_bytes for row in rows) / GIB, *ends)


def _scores(scores: Sequence[Score], ends: tuple[float, float]) -> Axis:
    """Upwards is better. Rates of errors stand on a logarithmic axis: half as many are as much
    better wherever one stands.
    """
    spans = [spread(score) for score in scores]
    low, high = min((a for a, _ in spans), default=0.0), max((b for _, b in spans), default=1.0)
    if scores and not scores[0].higher_is_better:
        return LogAxis(low, high, *reversed(ends))
    return Axis(low, high, *ends) if low < high else Axis(low - 0.5, high + 0.5, *ends)


def across_title(plane: Plane, chosen: Chosen) -> str:
    """What is across, with its unit."""
    if plane.across == "memory":
        return say("memory, GiB")
    if not chosen.conditions.traffic.n_answer:
        return say("prefill, tokens/s")
    return say("decode, tokens/s")


def upwards_title(plane: Plane, chosen: Chosen) -> str:
    """The column of the scores; empty where no row has one."""
    lead = chosen.search.lead
    if not plane.scored or lead is None:
        return ""
    score = plane.scored[0].score
    title = lead.benchmark
    if lead.language != chosen.conditions.language:
        title = say("{metric} ({language})", metric=title, language=language_name(lead.language))
    if score and not score.higher_is_better:
        title = say("{metric}, less is better and higher up", metric=title)
    return title
