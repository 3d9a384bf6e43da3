"""How many tasks a model of the catalogue solved here, at a type: what races left in the ledger.

A row is known by the model's name in the catalogue, the type, the tasks, and the task and language
of `choose` for which they were asked. The latest race counts.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from hakaru.models.benchmarks import Task
from hakaru.places import ledger_path
from hakaru.units import Figure

if TYPE_CHECKING:
    from hakaru.ledger import Ledger

KIND: Final = "tasks solved in a race"
"""The kind of these rows in the ledger."""
Row = tuple[str, str]
"""A model's name in the catalogue, and the type of its weights."""


class Solved(Struct, frozen=True, kw_only=True):
    """What one model solved."""

    tasks: str  # their name: `ours`, or a file's
    n_right: int
    n: int  # tasks that could be checked
    share: Figure  # of right answers
    is_whole: bool  # False: it was known as the worse one before all were asked
    at: str  # the moment, in ISO 8601

    def as_json(self, type_: str) -> dict[str, object]:
        """Beside the published scores, in `quality`. `type_` of the file that was asked may be
        another than the row's, where that one is not published.
        """
        return {
            "metric": f"tasks solved: {self.tasks}", "value": self.share.value,
            "low": self.share.low, "high": self.share.high, "unit": "fraction",
            "right": self.n_right, "n": self.n, "source": "measured here",
            "grade": "measured here", "type": type_, "date": self.at[:10],
        }  # fmt: skip


def remember_solved(
    ledger: "Ledger", row: Row, task: Task, language: str, digest: str, solved: Solved
) -> None:
    """Keep a result; an older one of the same tasks is replaced."""
    model, type_ = row
    inputs = {"model": model, "type": type_, "task": task, "language": language, "tasks": digest}
    result = {
        "tasks": solved.tasks, "n_right": solved.n_right, "n": solved.n,
        "share": solved.share.as_json(), "is_whole": solved.is_whole, "at": solved.at,
    }  # fmt: skip
    ledger.remember(KIND, inputs, result)


def solved_here(ledger: "Ledger", task: Task, language: str) -> Mapping[Row, tuple[Solved, ...]]:
    """What was solved for this task and language, the latest first."""
    found: dict[Row, tuple[Solved, ...]] = {}
    for inputs, result in ledger.recall_all(KIND):
        if (inputs["task"], inputs["language"]) == (task, language):
            row = inputs["model"], inputs["type"]
            found[row] = (_solved(result), *found.get(row, ()))
    return found


AskSolved = Callable[[Task, str], Mapping[Row, tuple[Solved, ...]]]
"""By the task and its language, what was solved for it."""


def solved_before(task: Task, language: str) -> Mapping[Row, tuple[Solved, ...]]:
    """`solved_here` by the ledger of this home. Where there is none, none is made."""
    if not ledger_path().is_file():
        return {}
    from hakaru.ledger import Ledger

    with closing(Ledger(keeps=False)) as ledger:
        return solved_here(ledger, task, language)


def nothing_solved(task: Task, language: str) -> Mapping[Row, tuple[Solved, ...]]:
    """Where no race was run."""
    return {}


def _solved(result: dict[str, Any]) -> Solved:
    return Solved(**{**result, "share": Figure.from_json(result["share"])})
