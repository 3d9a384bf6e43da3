"""What windows of text prove of a tier, however often the test looks.

A model passes when every bound of the tier is known to hold for all text together. It fails when
one bound is known to break, for all text together or, for KLD, for one kind of text. Each verdict
is wrong in at most 5% of all cases. Several bounds are several chances to fail wrongly, so each
bound gets its part of the 5%.

A kind of text whose mean KLD lies above the bound so far is a suspect. A suspect holds passing back
while there is more to read. A few windows of one kind may prove nothing, so suspects that are left
at the end are named with the verdict.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from hakaru.evaluation.sequences import (
    ERROR_RATE,
    LEAST_SPREAD,
    RATE_SPREAD,
    Losses,
    verdicts_below,
)
from hakaru.evaluation.tiers import TIERS, Tier, Verdict


class Judgement(Struct, frozen=True):
    """What the windows that were read prove of a tier."""

    verdict: Verdict
    broken: str | None = None
    """The figure that is known to break its bound, such as `top1_agreement`, or `kld_mean, code`
    for one kind of text.
    """
    suspects: tuple[str, ...] = ()  # kinds of text with a mean KLD above the bound, proven or not


class Claim(Struct, frozen=True):
    """The claim that Σ losses / Σ tokens lies below a bound."""

    name: str  # as in `Judgement.broken`
    losses: Losses  # one entry per window
    tokens: Losses  # one entry per window
    bound: float
    least_spread: float = LEAST_SPREAD  # of a window's loss, in units of the bound

    @property
    def is_above(self) -> bool:
        """Whether the loss per token that was measured lies above the bound."""
        return bool(self.losses.sum() > self.bound * self.tokens.sum())

    def verdicts(self, error_rate: float) -> npt.NDArray[np.int8]:
        """After each window: 1 proven, -1 refuted, 0 not known yet."""
        return verdicts_below(
            self.losses,
            self.tokens,
            self.bound,
            error_rate=error_rate,
            least_spread=self.least_spread,
        )


def judge(sums: Sequence[Mapping[str, Any]], domains: Sequence[str], tier: Tier) -> Judgement:
    """What the windows read so far prove of the tier.

    `sums` are those of `Lab.compare`, one entry per window that was read. `domains` are the kinds
    of text of all windows, also of the unread.
    """
    if not sums:
        return Judgement("inconclusive")
    whole, read = claims(sums, tier), np.array(domains[: len(sums)])
    by_kind = {
        domain: _of_domain(whole[0], read == domain, domain) for domain in dict.fromkeys(domains)
    }
    suspects = tuple(domain for domain, kld in by_kind.items() if kld.is_above)
    every = [*whole, *by_kind.values()]
    for claim in every:
        if (claim.verdicts(ERROR_RATE / len(every)) == -1).any():
            return Judgement("fail", broken=claim.name, suspects=suspects)
    passes = all((claim.verdicts(ERROR_RATE) == 1).any() for claim in whole)
    if suspects and len(sums) < len(domains):
        passes = False
    return Judgement("pass" if passes else "inconclusive", suspects=suspects)


def best_tier(sums: Sequence[Mapping[str, Any]], domains: Sequence[str]) -> str | None:
    """The strictest tier that is known to hold, or None."""
    return next(
        (name for name, tier in TIERS.items() if judge(sums, domains, tier).verdict == "pass"), None
    )


def claims(sums: Sequence[Mapping[str, Any]], tier: Tier) -> list[Claim]:
    """One claim for each bound of the tier, that of `kld_mean` first, for all text together."""
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


def _of_domain(kld: Claim, is_of: npt.NDArray[np.bool_], domain: str) -> Claim:
    """The claim `kld` for the windows of one kind of text."""
    return Claim(f"{kld.name}, {domain}", kld.losses[is_of], kld.tokens[is_of], kld.bound)
