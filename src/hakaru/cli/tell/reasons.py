"""Why each level is in or out, with the figure that decided beside the bound or the rival.

The evidence has the rule's own short reasons (`choosing/rule.py`). Here a person reads the figures
as well, and levels that are out for the same reason share a line:

    Q4_K_M (0.0665), Q4_K_S (0.0826): more loss than the tier balanced allows (0.03)
"""

from typing import NamedTuple

from hakaru.choosing.candidate import Candidate
from hakaru.choosing.decision import Decision
from hakaru.choosing.rule import as_fast
from hakaru.choosing.smaller_cache import is_slow
from hakaru.evaluation.texts import kind_of_text
from hakaru.evaluation.tiers import Quality, Tier
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE
from hakaru.planning.speed_figures import SAME_SPEED
from hakaru.units import Figure


class Reason(NamedTuple):
    """Why one level is not taken."""

    sentence: str  # the same for all levels that are out for the same reason
    figure: str = ""  # of this level; empty where the sentence says all


def reasons(decision: Decision) -> list[str]:
    """A line for each reason, with the levels that it is true of."""
    lines: dict[str, list[str]] = {}
    for candidate in decision.candidates:
        if candidate is not decision.chosen:
            reason = _reason(candidate, decision)
            beside = candidate.name
            if reason.figure:
                beside = say("{name} ({figure})", name=beside, figure=reason.figure)
            lines.setdefault(reason.sentence.rstrip("."), []).append(beside)
    return [
        say("{names}: {reason}.", names=say(", ").join(names), reason=sentence)
        for sentence, names in lines.items()
    ]


def _reason(candidate: Candidate, decision: Decision) -> Reason:
    tier, judgement = decision.constraints.tier, candidate.judgement
    if candidate.fits and candidate.beaten_by:
        rival = _rival(candidate, decision)
        return _beside(candidate, rival) if rival else Reason(candidate.why)
    if candidate.fits and judgement and candidate.quality and not candidate.untouched:
        if judgement.broken:
            return _broken(candidate.quality, judgement.broken, tier)
        if judgement.verdict == "inconclusive":
            return _open(candidate.quality, tier) or Reason(candidate.why)
    if candidate.fits and candidate.predicted and candidate.is_hopeless(tier):
        return Reason(
            say("predicted to lose more than the tier {tier} allows ({bound:g})", **_named(tier)),
            _range(candidate.predicted, ".2f"),
        )
    if candidate.fits and is_slow(candidate):
        return _slow_cache(candidate, decision) or Reason(candidate.why)
    if candidate.passes and decision.chosen:
        return _beside(candidate, decision.chosen)
    wanted = decision.constraints.min_tokens_per_s
    if wanted and candidate.speed and candidate.speed.decode_tokens_per_s.lowest < wanted:
        return Reason(candidate.why, _range(candidate.speed.decode_tokens_per_s, ".1f"))
    if candidate.untouched and not candidate.passes and not candidate.tasks:
        return Reason(candidate.why, _range(candidate.untouched.kld_mean, ".4f"))
    return Reason(candidate.why)


def why_taken(decision: Decision, chosen: Candidate) -> str:
    """What made `chosen` win, with the speeds where speed decided."""
    passing = [c for c in decision.candidates if c.passes and c.speed]
    if len(passing) < 2:
        return say("every other level is out for the reason above")
    if chosen.speed is None:
        return decision.why
    fastest = max(passing, key=_decode)
    ours, theirs = chosen.speed.decode_tokens_per_s, _speed(fastest)
    if chosen.key == fastest.key:
        return say(
            "the fastest of the {n} that meet every wish, {speed:.1f} tokens/s",
            n=len(passing),
            speed=ours.value,
        )
    return say(
        "as fast as {other} within {margin:.0%} ({ours:.1f} against {theirs:.1f} tokens/s), and "
        "smaller",
        other=fastest.name,
        margin=SAME_SPEED,
        ours=ours.value,
        theirs=theirs.value,
    )


def _decode(candidate: Candidate) -> float:
    return _speed(candidate).value


def _speed(candidate: Candidate) -> Figure:
    assert candidate.speed
    return candidate.speed.decode_tokens_per_s


def _rival(candidate: Candidate, decision: Decision) -> Candidate | None:
    """The level that wins against `candidate` whatever is read later."""
    named = [c for c in decision.candidates if c.type == candidate.beaten_by and c.speed]
    return min(named, key=lambda c: c.cache != F16_CACHE, default=None)


