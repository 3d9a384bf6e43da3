"""What is told of the answers to tasks."""

from collections.abc import Sequence
from typing import Final

from hakaru.cli.output import interval_cell, print_text, show_table
from hakaru.cli.table import Cell, Column, Table
from hakaru.evaluation.grading import Graded, Pairs, accuracy, by_domain, never_right, pair
from hakaru.evaluation.sandbox import why_no_sandbox
from hakaru.evaluation.schemas import MATCH_SECONDS
from hakaru.language import listed, say

NAMED: Final = 5
"""Tasks that a sentence names at most."""


def print_tasks(graded: Sequence[Graded], reference: Sequence[Graded]) -> None:
    """A row per domain, and the comparison in one sentence."""
    show_table(tasks_table(graded, reference))
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


def tasks_table(graded: Sequence[Graded], reference: Sequence[Graded]) -> Table:
    """A row per domain, and one for all."""
    columns = [
        Column(say("tasks"), left=True),
        Column(say("number")),
        Column(say("right"), shortens=(2,)),
        Column(say("reference"), shortens=(1,)),
    ]
    theirs = by_domain(reference)
    rows = list[list[str | Cell]]()
    for name, some in {**by_domain(graded), say("all tasks"): list(graded)}.items():
        other = theirs.get(name, list(reference))
        rows.append([name_of(name), str(len(some)), right_cell(some), right_cell(other)])
    return Table(columns, rows)


def name_of(domain: str) -> str:
    """The name of a domain of our tasks for people; JSON keeps the domain, and a person's own has
    the name that the person gave it.
    """
    names = {
        "extraction": say("extraction"), "classification": say("classification"),
        "instructions": say("instructions"), "arithmetic": say("arithmetic"), "code": say("code"),
        "passage": say("passage"), "tools": say("tools"),
    }  # fmt: skip
    return names.get(domain, domain)


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


def never_right_sentence(*models: Sequence[Graded]) -> str | None:
    """That no model got them right, and what that may mean; None where there is none."""
    ids = [item.id for item in never_right(*models)]
    return (
        say(
            "{n} of your own tasks were answered right by no model ({ids}); it may be their "
            "checks that are wrong.",
            n=len(ids),
            ids=_named(ids),
        )
        if ids
        else None
    )


def unproven_sentence(*models: Sequence[Graded]) -> str | None:
    """How a person finds out whether such a check can pass at all; None where all of them can."""
    ids = [item.id for item in never_right(*models) if not item.is_proven]
    return (
        say(
            "Nothing shows that any answer can pass the checks of {ids}: write an 'example' "
            "beside each, an answer that should pass; hakaru tries it when it reads the file.",
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
    return listed([*distinct[:NAMED], *(["…"] if len(distinct) > NAMED else [])])


def right_cell(graded: Sequence[Graded]) -> Cell:
    """The share of right answers, with its interval where there is room."""
    part = accuracy(graded)
    return interval_cell(part, ".0%") if part else Cell("-")


def pairs_sentence(pairs: Pairs) -> str:
    """What was lost and won against the reference."""
    if pairs.verdict == "cannot tell":
        return say(
            "Tasks: {lost} lost and {won} won against the reference: cannot tell them apart (p = "
            "{p:.2g}; {percent:.1%} of the tasks would have been seen).",
            lost=pairs.lost,
            won=pairs.won,
            p=pairs.p,
            percent=pairs.detectable,
        )
    if pairs.verdict == "worse":
        return say(
            "Tasks: {lost} lost and {won} won against the reference: worse (p = {p:.2g}).",
            lost=pairs.lost,
            won=pairs.won,
            p=pairs.p,
        )
    return say(
        "Tasks: {lost} lost and {won} won against the reference: better (p = {p:.2g}).",
        lost=pairs.lost,
        won=pairs.won,
        p=pairs.p,
    )
