"""What `hakaru test` tells of several models: a table, and a sentence for each two and each thing
that was compared.
"""

from collections.abc import Sequence
from itertools import combinations

from hakaru.cli.output import interval_cell, print_text, show_table
from hakaru.cli.table import Cell, Column, Table, bytes_cell
from hakaru.cli.tell.tasks import doubts, right_cell, unended
from hakaru.cli.words import CONTENDED, change, contention, speed_cell, verdict_word
from hakaru.evaluation.comparison import Comparison, Measured, kld_ratio, rate_ratio, rates_of
from hakaru.evaluation.grading import Pairs, pair
from hakaru.evaluation.tiers import Tier
from hakaru.language import say
from hakaru.units import Figure, common_unit


def print_comparison(comparison: Comparison) -> None:
    """The comparison as text on stdout."""
    models = comparison.measured
    show_table(comparison_table(models, comparison.tier))
    for sentence in contention(m.trial.speed for m in models if m.trial):
        print_text(sentence)
    for measured in models:
        for sentence in unended(measured.graded, measured.model.path.name):
            print_text(sentence)
    for sentence in doubts(*(measured.graded for measured in models)):
        print_text(sentence)
    for a, b in combinations(models, 2):
        names = {"first": a.model.path.name, "second": b.model.path.name}
        if a.rows and b.rows:
            print_text(_loss_sentence(*kld_ratio(a, b), names))
        if a.trial and b.trial:
            spoken = {"decode": say("Decode"), "prefill": say("Prefill")}
            mark = CONTENDED if a.trial.speed.is_contended or b.trial.speed.is_contended else ""
            for rate, both in rates_of(a.trial, b.trial).items():
                print_text(_speed_sentence(spoken[rate], *rate_ratio(*both), names) + mark)
        if a.graded:
            print_text(_tasks_sentence(pair(a.graded, b.graded), names))
    if not any(m.quality or m.graded for m in models):
        print_text(
            say(
                "Quality was not compared: name a --reference of the same vocabulary, or ask for "
                "--tasks."
            )
        )


def comparison_table(models: Sequence[Measured], tier: Tier) -> Table:
    """A row for each model, and a column for all that was asked for. In a narrow terminal the
    intervals go first, those of speeds before that of the loss; then the figures stand below the
    names, those of speed below those of loss.
    """
    columns = [
        Column(say("model"), left=True),
        Column(say("weights"), below=1, shortens=(5,)),
        Column(say("bits"), below=1),
    ]
    if any(m.quality for m in models):
        columns += [Column(say("mean KLD"), below=1, shortens=(4,)), Column(say("top-1"), below=1)]
    if any(m.trial for m in models):
        columns += [
            Column(say("memory"), below=2, shortens=(5,)),
            Column(say("tokens/s"), below=2, shortens=(3,)),
            Column(say("prefill"), below=2, shortens=(1,)),
        ]
    if has_tasks := any(m.graded for m in models):
        columns += [Column(say("tasks"), below=2, shortens=(2,))]
    if any(m.quality for m in models):
        columns += [
            Column(Cell(say("tier {tier}", tier=tier.name), tier.name), below=1, shortens=(1,))
        ]
    sizes = [m.model.weights_bytes for m in models]
    sizes += [m.trial.memory.total_bytes for m in models if m.trial]
    unit = common_unit(*sizes)
    return Table(columns, [_row(m, unit, has_tasks=has_tasks) for m in models])


def _row(measured: Measured, unit: str, *, has_tasks: bool) -> list[str | Cell]:
    model, quality, trial = measured.model, measured.quality, measured.trial
    weights, bits = bytes_cell(model.weights_bytes, unit), f"{model.bpw:.2f}"
    row: list[str | Cell] = [model.path.name, weights, bits]
    if quality:
        row += [interval_cell(quality.kld_mean, ".5f"), f"{quality.top1_agreement.value:.1%}"]
    if trial:
        row += [
            bytes_cell(trial.memory.total_bytes, unit),
            speed_cell(trial.speed),
            interval_cell(trial.speed.prefill_tokens_per_s, ".0f"),
        ]
    row += [right_cell(measured.graded)] if has_tasks else []
    if measured.judgement:
        verdict = verdict_word(measured.judgement)
        row.append(Cell(verdict, say("failed")) if measured.judgement.broken else verdict)
    return row


def _loss_sentence(ratio: Figure | None, less: str, names: dict[str, str]) -> str:
    if ratio is None and less != "cannot tell":
        return say(
            "{first} loses nothing, {second} does.",
            first=names[less],
            second=names["second" if less == "first" else "first"],
        )
    if ratio is None:
        return say("Neither {first} nor {second} loses anything.", **names)
    if less == "cannot tell":
        return say(
            "{first} and {second}: cannot tell their losses apart (the first loses {change}).",
            change=change(ratio),
            **names,
        )
    return say("{first} against {second}: loses {change}.", change=change(ratio), **names)


def _speed_sentence(rate: str, ratio: Figure, faster: str, names: dict[str, str]) -> str:
    low, high = ratio.lowest, ratio.highest
    if faster == "cannot tell":
        return say(
            "{rate}: {first} and {second}: cannot tell their speeds apart ({ratio:.2f} "
            "[{low:.2f}…{high:.2f}]).",
            rate=rate,
            ratio=ratio.value,
            low=low,
            high=high,
            **names,
        )
    value, low, high = (
        (ratio.value, low, high) if faster == "first" else (1 / ratio.value, 1 / high, 1 / low)
    )
    return say(
        "{rate}: {faster} is {ratio:.2f} [{low:.2f}…{high:.2f}] times as fast as {slower}.",
        rate=rate,
        ratio=value,
        low=low,
        high=high,
        faster=names[faster],
        slower=names["second" if faster == "first" else "first"],
    )


def _tasks_sentence(pairs: Pairs, names: dict[str, str]) -> str:
    fields = {"lost": pairs.lost, "won": pairs.won, "p": pairs.p, **names}
    if pairs.verdict == "cannot tell":
        return say(
            "Tasks: {second} lost {lost} and won {won} against {first}: cannot tell them apart (p "
            "= {p:.2g}; {percent:.1%} of the tasks would have been seen).",
            percent=pairs.detectable,
            **fields,
        )
    return say("Tasks: {second} lost {lost} and won {won} against {first} (p = {p:.2g}).", **fields)
