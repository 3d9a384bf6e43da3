"""Sensitivities from probes: how much KLD one unit of a tensor's error costs.

The model of one probe P: KLD = Σ over its tensors t of a_t e_t, times log-normal noise. The log
sensitivities are jointly normal with the prior's mean and covariance, so that what one tensor shows
tells something about its relatives. A sum of log-normals is no log-normal, but its first two
moments are known (Fenton and Wilkinson): they give mean and variance of log KLD, which depends on
each log a_t by that tensor's share of the damage. With shares held fixed, the update is that of a
linear normal model; the update is repeated with the new shares until they stand still. Nothing is
sampled, and the covariance of all tensors, which may be singular, is never inverted: only a matrix
with a row per probe is.

A KLD that is not above its own standard error counts as that standard error with a wide spread: the
tensor matters little, nobody knows how little. Sources: L. F. Fenton, IRE Trans. Commun. Syst. 8
(1960); García-Fernández et al., IEEE Trans. Signal Process. 63 (2015), on posterior linearization.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from hakaru.quantization.prior import Prior

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
ROUNDS: Final = 30
STILL: Final = 1e-6
"""The update ends after ROUNDS, or when no log sensitivity moves further than STILL."""
TINY: Final = 1e-30
NONLINEARITY: Final = 0.1
"""Standard deviation of log KLD around proportionality: a tensor with twice the error of another
type does not do exactly twice the damage.
"""
WIDEST: Final = 6.0
"""Largest variance of a logarithm that is exponentiated: beyond that variance the moments of a
log-normal say nothing.
"""


class Reading(Struct, frozen=True, kw_only=True):
    """What one probe or run measured."""

    types: Mapping[str, str]  # of the tensors that were disturbed
    kld: float  # mean, in nats per token
    standard_error: float = 0.0  # in nats per token

    def log(self) -> tuple[float, float]:
        """log KLD and its variance; a KLD below its standard error counts as that."""
        value = max(self.kld, self.standard_error, TINY)
        return float(np.log(value)), float(np.log1p((self.standard_error / value) ** 2))


class Sensitivities(Struct, frozen=True, kw_only=True, eq=False):
    """The log sensitivities of a model's n tensors, which are jointly normal."""

    names: tuple[str, ...]
    log_mean: Vector  # (n)
    log_cov: Matrix  # (n, n)

    def expected(self) -> dict[str, float]:
        """The mean sensitivity of every tensor, which the allocation weighs: of two equal medians
        the more uncertain one has the larger mean.
        """
        spread = np.minimum(np.diag(self.log_cov), WIDEST)
        return dict(zip(self.names, np.exp(self.log_mean + spread / 2).tolist(), strict=True))


class DamageMoments(Struct, frozen=True, kw_only=True, eq=False):
    """log S, the damage, of m recipes for n tensors."""

    mean: Vector  # (m)
    cov: Matrix  # (m, m)
    shares: Matrix  # (m, n): each tensor's share of each recipe's damage


def prior_sensitivities(names: Sequence[str], prior: Prior) -> Sensitivities:
    """What the prior says of a model's tensors before any probe."""
    mean, cov = prior.moments(tuple(names))
    return Sensitivities(names=tuple(names), log_mean=mean, log_cov=cov)


def with_readings(
    before: Sensitivities,
    readings: Sequence[Reading],
    errors: Mapping[str, Mapping[str, float]],
    *,
    spread: float = NONLINEARITY,
) -> Sensitivities:
    """The sensitivities `before`, updated by all `readings` at once.

    `errors` is tensor -> type -> error. `spread` is the standard deviation of log KLD around
    KLD = Σ a e.
    """
    if not readings:
        return before
    logs = [reading.log() for reading in readings]
    log_klds = np.array([log_kld for log_kld, _ in logs])
    noise = np.array([variance for _, variance in logs]) + spread**2
    disturbed = error_matrix(before.names, [reading.types for reading in readings], errors)
    now = before
    for _ in range(ROUNDS):
        damage = damage_moments(now, disturbed)
        linear = ((damage.shares @ now.log_cov) * damage.shares).sum(axis=1)
        curved = np.maximum(np.diag(damage.cov) - linear, 0)
        gain = before.log_cov @ damage.shares.T
        system = damage.shares @ gain + np.diag(noise + curved)
        surprise = log_klds - damage.mean - damage.shares @ (before.log_mean - now.log_mean)
        mean = before.log_mean + gain @ np.linalg.solve(system, surprise)
        cov = before.log_cov - gain @ np.linalg.solve(system, gain.T)
        moved = float(np.abs(mean - now.log_mean).max())
        now = Sensitivities(names=before.names, log_mean=mean, log_cov=(cov + cov.T) / 2)
        if moved < STILL:
            break
    return now


def error_matrix(
    names: Sequence[str],
    recipes: Sequence[Mapping[str, str]],
    errors: Mapping[str, Mapping[str, float]],
) -> Matrix:
    """The error of every tensor in every recipe (m, n); 0 for a tensor that the recipe does not
    name.
    """
    return np.array(
        [
            [errors[name][recipe[name]] if name in recipe else 0.0 for name in names]
            for recipe in recipes
        ]
    )


def damage_moments(sensitivities: Sensitivities, disturbed: Matrix) -> DamageMoments:
    """Fenton and Wilkinson's moments of log Σ a e for every row of errors."""
    cov = np.clip(sensitivities.log_cov, -WIDEST, WIDEST)
    parts = np.maximum(disturbed, 0) * np.exp(sensitivities.log_mean + np.diag(cov) / 2)
    total = np.maximum(parts.sum(axis=1), TINY)
    shares = parts / total[:, None]
    spread = np.log(np.maximum(1 + shares @ np.expm1(cov) @ shares.T, TINY))
    return DamageMoments(mean=np.log(total) - np.diag(spread) / 2, cov=spread, shares=shares)
