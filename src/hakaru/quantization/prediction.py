"""The link between damage and KLD, and the KLD of a recipe that nobody has built yet, with its
interval.

KLD = c S^g, where S = Σ a e is the damage of the recipe: g is near 1 as long as errors add up, and
grows where a model breaks. A few runs of whole recipes (one type everywhere) give c and g, and how
much g grows. In logarithms the link is a line with a slight bend around the middle m of the runs,

    log KLD = log c + g log S + b (log S − m)² + misfit + noise.

Uncertain sensitivities make log S uncertain, in the same way for recipes that hurt the same
tensors. So runs and a new recipe are jointly normal: the posterior of the line, the shared doubt
and the misfit follow from one linear system. The misfit's spread is unknown, too: predictions for a
grid of spreads (MISFITS) are mixed by how likely each spread makes the runs, which gives intervals
their tails. Nothing is sampled.

A model that is quantized already computes with rounded activations. Any change of one tensor,
however small, changes how the activations of all later layers are rounded, and that costs a KLD
which no error of a type explains: the floor. The floor is one more term of S, the same for every
recipe that changes anything, learned from a run that changes next to nothing (`fit_link`).

If a recipe was a run itself, the misfit of that run is known and predicts the recipe, too; only
other text may still differ (OTHER_TEXT). This matters for a mix that a solver chose: the least of
thousands of predictions is too low as a rule. Source: Rasmussen and Williams, Gaussian Processes
for Machine Learning (2006), 2.7 and 5.4.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from hakaru.quantization.sensitivity import (
    DamageMoments,
    Matrix,
    Reading,
    Sensitivities,
    Vector,
    damage_moments,
    error_matrix,
)
from hakaru.units import Figure

Errors = Mapping[str, Mapping[str, float]]
LINE_MEAN: Final = (0.0, 1.0, 0.02)
LINE_SPREAD: Final = (0.7, 0.2, 0.02)
"""Mean and spread of log c, g and b before any run. KLD grows about in proportion to S (g near 1),
and a little faster where a model breaks (b above 0).
"""
LEAST_MISFIT: Final = 0.1
"""The least misfit of a mix of types, as a standard deviation of log KLD, however well the runs of
single types lie on the line: from 90 random mixes of three models (docs/labbook.md).
"""
MISFITS: Final = np.hypot(LEAST_MISFIT, np.geomspace(0.01, 0.6, 25))
"""The grid of possible spreads of the misfit, as standard deviations of log KLD."""
USUAL_MISFIT: Final = 0.13
MISFIT_SPREAD: Final = 0.8
"""The spread of the misfit before any run: log-normal, median USUAL_MISFIT, this spread of its
logarithm.
"""
FLOOR_SPREAD: Final = 0.7
"""Spread of the logarithm of the floor, which is smaller for a tensor with fewer layers behind it.
From 25 single tensors of SmolLM2-135M in Q4_1 (.0011 to .0042) and 18 of a small Llama in Q4_K_M
(docs/labbook.md).
"""
OTHER_TEXT: Final = 0.13
"""How far log KLD on the test windows strays from log KLD on the validation windows, if the
prediction stands on one run: by .23 for all mixes on SmolLM2-135M (effort quick), not at all on a
small Llama in Q4_K_M and in Q8_0 (docs/labbook.md).
"""
BEYOND: Final = 0.35
"""The spread of log KLD that is added for each unit that log S lies below all runs: no run shows
the line there.
"""
ROUNDS: Final = 4
"""How often the misfit and g are fitted in turn."""


class Link(Struct, frozen=True, kw_only=True, eq=False):
    """The link of one model. The figures of the line are those of the posterior mean."""

    sensitivities: Sensitivities
    errors: Errors  # tensor -> type -> relative squared error
    runs: tuple[Reading, ...]  # to which the link was fitted
    c: float
    g: float
    bend: float
    middle: float  # the mean of log S over the runs
    misfit: float  # standard deviation of the runs' log KLD around the line
    floor: float = 0.0  # the damage of any change at all, in units of S; 0: none, or not measured

    def predict(self, types: Mapping[str, str], *, standard_error: float = 0.0) -> Figure:
        """The KLD of a recipe in nats per token: median and 95% interval of its true value, or of
        a measurement with this relative standard error. Exactly 0 for a recipe that copies every
        tensor.
        """
        if not any(self.errors[name][type_] for name, type_ in types.items()):
            return Figure(value=0.0, unit="nats/token", source="computed", low=0.0, high=0.0)
        weights, means, variances = _predicted(self, types)
        spreads = np.sqrt(variances + standard_error**2)
        low, middle, high = (_quantile(q, weights, means, spreads) for q in (0.025, 0.5, 0.975))
        return Figure(value=middle, unit="nats/token", source="computed", low=low, high=high)

    def kld_of(self, damage: float) -> float:
        """The KLD in nats per token of a damage Σ a e by the line, the floor included."""
        if damage <= 0:
            return 0.0
        damage += self.floor
        x = np.log(damage) - self.middle
        return float(self.c * damage**self.g * np.exp(self.bend * x * x))

    def damage_for(self, kld: float) -> float:
        """The damage Σ a e whose predicted KLD is `kld`, the floor included; 0 where the floor
        alone loses more. Where the bent line never reaches `kld`, the straight one counts.
        """
        off = np.log(kld) - np.log(self.c) - self.g * self.middle  # = g x + b x², x = log S − m
        root = self.g**2 + 4 * self.bend * off
        x = 2 * off / (self.g + np.sqrt(root)) if root > 0 else off / self.g
        return max(float(np.exp(self.middle + x)) - self.floor, 0.0)

    def with_run(self, run: Reading) -> "Link":
        """The link with one more run, best of the very recipe that is to be predicted."""
        return fit_link(self.sensitivities, self.errors, [*self.runs, run], floor=self.floor)


def fit_link(
    sensitivities: Sensitivities, errors: Errors, runs: Sequence[Reading], *, floor: float = 0.0
) -> Link:
    """The link from runs of whole recipes: best five to eight runs, each of one type everywhere.
    `floor` is in nats per token; a unit of S is about one.

    Without runs c is 1 and g is 1 with wide intervals, and nothing bends.
    """
    g = LINE_MEAN[1]
    misfit, line = USUAL_MISFIT, np.array(LINE_MEAN)
    if not runs:
        return Link(
            sensitivities=sensitivities,
            errors=errors,
            runs=(),
            c=1.0,
            g=g,
            bend=0.0,
            middle=0.0,
            misfit=misfit,
            floor=floor,
        )
    damage = _damage(sensitivities, errors, [run.types for run in runs], floor)
    for _ in range(ROUNDS):
        weights, lines = _lines(damage, runs, g)
        line = weights @ lines
        misfit, g = float(weights @ MISFITS), float(line[1])
    c, bend, middle = float(np.exp(line[0])), float(line[2]), float(damage.mean.mean())
    return Link(
        sensitivities=sensitivities,
        errors=errors,
        runs=tuple(runs),
        c=c,
        g=g,
        bend=bend,
        middle=middle,
        misfit=misfit,
        floor=floor,
    )


def _damage(
    sensitivities: Sensitivities, errors: Errors, recipes: Sequence[Mapping[str, str]], floor: float
) -> DamageMoments:
    """log S of recipes. The floor counts as one more tensor, with error 1 in every recipe that
    changes anything.
    """
    names, n = sensitivities.names, len(sensitivities.names)
    disturbed = error_matrix(names, recipes, errors)
    if not floor:
        return damage_moments(sensitivities, disturbed)
    cov = np.zeros((n + 1, n + 1))
    cov[:n, :n], cov[n, n] = sensitivities.log_cov, FLOOR_SPREAD**2
    log_mean = np.append(sensitivities.log_mean, np.log(floor))
    with_floor = Sensitivities(names=(*names, "any change"), log_mean=log_mean, log_cov=cov)
    return damage_moments(with_floor, np.column_stack([disturbed, (disturbed > 0).any(axis=1)]))


def _lines(damage: DamageMoments, runs: Sequence[Reading], g: float) -> tuple[Vector, Matrix]:
    """For each of the k MISFITS: its weight (k), and the line's posterior mean (k, 3)."""
    log_klds, noise = _log_klds(runs)
    design = _design(damage.mean, float(damage.mean.mean()))
    spread = np.diag(np.square(LINE_SPREAD))
    cov = design @ spread @ design.T + g**2 * damage.cov + np.diag(noise)
    surprise = log_klds - design @ LINE_MEAN
    weights, inverses = _by_misfit(cov, surprise)
    return weights, np.asarray(LINE_MEAN) + inverses @ surprise @ design @ spread


