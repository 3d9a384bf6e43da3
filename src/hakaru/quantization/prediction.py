"""The link between damage and KLD, and the KLD of a recipe that nobody has built yet, with its interval.

KLD = c S^g, where S = Σ a e is the damage of the recipe: g is near 1 as long as errors add up, and above where a model
breaks. A few runs of whole recipes (one type everywhere) give c and g. In logarithms the link is a line,

    log KLD = log c + g log S + misfit + noise,

and the doubt in the sensitivities makes log S uncertain, in the same way for recipes that hurt the same tensors. So runs
and a new recipe are jointly normal: the posterior of the line, the shared doubt and the misfit follow from one linear
system. The misfit's spread is unknown, too: it is summed over a grid by the likelihood of the runs, which gives intervals
their tails. Nothing is sampled. Source: Rasmussen and Williams, Gaussian Processes for Machine Learning (2006), 2.7 and 5.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hakaru.quantization.sensitivity import DamageMoments, Reading, Sensitivities, Vector, damage_moments, error_matrix
from hakaru.units import Figure

Errors = Mapping[str, Mapping[str, float]]
LINE_MEAN: Final = (0.0, 1.0)
LINE_SPREAD: Final = (0.7, 0.2)
"""log c and g before any run: errors add up, more or less."""
MISFITS: Final = np.geomspace(0.01, 0.6, 25)
USUAL_MISFIT: Final = 0.08
MISFIT_SPREAD: Final = 0.8
ROUNDS: Final = 4


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Link:
    """The link of one model: the sensitivities, the runs that it was fitted to, and c and g at their posterior mean."""

    known: Sensitivities
    errors: Errors
    runs: tuple[Reading, ...]
    c: float
    g: float
    misfit: float

    def predict(self, types: Mapping[str, str], *, standard_error: float = 0.0) -> Figure:
        """The KLD of a recipe in nats per token: median and 95 % interval of its true value, or of a measurement with this
        relative standard error.
        """
        weights, means, variances = _predicted(self.known, self.errors, self.runs, types, self.g)
        spreads = np.sqrt(variances + standard_error**2)
        low, middle, high = (_quantile(q, weights, means, spreads) for q in (0.025, 0.5, 0.975))
        return Figure(value=middle, unit="nats/token", source="computed", low=low, high=high)

    def damage_for(self, kld: float) -> float:
        """The damage S whose predicted KLD is `kld`: the limit that an allocation to a target needs."""
        return float((kld / self.c) ** (1 / self.g))


def fit_link(known: Sensitivities, errors: Errors, runs: Sequence[Reading]) -> Link:
    """The link from runs of whole recipes, best of one type everywhere and of five to eight types.

    Without runs c is 1 and g is 1 with wide intervals.
    """
    g = LINE_MEAN[1]
    misfit, line = USUAL_MISFIT, np.array(LINE_MEAN)
    for _ in range(ROUNDS if runs else 0):
        damage = damage_moments(known, error_matrix(known.names, [run.types for run in runs], errors))
        weights, lines = _lines(damage, runs, g)
        line = weights @ lines
        misfit, g = float(weights @ MISFITS), float(line[1])
    return Link(known=known, errors=errors, runs=tuple(runs), c=float(np.exp(line[0])), g=g, misfit=misfit)


def _lines(damage: DamageMoments, runs: Sequence[Reading], g: float) -> tuple[Vector, npt.NDArray[np.float64]]:
    """For each spread of the misfit: its weight, and the line's posterior mean (k, 2)."""
    design, seen, noise = _observed(damage, runs)
    spread = np.diag(np.square(LINE_SPREAD))
    likelihood, lines = [], []
    for misfit in MISFITS:
        cov = design @ spread @ design.T + g**2 * damage.cov + np.diag(noise + misfit**2)
        surprise = seen - design @ LINE_MEAN
        solved = np.linalg.solve(cov, surprise)
        likelihood.append(-0.5 * (surprise @ solved + np.linalg.slogdet(cov)[1]))
        lines.append(np.array(LINE_MEAN) + spread @ design.T @ solved)
    return _weights(likelihood), np.stack(lines)


def _predicted(
    known: Sensitivities, errors: Errors, runs: Sequence[Reading], types: Mapping[str, str], g: float
) -> tuple[Vector, Vector, Vector]:
    """For each spread of the misfit: its weight, and mean and variance of the recipe's log KLD."""
    damage = damage_moments(known, error_matrix(known.names, [types, *(run.types for run in runs)], errors))
    design = np.column_stack([np.ones(len(runs) + 1), damage.mean])
    spread = np.diag(np.square(LINE_SPREAD))
    joint = design @ spread @ design.T + g**2 * damage.cov
    prior = design @ LINE_MEAN
    logs = [run.log() for run in runs]
    noise, surprise = np.array([v for _, v in logs]), np.array([y for y, _ in logs]) - prior[1:]
    likelihood, means, variances = [], [], []
    for misfit in MISFITS:
        seen = joint[1:, 1:] + np.diag(noise + misfit**2)
        weight = np.linalg.solve(seen, joint[1:, 0]) if runs else np.zeros(0)
        means.append(prior[0] + weight @ surprise)
        variances.append(max(joint[0, 0] - weight @ joint[1:, 0], 0.0) + misfit**2)
        solved = np.linalg.solve(seen, surprise) if runs else surprise
        likelihood.append(-0.5 * (surprise @ solved + np.linalg.slogdet(seen)[1]) if runs else 0.0)
    return _weights(likelihood), np.array(means), np.array(variances)


def _observed(damage: DamageMoments, runs: Sequence[Reading]) -> tuple[npt.NDArray[np.float64], Vector, Vector]:
    logs = [run.log() for run in runs]
    design = np.column_stack([np.ones(len(runs)), damage.mean])
    return design, np.array([y for y, _ in logs]), np.array([v for _, v in logs])


def _weights(likelihood: Sequence[float]) -> Vector:
    """The posterior of the misfit's spread on its grid, whose prior is log-normal."""
    log = np.asarray(likelihood) - 0.5 * (np.log(MISFITS / USUAL_MISFIT) / MISFIT_SPREAD) ** 2
    weights = np.exp(log - log.max())
    return np.asarray(weights / weights.sum())


def _quantile(q: float, weights: Vector, means: Vector, spreads: Vector) -> float:
    """The quantile of a mixture of log-normals, by bisection."""
    from scipy.special import ndtr

    low, high = float((means - 10 * spreads).min()), float((means + 10 * spreads).max())
    for _ in range(80):
        middle = (low + high) / 2
        if float(weights @ ndtr((middle - means) / spreads)) < q:
            low = middle
        else:
            high = middle
    return float(np.exp(high))
