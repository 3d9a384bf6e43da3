"""Which of two models is the better one by published scores: only where a board has measured both.
Pure.

Two models are compared column by column: the same board, the same edition, the same benchmark.
Model a is better than model b if a is ahead in at least one shared column and behind in none.
Otherwise nothing is said: boards are not averaged, and a model that no board shares with another
model is neither better nor worse than it. Boards publish no errors of their figures, so a lead of
any size counts; that it must hold in every shared column is what keeps chance small.

Where a board ran a model in several settings, the settings that both models share are compared;
where they share none, every figure of a must be ahead of every figure of b. Left out of every
comparison: doubtful columns, and scores of a base model, which say nothing of its fine-tune.
"""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

from hakaru.models.scores import Score

Column: TypeAlias = tuple[str, str]
"""A board's id and a benchmark on it."""
Columns: TypeAlias = Mapping[Column, Mapping[str, float]]
"""A model's figures: by column and setting, turned so that more is better."""
Verdict = Literal["better", "worse", "equal", "mixed"]


class Comparison(Struct, frozen=True, kw_only=True):
    """How one model stands against another."""

    verdict: Verdict | None  # None: no board has measured both
    shared: tuple[Column, ...] = ()


class Place(Struct, frozen=True, kw_only=True):
    """A model's place in one column of one board, among all models that the board has there."""

    score: Score
    place: int  # 1: none is ahead
    of: int


class Frontier(Struct, frozen=True, kw_only=True):
    """What published scores say of several models."""

    first: tuple[str, ...]  # nobody is better, or only models that are worse than they, too
    behind: Mapping[str, tuple[str, ...]]  # a model, and who is better
    unmeasured: tuple[str, ...]  # no score of their own: neither first nor behind


def columns_of(scores: Iterable[Score]) -> Columns:
    """The figures of one model that may be compared."""
    columns: dict[Column, dict[str, float]] = {}
    for score in scores:
        if score.grade == "this model" and not score.doubtful:
            signed = score.value if score.higher_is_better else -score.value
            columns.setdefault((score.board.id, score.benchmark), {})[score.setting] = signed
    return columns


def compare(a: Columns, b: Columns) -> Comparison:
    """How the model with the figures `a` stands against the one with the figures `b`."""
    shared = tuple(column for column in a if column in b)
    verdicts = {_in_column(a[column], b[column]) for column in shared}
    if not shared:
        return Comparison(verdict=None)
    if verdicts == {"equal"}:
        return Comparison(verdict="equal", shared=shared)
    rest = verdicts - {"equal"}
    return Comparison(verdict=rest.pop() if len(rest) == 1 else "mixed", shared=shared)


def _in_column(a: Mapping[str, float], b: Mapping[str, float]) -> Verdict:
    settings = [setting for setting in a if setting in b]
    pairs = (
        [(a[setting], b[setting]) for setting in settings]
        if settings
        else [(x, y) for x in a.values() for y in b.values()]
    )
    if all(x == y for x, y in pairs):
        return "equal"
    if all(x >= y for x, y in pairs):
        return "better"
    return "worse" if all(x <= y for x, y in pairs) else "mixed"


def frontier(models: Mapping[str, Columns]) -> Frontier:
    """The models that no other is better than, by name.

    Different boards may contradict each other in a ring: a is better than b on one board, b than c
    on another, c than a on a third. Models of such a ring do not push each other back, so that
    somebody is first wherever anybody was measured.
    """
    measured = {name: columns for name, columns in models.items() if columns}
    better = {
        name: {
            other
            for other, theirs in measured.items()
            if other != name and compare(theirs, columns).verdict == "better"
        }
        for name, columns in measured.items()
    }
    behind = {}
    for name in measured:
        ahead = {other for other in better[name] if name not in _above(other, better)}
        if ahead:
            behind[name] = tuple(other for other in measured if other in ahead)
    return Frontier(
        first=tuple(name for name in measured if name not in behind),
        behind=behind,
        unmeasured=tuple(name for name in models if name not in measured),
    )


def _above(name: str, better: Mapping[str, set[str]]) -> set[str]:
    """Everybody who is better than `name`, directly or through others."""
    above: set[str] = set()
    to_visit = [name]
    while to_visit:
        new = better[to_visit.pop()] - above
        above |= new
        to_visit += new
    return above


def place_of(score: Score, scores: Iterable[Score]) -> Place:
    """The place of a score among all `scores` of its column, whatever their settings."""
    column = [
        other.value
        for other in scores
        if (other.board.id, other.benchmark) == (score.board.id, score.benchmark)
    ]
    ahead = [
        value
        for value in column
        if (value > score.value if score.higher_is_better else value < score.value)
    ]
    return Place(score=score, place=len(ahead) + 1, of=len(column))
