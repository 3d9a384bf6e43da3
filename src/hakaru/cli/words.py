"""Cells and sentences that several commands say in the same words."""

from collections.abc import Iterable
from functools import reduce
from typing import Final

from hakaru.choosing.rule import figure_name
from hakaru.cli.output import interval_cell
from hakaru.cli.table import Cell
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.losses import Tested
from hakaru.evaluation.speed import LONGEST_PREFILL_S, LeftOut, Point, Speed
from hakaru.evaluation.texts import kind_of_text
from hakaru.evaluation.tiers import Tier
from hakaru.hardware.busy import MOST_GPU, Others
from hakaru.language import say, together
from hakaru.memory.settings import CELL_PADDING, MAX_CONTEXT, ContextSettings
from hakaru.models.model import Model
from hakaru.units import Figure

TIMES: Final = 2.0
"""From this ratio on a loss is told as so many times another, since "150% more" is misread."""
CONTENDED: Final = "‡"
"""The mark of a speed beside which other programs computed."""


def cells(figure: Figure, style: str) -> list[str]:
    """Value and interval as two table cells."""
    interval = (
        f"{figure.low:{style}} … {figure.high:{style}}"
        if figure.low is not None and figure.high is not None
        else "-"
    )
    return [f"{figure.value:{style}}", interval]


def speed_cell(speed: Speed) -> Cell:
    """Decoded tokens per second, with their interval where there is room."""
    mark = CONTENDED if speed.is_contended else ""
    return interval_cell(speed.decode_tokens_per_s, ".1f", mark=mark)


def change(ratio: Figure) -> str:
    """A ratio of two losses in words, with its interval: `61% [55…66] less` for 0.39 [0.34…0.45],
    `20% [4…38] more` for 1.20, `2.5 [2.1…3.0] times as much` from 2 on. An interval that holds 1
    is told by its ends: `5% less to 10% more`.
    """
    low, high = ratio.lowest, ratio.highest
    if low < 1 < high:
        return say("{low} to {high}", low=_change(low), high=_change(high))
    if ratio.value >= TIMES:
        return say(
            "{n:.1f} [{low:.1f}…{high:.1f}] times as much", n=ratio.value, low=low, high=high
        )
    ends = sorted(100 * abs(1 - end) for end in (low, high))
    n = 100 * abs(1 - ratio.value)
    digits = 1 if ends[0] < 10 else 0
    parts = {"n": f"{n:.{digits}f}", "ends": "…".join(f"{end:.{digits}f}" for end in ends)}
    if ratio.value < 1:
        return say("{n}% [{ends}] less", **parts)
    return say("{n}% [{ends}] more", **parts)


def _change(ratio: float) -> str:
    percent = f"{100 * abs(1 - ratio):.0f}"
    return say("{n}% less", n=percent) if ratio < 1 else say("{n}% more", n=percent)


def contention(loads: Iterable[Speed | Point]) -> list[str]:
    """The sentence for speeds beside which other programs computed; empty where there are none."""
    others = reduce(Others.or_worse, (load.others for load in loads if load.is_contended), Others())
    return [beside_others(others)] if others.matter else []


def beside_others(others: Others) -> str:
    """The sentence for what other programs kept busy."""
    if (others.gpu or 0.0) > MOST_GPU:
        return say(
            "{mark} Others kept {n:.1f} processors and {gpu:.0%} of a GPU busy meanwhile: these "
            "speeds say little, and are not remembered. Close what computes and run it again.",
            mark=CONTENDED,
            n=others.processors,
            gpu=others.gpu,
        )
    return say(
        "{mark} Others kept {n:.1f} processors busy meanwhile: these speeds say little, and are "
        "not remembered. Close what computes and run it again.",
        mark=CONTENDED,
        n=others.processors,
    )


def left_out_sentence(left: LeftOut, settings: ContextSettings, model: Model) -> str:
    """Which depth was not timed, why, and what to do about it."""
    if left.reason == "prefill":
        return say(
            "The depth of {depth:,} tokens was left out: its prompt would take more than "
            "{seconds:g} s to read here.",
            depth=left.depth,
            seconds=LONGEST_PREFILL_S,
        )
    trained = model.shape.n_ctx_train or MAX_CONTEXT
    if trained < left.n_ctx:
        return say(
            "The depth of {depth:,} tokens was left out: with its answer it needs a context of "
            "{needed:,} tokens, and the model was trained for {trained:,}.",
            depth=left.depth,
            needed=left.n_ctx,
            trained=trained,
        )
    enough = min(-(-left.n_ctx // CELL_PADDING) * CELL_PADDING, trained) * settings.n_parallel
    return say(
        "The depth of {depth:,} tokens was left out: the context holds {n_ctx:,} tokens "
        "(--context {enough}).",
        depth=left.depth,
        n_ctx=settings.n_ctx // settings.n_parallel,
        enough=enough,
    )


def verdict_sentence(tested: Tested, tier: Tier) -> str:
    """What was proven of the tier, and which kinds of text alone seem to break it."""
    sentences = [
        say("Tier {tier}: {verdict}.", tier=tier.name, verdict=_word(tested)),
        *suspicion(tested.judgement),
    ]
    return together(sentences)


def suspicion(judgement: Judgement) -> list[str]:
    """The sentence for kinds of text that, read alone, lost more than the tier allows; empty where
    there are none.
    """
    if not judgement.suspects or judgement.verdict == "fail":
        return []
    kinds = say(", ").join(kind_of_text(domain) for domain in judgement.suspects)
    return [
        say(
            "On its own this kind of text lost more than the tier allows, which is not proven: "
            "{kinds}.",
            kinds=kinds,
        )
    ]


def _word(tested: Tested) -> str:
    """The verdict on a tier, and what would decide an open one."""
    judgement = tested.judgement
    if judgement.verdict == "inconclusive":
        if tested.quality.n_windows < len(tested.domains):
            return say("cannot tell within the time (--budget)")
        return say(
            "cannot tell after all {n} windows; test on more text (--text)", n=len(tested.domains)
        )
    return verdict_word(judgement)


def verdict_word(judgement: Judgement) -> str:
    """A verdict in a word or two."""
    if judgement.broken:
        return say("failed ({figure})", figure=figure_name(judgement.broken))
    return {"pass": say("passed"), "inconclusive": say("cannot tell"), "fail": say("failed")}[
        judgement.verdict
    ]
