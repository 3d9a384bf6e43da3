"""What windows of text prove of a tier, whoever looks however often.

Passing takes that every bound is known to hold for all text together, failing that one is known to
break, for all text together or, for KLD, for one kind of text. Each answer is wrong in at most 5 %
of all cases: several bounds are several chances to fail wrongly, so each of them gets its part of
the 5 %. A kind of text that loses more than the bound by what was read so far holds passing back
while there is more to read; of a few windows nothing can be proven, so in the end it is named
(`suspects`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from hakaru.evaluation.sequences import (
    ERROR_RATE,
    LEAST_SPREAD,
    RATE_SPREAD,
    Losses,
    verdicts_below,
)
from hakaru.evaluation.tiers import TIERS, Tier, Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the windows that were read prove of a tier."""

    verdict: Verdict
    broken: str | None = None
    """The figure that is known to break its bound: `top1_agreement`, or `kld_mean, code` for one
    kind of text.
    """
    suspects: tuple[str, ...] = ()
    """The kinds of text whose own mean KLD was measured above the bound, proven or not."""


@dataclass(frozen=True, slots=True)
class Claim:
    """That Σ losses / Σ tokens lies below a bound; arrays of one entry per window."""

    name: str
    losses: Losses
    tokens: Losses
    bound: float
    least_spread: float = LEAST_SPREAD

    @property
    def is_above(self) -> bool:
        """Whether the mean of what was read lies above the bound."""
        return bool(self.losses.sum() > self.bound * self.tokens.sum())

    def answers(self, error_rate: float) -> npt.NDArray[np.int8]:
        return verdicts_below(
            self.losses,
            self.tokens,
            self.bound,
            error_rate=error_rate,
            least_spread=self.least_spread,
        )


def judge(sums: Sequence[Mapping[str, Any]], domains: Sequence[str], tier: Tier) -> Judgement:
    """What the windows read so far prove of the tier; `sums` as from `Lab.compare`, `domains` one
    for each window, or more.
    """
    if not sums:
        return Judgement("inconclusive")
    whole = claims(sums, tier)
    kinds = [
        _of_domain(whole[0], np.array([d == domain for d in domains[: len(sums)]]), domain)
        for domain in dict.fromkeys(domains)
    ]
    suspects = tuple(
        domain for domain, kind in zip(dict.fromkeys(domains), kinds, strict=True) if kind.is_above
    )
    every = [*whole, *kinds]
    for claim in every:
        if (claim.answers(ERROR_RATE / len(every)) == -1).any():
            return Judgement("fail", broken=claim.name, suspects=suspects)
    proven = all((claim.answers(ERROR_RATE) == 1).any() for claim in whole)
    return Judgement(
        "pass" if proven and not (suspects and len(sums) < len(domains)) else "inconclusive",
        suspects=suspects,
    )


def best_tier(sums: Sequence[Mapping[str, Any]], domains: Sequence[str]) -> str | None:
    """The strictest tier that is known to hold, or None."""
    return next(
        (name for name, tier in TIERS.items() if judge(sums, domains, tier).verdict == "pass"), None
    )


def claims(sums: Sequence[Mapping[str, Any]], tier: Tier) -> list[Claim]:
    keys = ("n", "kld", "agreed", "nll_candidate", "nll_reference")
    n, kld, agreed, nll_candidate, nll_reference = (
        np.array([r[key] for r in sums], dtype=np.float64) for key in keys
    )
    claims = [
        Claim("kld_mean", kld, n, tier.kld_mean),
        Claim("top1_agreement", n - agreed, n, 1 - tier.top1_agreement, RATE_SPREAD),
    ]
    if tier.perplexity_ratio is not None:
        claims.append(
            Claim(
                "perplexity_ratio",
                nll_candidate - nll_reference,
                n,
                float(np.log(tier.perplexity_ratio)),
            )
        )
    return claims


def _of_domain(kld: Claim, taken: npt.NDArray[np.bool_], domain: str) -> Claim:
    return Claim(f"{kld.name}, {domain}", kld.losses[taken], kld.tokens[taken], kld.bound)
