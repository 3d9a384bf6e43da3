"""By which factor a recipe's loss may grow, or has to shrink, to keep a tier.

A tier passes when confidence sequences over the test windows lie below its bounds; so a mean at the
bound itself never passes. The factor is judged from a few other windows.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from hakaru.evaluation.judgement import Claim, claims
from hakaru.evaluation.sequences import half_widths
from hakaru.evaluation.tiers import Tier

SCALES: Final = np.geomspace(4, 1 / 16, 121)
"""Factors on the mean KLD, the largest first."""
DOUBT: Final = 1.0
"""By how many standard errors the few windows are taken to look too good."""


def room_in_tier(sums: Sequence[Mapping[str, Any]], tier: Tier, n_test: int) -> float:
    """The largest factor on the mean KLD with which the tier would still be proven on `n_test`
    windows like these, within SCALES.
    """
    keeps = np.all([_would_hold(claim, n_test) for claim in claims(sums, tier)], axis=0)
    return float(SCALES[int(np.argmax(keeps))]) if keeps.any() else float(SCALES[-1])


def _would_hold(claim: Claim, n_test: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """For each of SCALES whether the claim would be proven with the mean KLD times that scale. How
    often another token is drawn grows with the root of the KLD (Pinsker), and so does the noise of
    the perplexity.
    """
    n = len(claim.losses)
    share = claim.tokens / claim.tokens.mean()
    mean = float(claim.losses.sum() / claim.tokens.sum())
    spread = (
        float(np.std(claim.losses / claim.tokens.mean() - mean * share, ddof=1))
        if n > 1
        else claim.bound
    )
    root = np.sqrt(SCALES)
    means = mean * (root if claim.name == "top1_agreement" else SCALES)
    spreads = spread * (SCALES if claim.name == "kld_mean" else root)
    width = float(half_widths(np.array([n_test]))[0])
    high = (
        means
        + DOUBT * spreads / np.sqrt(n)
        + width * np.maximum(spreads, claim.least_spread * claim.bound)
    )
    return np.asarray(high <= claim.bound)
