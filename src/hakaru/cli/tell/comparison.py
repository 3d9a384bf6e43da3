"""What `hakaru test` tells of several models: a table, and a sentence for each two and each thing
that was compared.
"""

from collections.abc import Sequence
from itertools import combinations

from hakaru.cli.output import print_table, print_text, with_interval
from hakaru.cli.tell.tasks import doubts, right_in, unended
from hakaru.cli.words import CONTENDED, contention, speed_in, verdict_word
from hakaru.evaluation.comparison import Comparison, Measured, kld_ratio, rate_ratio, rates_of
from hakaru.evaluation.grading import Pairs, pair
from hakaru.evaluation.tiers import Tier
from hakaru.language import say
from hakaru.units import Figure, format_bytes


def print_comparison(comparison: Comparison) -> None:
    """The comparison as text on stdout."""
    models = comparison.measured
    print_table(*_table(models, comparison.tier))
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


def _table(models: Sequence[Measured], tier: Tier) -> tuple[list[str], list[list[str]]]:
    """The head, and a row for each model: a column for all that was asked for."""
    has_quality, has_speed, has_tasks = (
        any(m.quality for m in models),
        any(m.trial for m in models),
        any(m.graded for m in models),
    )
    head = [say("model"), say("weights"), say("bits")]
    head += [say("mean KLD"), say("top-1")] if has_quality else []
    head += [say("memory"), say("tokens/s"), say("prefill")] if has_speed else []
    head += [say("tasks")] if has_tasks else []
    head += [say("tier {tier}", tier=tier.name)] if has_quality else []
    rows = []
    for measured in models:
        row = [
            measured.model.path.name,
            format_bytes(measured.model.weights_bytes),
            f"{measured.model.bpw:.2f}",
        ]
        if measured.quality:
            row += [
                with_interval(measured.quality.kld_mean, ".5f"),
                f"{measured.quality.top1_agreement.value:.1%}",
            ]
        if measured.trial:
            prefill = with_interval(measured.trial.speed.prefill_tokens_per_s, ".0f")
            row += [
                format_bytes(measured.trial.memory.total_bytes),
                speed_in(measured.trial.speed),
                prefill,
            ]
        row += [right_in(measured.graded)] if has_tasks else []
        row += [verdict_word(measured.judgement)] if measured.judgement else []
        rows.append(row)
    return head, rows


def _loss_sentence(ratio: Figure | None, less: str, names: dict[str, str]) -> str:
    if ratio is None and less != "cannot tell":
        return say(
            "{first} loses nothing, {second} does.",
            first=names[less],
            second=names["second" if less == "first" else "first"],
        )
    if ratio is None:
        return say("Neither {first} nor {second} loses anything.", **names)
    fields = {"ratio": ratio.value, "low": ratio.lowest, "high": ratio.highest, **names}
    if less == "cannot tell":
        return say(
            "{first} and {second}: cannot tell their losses apart ({ratio:.2f} "
            "[{low:.2f}…{high:.2f}]).",
            **fields,
        )
    return say("{first} loses {ratio:.2f} [{low:.2f}…{high:.2f}] of what {second} loses.", **fields)


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
