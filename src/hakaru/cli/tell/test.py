"""What `hakaru test` found of one model, told as text and as a report."""

from math import sqrt

from hakaru.cli.next_steps import after_test
from hakaru.cli.output import next_step, print_text, show_table
from hakaru.cli.table import Cell, Column, Table
from hakaru.cli.tell.tasks import print_tasks
from hakaru.cli.words import CONTENDED, cells, contention, left_out_sentence, verdict_sentence
from hakaru.evaluation.findings import Findings
from hakaru.evaluation.losses import Tested
from hakaru.evaluation.texts import kind_of_text
from hakaru.evaluation.tiers import Quality, Tier
from hakaru.language import say
from hakaru.models.model import Model
from hakaru.pictures.report import Report
from hakaru.quantization.source import source_kind
from hakaru.units import alike


def title(candidate: Model, original: Model | None) -> str:
    """The heading of reports and pages."""
    if original is None:
        return candidate.path.name
    return say(
        "{model} against {reference}", model=candidate.path.name, reference=original.path.name
    )


def report_of(findings: Findings) -> Report:
    """The findings as a report."""
    table = findings_table(findings)
    return Report(
        title=title(findings.model, findings.original),
        sentences=[_verdict(findings), *_further(findings)],
        head=table.head(), table=table.full(), quality=findings.quality,
        rows=findings.tested.rows if findings.tested else (), tier=findings.tier,
        speed=findings.trial.speed if findings.trial else None, points=findings.points,
    )  # fmt: skip


def tell(findings: Findings) -> None:
    """Tell it as text."""
    if findings.original and (warning := source_kind(findings.original).sentence()):
        print_text(warning)
    if (table := findings_table(findings)).rows:
        show_table(table)
    for sentence in _further(findings):
        print_text(sentence)
    if trial := findings.trial:
        print_text(
            say(
                "Speed for a prompt of {n_prompt} tokens and an answer of {n_predict}, the "
                "median of {repeats} runs through the server.",
                n_prompt=trial.speed.n_prompt,
                n_predict=trial.speed.n_predict,
                repeats=trial.speed.repeats,
            )
        )
        buffers, peak = alike(trial.memory.total_bytes, trial.peak_rss_bytes or 0)
        print_text(
            say(
                "Memory: {buffers} in the engine's buffers; its process peaked at {peak}.",
                buffers=buffers,
                peak=peak if trial.peak_rss_bytes else "?",
            )
        )
    print_text(_verdict(findings))
    if findings.graded:
        print_tasks(findings.graded, findings.theirs)
    next_step(after_test(findings))


def _verdict(findings: Findings) -> str:
    """What was proven of the tier, or that nothing was judged."""
    if findings.tested:
        return verdict_sentence(findings.tested, findings.tier)
    return say(
        "No --reference was named, so nothing was compared: what the model lost is not known, "
        "and no tier was judged."
    )


def findings_table(findings: Findings) -> Table:
    """The table: figure, value, interval, bound."""
    tier = findings.tier.name
    bound = Cell(say("tier {tier}", tier=tier), tier) if findings.tested else ""
    columns = [
        Column(say("figure"), left=True, shortens=(2,)),
        Column(say("value")),
        Column(say("95% interval"), goes=3),
        Column(bound, shortens=(1,)),
    ]
    return Table(columns, _rows(findings))


def _rows(findings: Findings) -> list[list[str | Cell]]:
    rows = _loss_rows(findings.quality, findings.tier) if findings.quality else []
    trial = findings.trial
    if trial:
        mark = CONTENDED if trial.speed.is_contended else ""
        rows += [
            [say("decode, tokens/s"), *cells(trial.speed.decode_tokens_per_s, ".1f"), mark],
            [say("prefill, tokens/s"), *cells(trial.speed.prefill_tokens_per_s, ".1f"), mark],
            [say("first token, ms"), *cells(trial.speed.first_token_ms, ".0f"), mark],
        ]
        if trial.speed.energy_j:
            rows.append(
                [say("energy for one answer, J"), *cells(trial.speed.energy_j, ".1f"), mark]
            )
    for point in findings.points:
        what = (
            say("  decode behind {n:,} tokens", n=point.depth)
            if point.depth
            else say("  decode, users together: {n}", n=point.users)
        )
        rows.append(
            [
                what,
                *cells(point.decode_tokens_per_s, ".1f"),
                CONTENDED if point.is_contended else "",
            ]
        )
    return rows


def _loss_rows(lost: Quality, tier: Tier) -> list[list[str | Cell]]:
    ratio_bound = f"≤ {tier.perplexity_ratio:g}" if tier.perplexity_ratio else "-"
    rows: list[list[str | Cell]] = [
        [say("mean KLD"), *cells(lost.kld_mean, ".5f"), f"≤ {tier.kld_mean:g}"],
        [
            say("top-1 agreement"),
            *cells(lost.top1_agreement, ".2%"),
            f"≥ {tier.top1_agreement:.1%}",
        ],
        [say("perplexity ratio"), *cells(lost.perplexity_ratio, ".4f"), ratio_bound],
    ]
    if lost.kld_p99:
        worst = Cell(say("KLD of the worst token in 100"), say("KLD, worst in 100"))
        rows.insert(1, [worst, *cells(lost.kld_p99, ".4f"), ""])
    for domain, figure in lost.domains.items():
        rows.append(
            [
                "  " + say("{figure}, {kind}", figure="KLD", kind=kind_of_text(domain)),
                *cells(figure, ".5f"),
                "",
            ]
        )
    return rows


def loss_sentences(tested: Tested) -> list[str]:
    """How much was read, and what the figures mean."""
    lost = tested.quality
    if not lost.n_tokens:
        return [say("The reference is this same file: nothing is lost, by definition.")]
    read = say(
        "{tokens} tokens in {windows} of {available} windows.",
        tokens=f"{lost.n_tokens:,}",
        windows=lost.n_windows,
        available=len(tested.domains),
    )
    unread = [domain for domain in dict.fromkeys(tested.domains) if domain not in lost.domains]
    missed = [
        say(
            "Of these kinds of text nothing was read before that: {kinds}.",
            kinds=say(", ").join(map(kind_of_text, unread)),
        )
    ]
    return [read, *(missed if unread else []), _in_plain_words(lost)]


def _further(findings: Findings) -> list[str]:
    """What was read and what it means, the noise floor, what was timed beside other work, and what
    was not timed.
    """
    sentences = loss_sentences(findings.tested) if findings.tested else []
    if findings.floor:
        sentences.append(
            say(
                "Noise floor: the reference differs from itself by {kld} when its batches are "
                "split differently.",
                kld=f"{findings.floor.value:.2g}",
            )
        )
    sentences += contention([findings.trial.speed, *findings.points] if findings.trial else [])
    return sentences + [
        left_out_sentence(left, findings.settings, findings.model) for left in findings.left_out
    ]


def _in_plain_words(lost: Quality) -> str:
    """Two theorems about the mean KLD: Pinsker's inequality, and that divergences of successive
    tokens add up.
    """
    kld = max(lost.kld_mean.highest, 1e-12)
    return say(
        "In plain words: at most {percent:.1%} of the next tokens would be drawn differently, and "
        "it takes at least {n:,} tokens until the two texts are one nat apart.",
        percent=min(1.0, sqrt(kld / 2)),
        n=round(1 / kld),
    )
