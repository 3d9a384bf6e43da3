"""How a person goes on after a decision: the command that serves what was chosen, or where nothing
was chosen, the command that asks for what a level can do.
"""

from math import floor
from typing import Final

from msgspec import Struct

from hakaru.choosing.candidate import Candidate
from hakaru.choosing.decision import Decision
from hakaru.choosing.replay import Replay
from hakaru.cli.next_steps import Options, again
from hakaru.cli.paste import pasted
from hakaru.evaluation.tiers import TIERS, Quality, Tier
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE

_CACHE_OPTIONS: Final = ("--cache-type-k", "--cache-type-v")


class WayOut(Struct, frozen=True):
    """What to ask for instead, and the level that can do it."""

    sentence: str
    changes: Options


def way_out(decision: Decision) -> WayOut | None:
    """What to ask for where nothing was chosen: less speed if a level keeps the tier, else the
    strictest tier that a level seems to keep. None where no level was measured that would do.
    """
    tier, wanted = decision.constraints.tier, decision.constraints.min_tokens_per_s
    able = [c for c in decision.candidates if c.fits and c.quality and c.speed]
    if wanted:
        proven = [c for c in able if c.verdict == "pass" and not c.tasks]
        if proven:
            best = max(proven, key=_slowest)
            rate = max(floor(10 * _slowest(best)) / 10, 0.1)
            return WayOut(
                say(
                    "{type} keeps the tier and writes at least {rate:g} tokens/s here.",
                    type=best.name,
                    rate=rate,
                ),
                {"--min-speed": f"{rate:g}"},
            )
    names = list(TIERS)
    for looser in (TIERS[name] for name in names[names.index(tier.name) + 1 :]):
        keeping = [
            c for c in decision.candidates if c.fits and c.quality and _keeps(c.quality, looser)
        ]
        if keeping:
            best = min(keeping, key=lambda c: c.total_bytes)
            assert best.quality
            return WayOut(
                say(
                    "{type} loses {kld:.4f}, and the tier {tier} allows {bound:g}: at most one "
                    "word in {n} comes out differently.",
                    type=best.name,
                    kld=best.quality.kld_mean.value,
                    tier=looser.name,
                    bound=looser.kld_mean,
                    n=looser.one_word_in,
                ),
                {"--quality": looser.name},
            )
    return None


def next_command(decision: Decision) -> str | None:
    """The command to paste next, after `up` or `tune`; None where there is none to name."""
    if decision.path is not None:
        return again(
            verb="serve",
            model=decision.path,
            without=_CACHE_OPTIONS,
            changes=_cache_options(decision),
        )
    way = way_out(decision)
    return again(without={"--again", "--plot", "--report"}, changes=way.changes) if way else None


def after_replay(replayed: Replay) -> str:
    """What was chosen is served, with the context of the evidence; a decision that does not hold
    is made anew.
    """
    decision = replayed.decision
    if decision.path is None or not replayed.holds:
        tier = ("--quality", decision.constraints.tier.name)
        return pasted("hakaru", "tune", decision.model.path, *tier)
    options = {"--context": str(decision.served.n_ctx), **_cache_options(decision)}
    return again(verb="serve", model=decision.path, changes=options)


def _cache_options(decision: Decision) -> Options:
    """The KV cache of what was chosen; nothing for the usual one."""
    cache = decision.served.cache
    return dict(zip(_CACHE_OPTIONS, cache, strict=True)) if cache != F16_CACHE else {}


def _slowest(candidate: Candidate) -> float:
    assert candidate.speed
    return candidate.speed.decode_tokens_per_s.lowest


def _keeps(quality: Quality, tier: Tier) -> bool:
    """Whether what was read lies within the bounds of `tier` with the whole interval."""
    ratio = tier.perplexity_ratio
    return (
        quality.kld_mean.highest <= tier.kld_mean
        and quality.top1_agreement.lowest >= tier.top1_agreement
        and (ratio is None or quality.perplexity_ratio.highest <= ratio)
    )
