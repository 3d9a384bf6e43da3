"""Which rows of an answer of `choose` are raced, and on which tasks.

A race is for what published scores leave open. So the recommended row runs against models of which
the scores cannot say that they are worse: those that tie with the best, and those that the board
did not measure, in turns, since a tie is close already and the unmeasured may be anything. Rows
that are behind by more than chance only come where nobody else would run. Rows that miss a wish do
not run, nor those below four bits beside others.
"""

import shlex
from itertools import chain, zip_longest
from typing import Final

from hakaru.errors import Misuse
from hakaru.evaluation.tasks import HUMANEVAL, OURS, Item, TaskSet, named_tasks
from hakaru.models.benchmarks import Task
from hakaru.selection.chosen import Chosen
from hakaru.selection.contender import Contender

MOST: Final = 3
"""Racers at most: each is a download of gigabytes, and a third of the time."""
KINDS: Final[dict[Task, tuple[str, ...]]] = {
    "code": ("code",),
    "reasoning": ("arithmetic", "code"),
    "rag": ("passage", "extraction", "classification"),
    "tool-use": ("tools", "extraction", "instructions"),
}
"""The kinds of our own tasks that speak for a task; all of them for a task that is not here."""


def check_task(task: Task) -> None:
    """Raises Misuse for a task that no task with a checked answer in text speaks for."""
    if task in {"embedding", "vision"}:
        raise Misuse(
            "`race` asks for answers in text, which say nothing of {task}; leave it out.", task=task
        )


def of_one_model(name: str) -> Misuse:
    """The error for a race between the types of one model."""
    return Misuse(
        "`race` runs models against each other, and `model` names one; its types are compared "
        "by: {command}",
        command=shlex.join(("hakaru", "tune", name)),
    )


def in_turn(chosen: Chosen) -> list[Contender]:
    """The rows that may run, one of each model, in the order in which they are taken."""
    first, search = chosen.recommended, chosen.search
    if first is None:
        return []
    others = [row for row in chosen.rows if row in search.pool and row is not first]
    tied = [row for row in others if row.score and search.is_tied(row)]
    unmeasured = [row for row in others if row.score is None]
    behind = [row for row in others if row.score and row not in tied]
    turns = chain.from_iterable(zip_longest(tied, unmeasured))
    open_ones = [row for row in turns if row]
    return [first, *open_ones, *(() if len(open_ones) >= MOST - 1 else behind)]


def is_behind(row: Contender, chosen: Chosen) -> bool:
    """Whether published scores say already that the row is worse than the recommended one."""
    first = chosen.recommended
    return row is not first and row.score is not None and not chosen.search.is_tied(row)


def race_tasks(task: Task, language: str, names: tuple[str, ...]) -> TaskSet:
    """The tasks of these names; without names those of ours that speak for `task`. Raises
    Misuse.
    """
    tasks = named_tasks(names or (OURS,), language)
    if names or task not in KINDS:
        return tasks
    items = tuple(item for item in tasks.items if item.domain in KINDS[task])
    return TaskSet(
        names=tasks.names, language=language, items=items, digest=f"{tasks.digest} {task}"
    )


def would_help(task: Task, items: tuple[Item, ...]) -> str | None:
    """The name of tasks of which more are to be had for a task; None: of none."""
    has_them = any(item.domain == HUMANEVAL for item in items)
    return HUMANEVAL if task == "code" and not has_them else None
