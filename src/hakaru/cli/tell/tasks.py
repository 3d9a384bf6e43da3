"""What is told of the answers to tasks."""

from collections.abc import Sequence
from typing import Any, Final

from hakaru.cli.output import print_table, print_text, with_interval
from hakaru.evaluation.sandbox import why_no_sandbox
from hakaru.evaluation.schemas import MATCH_SECONDS
from hakaru.evaluation.tasks import Graded, Item, Pairs, accuracy, pair
from hakaru.language import say

NAMED: Final = 5
"""Tasks that a sentence names at most."""


def as_json(graded: Sequence[Graded], reference: Sequence[Graded]) -> dict[str, Any]:
    """The `tasks` object of `hakaru test --json`."""
    return {
        "n": len(graded),
        "unchecked": sum(g.right is None for g in graded),
        "accuracy": _json(graded),
        "domains": {name: _json(some) for name, some in _by_domain(graded).items()},
        "reference_accuracy": _json(reference),
        "paired": pair(reference, graded).as_json() if reference else None,
        "never_right": never_right(graded, reference),
        "empty": sum(g.is_empty for g in graded),
        "cut": sum(g.is_cut for g in graded),
        "items": [g.as_json() for g in graded],
    }


def print_tasks(graded: Sequence[Graded], reference: Sequence[Graded]) -> None:
    """A row per domain, and the comparison in one sentence."""
    theirs = _by_domain(reference)
    rows = []
    for name, some in {**_by_domain(graded), say("all tasks"): list(graded)}.items():
        other = theirs.get(name, list(reference))
        rows.append([name, str(len(some)), right_in(some), right_in(other) if reference else "-"])
    print_table([say("tasks"), say("number"), say("right"), say("reference")], rows)
    if any(g.right is None for g in graded):
        print_text(
            say(
                "{n} tasks run code and were not checked: {reason}.",
                n=sum(g.right is None for g in graded),
                reason=why_no_sandbox(),
            )
        )
    for told in [*unended(graded, say("the model")), *unended(reference, say("reference"))]:
        print_text(told)
    for told in doubts(graded, reference):
        print_text(told)
    if reference:
        print_text(pairs_sentence(pair(reference, graded)))


def unended(graded: Sequence[Graded], name: str) -> list[str]:
    """What to say of a model that says nothing or never stops; empty where it does neither."""
    empty, cut, n = sum(g.is_empty for g in graded), sum(g.is_cut for g in graded), len(graded)
    told = (
        [say("{name}: {n} of {total} answers are empty.", name=name, n=empty, total=n)]
        if empty
        else []
    )
    if cut:
        told.append(
            say(
                "{name}: {n} of {total} answers reached their limit of tokens without an end, "
                "and were checked as they are.",
                name=name,
                n=cut,
                total=n,
            )
        )
    return told


def doubts(*models: Sequence[Graded]) -> list[str]:
    """What to say of checks that may be wrong; empty where there is nothing."""
    told = (timed_out_sentence(*models), never_right_sentence(*models), unproven_sentence(*models))
    return [sentence for sentence in told if sentence]


def never_right(*models: Sequence[Graded]) -> list[str]:
    """The tasks of a person's own that were checked and that no model got right. Each model
    answered the same, or nothing.
    """
    return [item.id for item in _never_right(*models)]


def _never_right(*models: Sequence[Graded]) -> list[Item]:
    answers = zip(*(graded for graded in models if graded), strict=True)
    return [
        some[0].item for some in answers if some[0].item.own and {g.right for g in some} == {False}
    ]


def never_right_sentence(*models: Sequence[Graded]) -> str | None:
    """That no model got them right, and what that may mean; None where there is none."""
    found = never_right(*models)
    return (
        say(
            "{n} of your own tasks were answered right by no model ({ids}); it may be their "
            "checks that are wrong.",
            n=len(found),
            ids=_named(found),
        )
        if found
        else None
    )


def unproven_sentence(*models: Sequence[Graded]) -> str | None:
    """How a person finds out whether such a check can pass at all; None where all of them can."""
    ids = [item.id for item in _never_right(*models) if not item.is_proven]
    return (
        say(
            "Nothing shows that any answer can pass the checks of {ids}: write an 'example' "
            "beside each, "
            "an answer that should pass; hakaru tries it when it reads the file.",
            ids=_named(ids),
        )
        if ids
        else None
    )


def timed_out_sentence(*models: Sequence[Graded]) -> str | None:
    """Which answers are wrong only because their checks took too long; None where there is none."""
    found = [g.item.id for graded in models for g in graded if g.timed_out]
    return (
        say(
            "{n} answers count as wrong because their checks took more than {seconds:g} seconds "
            "({ids}); make their patterns or schemas simpler.",
            n=len(found),
            seconds=MATCH_SECONDS,
            ids=_named(found),
        )
        if found
        else None
    )


def _named(ids: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(ids))
    return ", ".join([*distinct[:NAMED], *(["…"] if len(distinct) > NAMED else [])])


def right_in(graded: Sequence[Graded]) -> str:
    """The share of right answers with its interval in one table cell."""
    found = accuracy(graded)
    return with_interval(found, ".0%") if found else "-"


def _json(graded: Sequence[Graded]) -> dict[str, object] | None:
    found = accuracy(graded)
    return found.as_json() if found else None


def pairs_sentence(found: Pairs) -> str:
    """What was lost and won against the reference."""
    if found.verdict == "cannot tell":
        return say(
            "Tasks: {lost} lost and {won} won against the reference: cannot tell them apart (p = "
            "{p:.2g}; {percent:.1%} of the tasks would have "
            "been seen).",
            lost=found.lost,
            won=found.won,
            p=found.p,
            percent=found.detectable,
        )
    if found.verdict == "worse":
        return say(
            "Tasks: {lost} lost and {won} won against the reference: worse (p = {p:.2g}).",
            lost=found.lost,
            won=found.won,
            p=found.p,
        )
    return say(
        "Tasks: {lost} lost and {won} won against the reference: better (p = {p:.2g}).",
        lost=found.lost,
        won=found.won,
        p=found.p,
    )


def _by_domain(graded: Sequence[Graded]) -> dict[str, list[Graded]]:
    found: dict[str, list[Graded]] = {}
    for each in graded:
        found.setdefault(each.item.domain, []).append(each)
    return found