def _predicted(link: Link, types: Mapping[str, str]) -> tuple[Vector, Vector, Vector]:
    """For each of MISFITS: its weight, and mean and variance of the recipe's log KLD. The recipe
    stands first in all matrices, then come the runs.
    """
    runs, errors = link.runs, link.errors
    log_klds, noise = _log_klds(runs)
    damage = _damage(link.sensitivities, errors, [types, *(run.types for run in runs)], link.floor)
    design = _design(damage.mean, float(damage.mean[1:].mean()) if runs else float(damage.mean[0]))
    joint = design @ np.diag(np.square(LINE_SPREAD)) @ design.T + link.g**2 * damage.cov
    prior = design @ LINE_MEAN
    own = np.array(
        [changes(run.types, errors) == changes(types, errors) for run in runs], dtype=float
    )
    lasting = MISFITS**2 - LEAST_MISFIT**2
    shared = joint[1:, 0] + lasting[:, None] * own
    surprise = log_klds - prior[1:]
    weights, inverses = _by_misfit(joint[1:, 1:] + np.diag(noise), surprise)
    gains = np.einsum("kij,kj->ki", inverses, shared)
    below = float(np.maximum(damage.mean[1:].min() - damage.mean[0], 0)) if runs else 0.0
    variances = (
        np.maximum(joint[0, 0] + lasting - (gains * shared).sum(axis=1), 0)
        + LEAST_MISFIT**2
        + (BEYOND * below) ** 2
    )
    variances += own.max(initial=0) * OTHER_TEXT**2
    return weights, prior[0] + gains @ surprise, variances


