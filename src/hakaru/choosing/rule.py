"""The rule that decides. Pure.

Constraints first: a candidate passes if it fits, keeps the bounds of the tier with their intervals,
and is fast enough. Of the candidates that pass, the fastest is taken; of those that are as fast
within a tenth, the smallest: nobody feels a tenth, and repeated measurements differ by as much.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from hakaru.choosing.candidate import SOURCE, Candidate, Constraints
from hakaru.evaluation.texts import kind_of_text
from hakaru.language import say
from hakaru.planning.speed_figures import SAME_SPEED
from hakaru.units import Figure, compared


def objection(candidate: Candidate, constraints: Constraints) -> str | None:
    """Why `candidate` does not pass: the first constraint that it breaks, or may break, in words.
    None if it may be chosen.
    """
    if not candidate.fits:
        needed, free = compared(candidate.total_bytes, constraints.memory_bytes or 0)
        return say("needs {needed}, but {free} may be used", needed=needed, free=free)
    if candidate.beaten_by:
        return say(
            "cannot win: {other} keeps the tier, and is as fast and smaller or faster",
            other=say("source") if candidate.beaten_by == SOURCE else candidate.beaten_by,
        )
    if candidate.judgement and candidate.judgement.broken:
        return say(
            "{figure} breaks the bound of {bound:g} of the tier {tier}",
            figure=figure_name(candidate.judgement.broken),
            bound=constraints.tier.bound(candidate.judgement.broken),
            tier=constraints.tier.name,
        )
    if candidate.verdict == "inconclusive":
        return say(
            "its interval crosses a bound of the tier {tier}: not proven",
            tier=constraints.tier.name,
        )
    if candidate.why_untimed:
        return candidate.why_untimed
    wanted = constraints.min_tokens_per_s
    if (
        wanted is not None
        and candidate.speed
        and candidate.speed.decode_tokens_per_s.lowest < wanted
    ):
        return say("slower than the {wanted} tokens/s asked for", wanted=f"{wanted:g}")
    return None


def assessed(candidate: Candidate, constraints: Constraints) -> Candidate:
    """The candidate with `passes` and `why`. A finalist, and a candidate that was dropped before it
    was read, keep theirs.
    """
    if candidate.untouched or (candidate.why and candidate.quality is None):
        return candidate
    reason = objection(candidate, constraints)
    passes = reason is None and candidate.speed is not None
    return replace(candidate, passes=passes, why=reason or say("meets every constraint"))


def figure_name(name: str) -> str:
    """A figure with a bound in words. Example: `kld_mean, code` -> mean KLD, code."""
    figure, _, domain = name.partition(", ")
    spoken = {
        "kld_mean": say("mean KLD"),
        "top1_agreement": say("top-1 agreement"),
        "perplexity_ratio": say("perplexity ratio"),
    }[figure]
    return say("{figure}, {kind}", figure=spoken, kind=kind_of_text(domain)) if domain else spoken


def choose(candidates: Sequence[Candidate]) -> Candidate | None:
    """The best of the candidates that pass and were measured; None if there is none."""
    return next(iter(ranked([c for c in candidates if c.passes and c.quality])), None)


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that were timed, in the order in which the rule would take them if all passed.

    The first is the fastest; of candidates as fast as the fastest, the smallest; of equally small
    ones, the one of least loss.
    """
    left, order = [c for c in candidates if c.speed], list[Candidate]()
    while left:
        fastest = max(left, key=lambda c: _decode(c).value)
        best = min(
            (c for c in left if as_fast(c, fastest)),
            key=lambda c: (c.total_bytes, c.quality.kld_mean.value if c.quality else 0.0),
        )
        order.append(best)
        left = [c for c in left if c is not best]
    return order


def as_fast(candidate: Candidate, other: Candidate) -> bool:
    """Whether `candidate` decodes as fast as `other` or faster, within SAME_SPEED; False if one of
    them was not timed.
    """
    return (
        bool(candidate.speed and other.speed)
        and _decode(candidate).value >= (1 - SAME_SPEED) * _decode(other).value
    )


def beaten_by(candidate: Candidate, others: Sequence[Candidate]) -> Candidate | None:
    """A rival that wins against `candidate` by the rule of `choose`, whatever is read later.

    The rival passed, and the rule prefers it to `candidate`, whichever candidate turns out to be
    the fastest of those that pass. That is: `candidate` is slower than that fastest one, or the
    rival is as fast as the fastest one and smaller than `candidate`. None while there is no such
    rival.
    """
    if candidate.speed is None:
        return None
    alive = [c for c in (*others, candidate) if c.speed and c.verdict != "fail"]
    for other in others:
        if other is candidate or other.speed is None or other.verdict != "pass":
            continue
        possible = [c for c in alive if _decode(c).value >= _decode(other).value]
        is_smaller = other.total_bytes < candidate.total_bytes
        if all(not as_fast(candidate, c) or (is_smaller and as_fast(other, c)) for c in possible):
            return other
    return None


def why_chosen(chosen: Candidate, candidates: Sequence[Candidate]) -> str:
    """One sentence: what made `chosen` win."""
    passing = [c for c in candidates if c.passes]
    if len(passing) == 1:
        if any(c.beaten_by for c in candidates):
            return say(
                "the others break a constraint, or cannot win: they are slower, or as fast and "
                "larger"
            )
        return say("the only one that meets every constraint")
    fastest = max(passing, key=lambda c: _decode(c).value)
    if chosen.key == fastest.key:
        return say("the fastest of the {n} that meet every constraint", n=len(passing))
    return say(
        "as fast as the fastest ({other}) within {margin:.0%}, and smaller",
        other=fastest.name,
        margin=SAME_SPEED,
    )


def _decode(candidate: Candidate) -> Figure:
    assert candidate.speed
    return candidate.speed.decode_tokens_per_s
