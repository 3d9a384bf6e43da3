"""The rule that decides. Pure.

Constraints first: a candidate fits, the quality's bounds hold with their intervals, and it is fast
enough. Of the candidates that pass, the fastest is taken; of equally fast ones the smallest. Two
speeds whose intervals overlap count as equal, so that noise does not decide.
"""

from collections.abc import Sequence
from dataclasses import replace

from hakaru.choosing.candidate import SOURCE, Candidate, Constraints
from hakaru.evaluation.texts import kind_of_text
from hakaru.language import say
from hakaru.units import Figure, compared


def objection(candidate: Candidate, constraints: Constraints) -> str | None:
    """The first constraint that `candidate` breaks, in words; None if none is known to break."""
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
    """The candidate with its verdict: whether it passes, and why. A finalist keeps its own."""
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
    """The best of the candidates that pass and were measured; None if there is none.

    That is the fastest; of those as fast as the fastest, the smallest; then the one of least loss.
    """
    return next(iter(ranked([c for c in candidates if c.passes and c.quality])), None)


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that were timed, in the order in which the rule would take them if all passed."""
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
    """Whether `candidate`, if both were timed, decodes as fast as `other` as far as the intervals
    tell.
    """
    return (
        bool(candidate.speed and other.speed)
        and _decode(candidate).highest >= _decode(other).lowest
    )


def beaten_by(candidate: Candidate, others: Sequence[Candidate]) -> Candidate | None:
    """A rival that wins against `candidate` by the rule of `choose`, whatever is read later.

    The rival passed. Whichever candidate that may still pass turns out to be the fastest:
    `candidate` is slower than the fastest beyond the intervals, or both `candidate` and the rival
    are as fast as the fastest and the rival is smaller. None while no such rival is known.
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
        "as fast as the fastest ({other}; the intervals overlap), and smaller", other=fastest.name
    )


def _decode(candidate: Candidate) -> Figure:
    assert candidate.speed
    return candidate.speed.decode_tokens_per_s
