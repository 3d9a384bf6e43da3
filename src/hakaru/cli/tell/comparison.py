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
    """Tell it as text."""
    found = comparison.measured
    print_table(*_table(found, comparison.tier))
    for sentence in contention(each.trial.speed for each in found if each.trial):
        print_text(sentence)
    for sentence in [
        sentence for each in found for sentence in unended(each.graded, each.model.path.name)
    ]:
        print_text(sentence)
    for told in doubts(*(each.graded for each in found)):
        print_text(told)
    for a, b in combinations(found, 2):
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
    if not any(each.quality or each.graded for each in found):
        print_text(
            say(
                "Quality was not compared: name a --reference of the same vocabulary, or ask for "
                "--tasks."
            )
        )


def _table(found: Sequence[Measured], tier: Tier) -> tuple[list[str], list[list[str]]]:
    """The head, and a row for each model: a column for all that was asked for."""
    has_quality, has_speed, has_tasks = (
        any(e.quality for e in found),
        any(e.trial for e in found),
        any(e.graded for e in found),
    )
    head = [say("model"), say("weights"), say("bits")]
    head += [say("mean KLD"), say("top-1")] if has_quality else []
    head += [say("memory"), say("tokens/s"), say("prefill")] if has_speed else []
    head += [say("tasks")] if has_tasks else []
    head += [say("tier {tier}", tier=tier.name)] if has_quality else []
    rows = []
    for each in found:
        row = [
            each.model.path.name,
            format_bytes(each.model.weights_bytes),
            f"{each.model.bpw:.2f}",
        ]
        if each.quality:
            row += [
                with_interval(each.quality.kld_mean, ".5f"),
                f"{each.quality.top1_agreement.value:.1%}",
            ]
        if each.trial:
            prefill = with_interval(each.trial.speed.prefill_tokens_per_s, ".0f")
            row += [
                format_bytes(each.trial.memory.total_bytes),
                speed_in(each.trial.speed),
                prefill,
            ]
        row += [right_in(each.graded)] if has_tasks else []
        row += [verdict_word(each.judgement)] if each.judgement else []
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
    told = {"ratio": ratio.value, "low": ratio.lowest, "high": ratio.highest, **names}
    if less == "cannot tell":
        return say(
            "{first} and {second}: cannot tell their losses apart ({ratio:.2f} "
            "[{low:.2f}…{high:.2f}]).",
            **told,
        )
    return say("{first} loses {ratio:.2f} [{low:.2f}…{high:.2f}] of what {second} loses.", **told)


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


def _tasks_sentence(found: Pairs, names: dict[str, str]) -> str:
    told = {"lost": found.lost, "won": found.won, "p": found.p, **names}
    if found.verdict == "cannot tell":
        return say(
            "Tasks: {second} lost {lost} and won {won} against {first}: cannot tell them apart (p "
            "= {p:.2g}; {percent:.1%} of the tasks would have been seen).",
            percent=found.detectable,
            **told,
        )
    return say("Tasks: {second} lost {lost} and won {won} against {first} (p = {p:.2g}).", **told)