def _beside(candidate: Candidate, rival: Candidate) -> Reason:
    """Why the rule prefers `rival`: it is faster, or as fast and smaller."""
    if not (candidate.speed and rival.speed):
        return Reason(candidate.why)
    ours, theirs = candidate.speed.decode_tokens_per_s, rival.speed.decode_tokens_per_s
    if not as_fast(candidate, rival):
        return Reason(
            say("slower than {other} ({speed:.1f} tokens/s)", other=rival.name, speed=theirs.value),
            f"{ours.value:.1f}",
        )
    if not as_fast(rival, candidate) or candidate.total_bytes < rival.total_bytes:
        return Reason(candidate.why)
    return Reason(
        say(
            "as fast as {other} ({speed:.1f} tokens/s) within {margin:.0%}, and larger",
            other=rival.name,
            speed=theirs.value,
            margin=SAME_SPEED,
        ),
        f"{ours.value:.1f}",
    )


def _broken(quality: Quality, broken: str, tier: Tier) -> Reason:
    name, _, domain = broken.partition(", ")
    fields = _named(tier) | {"kind": kind_of_text(domain) if domain else ""}
    match name:
        case "kld_mean" if domain and domain in quality.domains:
            sentence = say("more loss on {kind} than the tier {tier} allows ({bound:g})", **fields)
            return Reason(sentence, _value(quality.domains[domain], ".4f"))
        case "kld_mean":
            sentence = say("more loss than the tier {tier} allows ({bound:g})", **fields)
            return Reason(sentence, _value(quality.kld_mean, ".4f"))
        case "top1_agreement":
            sentence = say(
                "top-1 too rarely the same, the tier {tier} asks for {top1:g}%", **fields
            )
            return Reason(sentence, _percent(quality.top1_agreement))
        case _:
            sentence = say("perplexity rises above {ratio:g} times", **fields)
            return Reason(sentence, _range(quality.perplexity_ratio, ".3f"))


def _open(quality: Quality, tier: Tier) -> Reason | None:
    """Which bound lies inside the interval of a level that is not proven; None if none does."""
    kld, top1 = quality.kld_mean, quality.top1_agreement
    if kld.highest > tier.kld_mean:
        return Reason(
            say(
                "not proven on this text: the tier {tier} allows a loss of {bound:g}",
                **_named(tier),
            ),
            _range(kld, ".4f"),
        )
    if top1.lowest < tier.top1_agreement:
        return Reason(
            say(
                "not proven on this text: the tier {tier} asks for top-1 {top1:g}%", **_named(tier)
            ),
            _percent(top1),
        )
    return None


def _slow_cache(candidate: Candidate, decision: Decision) -> Reason | None:
    """What the smaller KV cache does more slowly at an empty context; None if nothing."""
    usual = next(
        (
            c.speed
            for c in decision.candidates
            if c.type == candidate.type and c.cache == F16_CACHE and c.speed
        ),
        None,
    )
    if usual is None or candidate.speed is None:
        return None
    ours, theirs = candidate.speed.prefill_tokens_per_s, usual.prefill_tokens_per_s
    if ours.highest >= theirs.lowest:
        return None
    return Reason(
        say(
            "slower at reading a prompt of {n} tokens than with the usual KV cache: {ours:.0f} "
            "against {theirs:.0f} tokens/s",
            n=candidate.speed.n_prompt,
            ours=ours.value,
            theirs=theirs.value,
        )
    )


def _named(tier: Tier) -> dict[str, object]:
    return {
        "tier": tier.name,
        "bound": tier.kld_mean,
        "top1": 100 * tier.top1_agreement,
        "ratio": tier.perplexity_ratio or 0.0,
    }


def _value(figure: Figure, style: str) -> str:
    return f"{figure.value:{style}}"


def _range(figure: Figure, style: str) -> str:
    """The interval, or the value where there is none. Example: `52.1…61.2`."""
    low, high = f"{figure.lowest:{style}}", f"{figure.highest:{style}}"
    return low if low == high else f"{low}…{high}"


def _percent(figure: Figure) -> str:
    low, high = f"{100 * figure.lowest:.1f}", f"{100 * figure.highest:.1f}"
    return f"{low}%" if low == high else f"{low}…{high}%"