def changes(types: Mapping[str, str], errors: Errors) -> dict[str, str]:
    """What a recipe changes: the tensors that it does not copy, with their types."""
    return {name: type_ for name, type_ in types.items() if errors[name][type_]}


def _design(log_damage: Vector, middle: float) -> Matrix:
    """What c, g and b are multiplied by, a row per recipe: 1, log S, (log S − middle)²."""
    return np.column_stack([np.ones(len(log_damage)), log_damage, np.square(log_damage - middle)])


def _by_misfit(cov: Matrix, surprise: Vector) -> tuple[Vector, Matrix]:
    """For each of the k MISFITS: its posterior weight (k), and the inverse of the covariance of the
    m runs with that misfit (k, m, m).
    """
    whole = cov[None] + MISFITS[:, None, None] ** 2 * np.eye(len(surprise))
    inverses = np.linalg.inv(whole)
    log = -0.5 * (inverses @ surprise @ surprise + np.linalg.slogdet(whole)[1])
    log -= 0.5 * (np.log(MISFITS / USUAL_MISFIT) / MISFIT_SPREAD) ** 2
    weights = np.exp(log - log.max())
    return np.asarray(weights / weights.sum()), np.asarray(inverses)


def _log_klds(runs: Sequence[Reading]) -> tuple[Vector, Vector]:
    """log KLD of the runs, and the variance of the noise in each."""
    logs = [run.log() for run in runs]
    return np.array([y for y, _ in logs]), np.array([v for _, v in logs])


def _quantile(q: float, weights: Vector, means: Vector, spreads: Vector) -> float:
    """The quantile of a mixture of log-normals, by bisection."""
    from scipy.special import ndtr

    low, high = float((means - 10 * spreads).min()), float((means + 10 * spreads).max())
    for _ in range(50):
        middle = (low + high) / 2
        if float(weights @ ndtr((middle - means) / spreads)) < q:
            low = middle
        else:
            high = middle
    return float(np.exp(high))
