"""The rule that decides. Pure.

Constraints first: it fits, the quality's bounds hold with their intervals, it is fast enough. Among those that pass the
fastest, then the smallest. Two speeds whose intervals overlap count as equal, so that noise does not decide.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.speed import Speed
from hakaru.evaluation.tasks import Pairs, TaskSet
from hakaru.evaluation.texts import kind_of_text
from hakaru.evaluation.tiers import Quality, Tier, Verdict
from hakaru.language import say
from hakaru.memory.settings import F16_CACHE, Cache
from hakaru.units import Figure, compared

SOURCE: Final = "source"
"""The type of the candidate that is the source itself."""
Key = tuple[str, Cache]
"""What tells candidates apart: the type of the weights, and the KV cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """What a person asks of the result. Memory of None means: what is free. `tasks`: at which it must not be worse than the source."""

    tier: Tier
    min_tokens_per_s: float | None
    memory_bytes: int | None = None
    tasks: TaskSet | None = None

    def as_json(self) -> dict[str, object]:
        """The constraints as they stand in the evidence."""
        return {
            "quality": self.tier.name, "min_speed": self.min_tokens_per_s, "memory_bytes": self.memory_bytes,
            "tasks": list(self.tasks.names) if self.tasks else [], "language": self.tasks.language if self.tasks else None,
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One way to run the model. What was not measured is None, and `why` says why. `predicted` is the mean KLD before it was read, as
    other levels foretold it; `types` are those of a mix by tensor, `sha256` is the file's; `judgement` is what the windows of `quality` prove of the tier; `beaten_by` names who wins against it whatever else is read; `untouched` is the quality on texts that played no part in the choice, of those that were nearly taken.
    """

    type: str
    weights_bytes: int
    bpw: float
    total_bytes: int
    fits: bool
    cache: Cache = F16_CACHE
    predicted: Figure | None = None
    quality: Quality | None = None
    judgement: Judgement | None = None
    speed: Speed | None = None
    untouched: Quality | None = None
    tasks: Pairs | None = None
    beaten_by: str | None = None
    passes: bool = False
    why: str = ""
    path: Path | None = None
    sha256: str | None = None
    types: Mapping[str, str] | None = None

    @property
    def key(self) -> Key:
        """What tells it from other candidates."""
        return self.type, self.cache

    @property
    def name(self) -> str:
        """Its name for people."""
        name = say("source") if self.type == SOURCE else self.type
        return name if self.cache == F16_CACHE else say("{type}, KV cache {cache}", type=name, cache=self.cache[0])

    @property
    def n_read(self) -> int:
        """Windows that it was read on."""
        return self.quality.n_windows if self.quality else 0

    @property
    def verdict(self) -> Verdict | None:
        """What is known of the tier."""
        return self.judgement.verdict if self.judgement else None

    def is_hopeless(self, tier: Tier) -> bool:
        """Whether it was not read, because it is predicted to break `tier`."""
        return self.quality is None and self.predicted is not None and self.predicted.lowest > tier.kld_mean

    def as_json(self) -> dict[str, object]:
        """The candidate as it stands in `hakaru.decision/1`."""
        return {
            "type": self.type, "path": str(self.path) if self.path else None, "sha256": self.sha256,
            "tensor_types": dict(self.types) if self.types else None, "bytes": self.weights_bytes, "bpw": self.bpw,
            "total_bytes": self.total_bytes, "cache_type_k": self.cache[0], "cache_type_v": self.cache[1],
            "predicted_kld": _json(self.predicted),
            "kld_mean": _json(self.quality.kld_mean if self.quality else None),
            "top1_agreement": _json(self.quality.top1_agreement if self.quality else None),
            "n_windows": self.quality.n_windows if self.quality else None, "verdict": self.verdict,
            "broken": self.judgement.broken if self.judgement else None,
            "suspects": list(self.judgement.suspects) if self.judgement else [],
            "perplexity_ratio": _json(self.quality.perplexity_ratio if self.quality else None),
            "untouched": self.untouched.as_json() if self.untouched else None,
            "tasks": self.tasks.as_json() if self.tasks else None,
            "decode_tokens_per_s": _json(self.speed.decode_tokens_per_s if self.speed else None),
            "prefill_tokens_per_s": _json(self.speed.prefill_tokens_per_s if self.speed else None),
            "first_token_ms": _json(self.speed.first_token_ms if self.speed else None),
            "contended": self.speed.is_contended if self.speed else None,
            "fits": self.fits, "passes": self.passes, "why": self.why,
        }  # fmt: skip


def objection(candidate: Candidate, constraints: Constraints) -> str | None:
    """The first constraint that `candidate` breaks, in words; None if it passes all that was measured."""
    if not candidate.fits:
        needed, free = compared(candidate.total_bytes, constraints.memory_bytes or 0)
        return say("needs {needed}, but {free} may be used", needed=needed, free=free)
    if candidate.beaten_by:
        return say("cannot win: {other} keeps the tier, and is as fast and smaller or faster",
                   other=say("source") if candidate.beaten_by == SOURCE else candidate.beaten_by)  # fmt: skip
    if candidate.judgement and candidate.judgement.broken:
        return say("{figure} breaks the bound of {bound:g} of the tier {tier}", figure=figure_name(candidate.judgement.broken),
                   bound=constraints.tier.bound(candidate.judgement.broken), tier=constraints.tier.name)  # fmt: skip
    if candidate.verdict == "inconclusive":
        return say("its interval crosses a bound of the tier {tier}: not proven", tier=constraints.tier.name)
    wanted = constraints.min_tokens_per_s
    if wanted is not None and candidate.speed and candidate.speed.decode_tokens_per_s.lowest < wanted:
        return say("slower than the {wanted} tokens/s asked for", wanted=f"{wanted:g}")
    return None


def figure_name(name: str) -> str:
    """The name of a figure that has a bound, in words, with the kind of text where it is of one kind."""
    figure, _, domain = name.partition(", ")
    spoken = {"kld_mean": say("mean KLD"), "top1_agreement": say("top-1 agreement"), "perplexity_ratio": say("perplexity ratio")}[
        figure
    ]
    return say("{figure}, {kind}", figure=spoken, kind=kind_of_text(domain)) if domain else spoken


def choose(candidates: Sequence[Candidate]) -> Candidate | None:
    """The best of those that pass and were measured: the fastest; of those as fast as it, the smallest; then the least
    loss.
    """
    return next(iter(ranked([c for c in candidates if c.passes and c.quality])), None)


def ranked(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those that were timed, in the order in which the rule would take them if all passed."""
    left, order = [c for c in candidates if c.speed], list[Candidate]()
    while left:
        fastest = max(left, key=lambda c: _decode(c).value)
        best = min(
            (c for c in left if as_fast(c, fastest)), key=lambda c: (c.total_bytes, c.quality.kld_mean.value if c.quality else 0.0)
        )
        order.append(best)
        left = [c for c in left if c is not best]
    return order


def as_fast(candidate: Candidate, other: Candidate) -> bool:
    """Whether `candidate`, if both were timed, decodes as fast as `other` as far as the intervals tell."""
    return bool(candidate.speed and other.speed) and _decode(candidate).highest >= _decode(other).lowest


def beaten_by(candidate: Candidate, others: Sequence[Candidate]) -> Candidate | None:
    """Who of `others`, all timed, wins against `candidate` whatever its quality turns out to be, by the rule of `choose`; None while
    that is open.

    One that passes, and of which this holds whoever of those that may still pass turns out the fastest: `candidate` is slower than the fastest
    beyond the intervals, or both are as fast as it and the other is smaller.
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
            return say("the others break a constraint, or cannot win: they are slower, or as fast and larger")
        return say("the only one that meets every constraint")
    fastest = max(passing, key=lambda c: _decode(c).value)
    if chosen.key == fastest.key:
        return say("the fastest of the {n} that meet every constraint", n=len(passing))
    return say("as fast as the fastest ({other}; the intervals overlap), and smaller", other=fastest.name)


def _decode(candidate: Candidate) -> Figure:
    assert candidate.speed
    return candidate.speed.decode_tokens_per_s


def _json(figure: Figure | None) -> dict[str, object] | None:
    return figure.as_json() if figure else None
