"""The link between damage and KLD, and the KLD of a recipe that nobody has built yet, with its
interval.

KLD = c S^g, where S = Σ a e is the damage of the recipe: g is near 1 as long as errors add up, and
grows where a model breaks. A few runs of whole recipes (one type everywhere) give c and g, and how
much g grows. In logarithms the link is a line with a slight bend around the middle m of the runs,

    log KLD = log c + g log S + b (log S − m)² + misfit + noise,

and the doubt in the sensitivities makes log S uncertain, in the same way for recipes that hurt the
same tensors. So runs and a new recipe are jointly normal: the posterior of the line, the shared
doubt and the misfit follow from one linear system. The misfit's spread is unknown, too: it is
summed over a grid by the likelihood of the runs, which gives intervals their tails. Nothing is
sampled.

A model that is quantized already computes with rounded activations. Whatever changes in one tensor,
however little, rounds the activations of all layers behind it otherwise, and that costs something
which no error of a type knows: the floor. It is one more term of S, the same for every recipe that
changes anything, learned from a run that changes next to nothing (`fit_link`).

A recipe that was a run itself is predicted by that run: what is known of its misfit is shared with
it, but for the part that other text of the kind brings. So a mix that a solver chose, among
thousands, for being thought harmless can be told truly. Source: Rasmussen and Williams, Gaussian
Processes for Machine Learning (2006), 2.7 and 5.4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

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
"""log c, g and the bend before any run: errors about add up, and the larger they are the less."""
LEAST_MISFIT: Final = 0.1
"""What a mix of types strays from the line at least, however well the runs of single types lie on
it: from 90 random mixes of three models (docs/labbook.md).
"""
MISFITS: Final = np.hypot(LEAST_MISFIT, np.geomspace(0.01, 0.6, 25))
USUAL_MISFIT: Final = 0.13
MISFIT_SPREAD: Final = 0.8
FLOOR_SPREAD: Final = 0.7
"""Spread of the logarithm of the floor: a tensor of the last layers has fewer behind it. From 25
single tensors of SmolLM2-135M in Q4_1 (.0011 to .0042) and 18 of a small Llama in Q4_K_M
(docs/labbook.md).
"""
OTHER_TEXT: Final = 0.13
"""What one part of the texts strays from another one, where a figure stands on a single run: the
test windows of effort quick lay .23 above the validation windows, the same for all mixes, on
SmolLM2-135M, and level on a small Llama in Q4_K_M and in Q8_0 (docs/labbook.md).
"""
BEYOND: Final = 0.35
"""What the misfit grows by for each nat that log S lies below all runs: the line was not seen
there.
"""
ROUNDS: Final = 4


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Link:
    """The link of one model. The figures of the line are those of the posterior mean."""

    known: Sensitivities
    errors: Errors
    runs: tuple[Reading, ...]  # to which the link was fitted
    c: float
    g: float
    bend: float
    middle: float  # of log S of the runs
    misfit: float  # what runs stray from the line
    floor: float = 0.0  # the damage of any change at all, in units of S; 0: none, or not measured

    def predict(self, types: Mapping[str, str], *, standard_error: float = 0.0) -> Figure:
        """The KLD of a recipe in nats per token: median and 95 % interval of its true value, or of
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
        """The KLD in nats per token at which the line puts a damage Σ a e, and the floor."""
        if damage <= 0:
            return 0.0
        damage += self.floor
        x = np.log(damage) - self.middle
        return float(self.c * damage**self.g * np.exp(self.bend * x * x))

    def damage_for(self, kld: float) -> float:
        """The damage Σ a e whose predicted KLD is `kld`, the floor included: the limit that an
        allocation to a target needs; 0 where the floor alone loses more. Beyond where the bent line
        turns, the straight one counts.
        """
        off = np.log(kld) - np.log(self.c) - self.g * self.middle  # = g x + b x², x = log S − m
        root = self.g**2 + 4 * self.bend * off
        x = 2 * off / (self.g + np.sqrt(root)) if root > 0 else off / self.g
        return max(float(np.exp(self.middle + x)) - self.floor, 0.0)

    def with_run(self, run: Reading) -> "Link":
        """The link with one more run, best of the very recipe that is asked about."""
        return fit_link(self.known, self.errors, [*self.runs, run], floor=self.floor)


def fit_link(
    known: Sensitivities, errors: Errors, runs: Sequence[Reading], *, floor: float = 0.0
) -> Link:
    """The link from runs of whole recipes, best of one type everywhere and of five to eight types.
    `floor` in nats per token, which a unit of S is about.

    Without runs c is 1 and g is 1 with wide intervals, and nothing bends.
    """
    g = LINE_MEAN[1]
    misfit, line = USUAL_MISFIT, np.array(LINE_MEAN)
    if not runs:
        return Link(
            known=known,
            errors=errors,
            runs=(),
            c=1.0,
            g=g,
            bend=0.0,
            middle=0.0,
            misfit=misfit,
            floor=floor,
        )
    damage = _damage(known, errors, [run.types for run in runs], floor)
    for _ in range(ROUNDS):
        weights, lines = _lines(damage, runs, g)
        line = weights @ lines
        misfit, g = float(weights @ MISFITS), float(line[1])
    c, bend, middle = float(np.exp(line[0])), float(line[2]), float(damage.mean.mean())
    return Link(
        known=known,
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
    known: Sensitivities, errors: Errors, recipes: Sequence[Mapping[str, str]], floor: float
) -> DamageMoments:
    """log S of recipes. The floor is a term like a tensor's, which every recipe has that changes
    anything.
    """
    disturbed = error_matrix(known.names, recipes, errors)
    if not floor:
        return damage_moments(known, disturbed)
    n = len(known.names)
    cov = np.zeros((n + 1, n + 1))
    cov[:n, :n], cov[n, n] = known.log_cov, FLOOR_SPREAD**2
    log_mean = np.append(known.log_mean, np.log(floor))
    with_floor = Sensitivities(names=(*known.names, "any change"), log_mean=log_mean, log_cov=cov)
    return damage_moments(with_floor, np.column_stack([disturbed, (disturbed > 0).any(axis=1)]))


def _lines(damage: DamageMoments, runs: Sequence[Reading], g: float) -> tuple[Vector, Matrix]:
    """For each spread of the misfit: its weight, and the line's posterior mean (k, 3)."""
    seen, noise = _seen(runs)
    design = _design(damage.mean, float(damage.mean.mean()))
    spread = np.diag(np.square(LINE_SPREAD))
    cov = design @ spread @ design.T + g**2 * damage.cov + np.diag(noise)
    surprise = seen - design @ LINE_MEAN
    weights, inverses = _by_misfit(cov, surprise)
    return weights, np.asarray(LINE_MEAN) + inverses @ surprise @ design @ spread


def _predicted(link: Link, types: Mapping[str, str]) -> tuple[Vector, Vector, Vector]:
    """For each spread of the misfit: its weight, and mean and variance of the recipe's log KLD."""
    runs, errors = link.runs, link.errors
    seen, noise = _seen(runs)
    damage = _damage(link.known, errors, [types, *(run.types for run in runs)], link.floor)
    design = _design(damage.mean, float(damage.mean[1:].mean()) if runs else float(damage.mean[0]))
    joint = design @ np.diag(np.square(LINE_SPREAD)) @ design.T + link.g**2 * damage.cov
    prior = design @ LINE_MEAN
    own = np.array(
        [changes(run.types, errors) == changes(types, errors) for run in runs], dtype=float
    )
    lasting = MISFITS**2 - LEAST_MISFIT**2
    shared = joint[1:, 0] + lasting[:, None] * own
    surprise = seen - prior[1:]
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
    """The rows of the line: 1, log S, and the square of its distance from the middle of the
    runs.
    """
    return np.column_stack([np.ones(len(log_damage)), log_damage, np.square(log_damage - middle)])


def _by_misfit(cov: Matrix, surprise: Vector) -> tuple[Vector, Matrix]:
    """The posterior weight of each spread of the misfit, whose prior is log-normal, and the inverse
    of the runs' covariance with it (k, m, m).
    """
    whole = cov[None] + MISFITS[:, None, None] ** 2 * np.eye(len(surprise))
    inverses = np.linalg.inv(whole)
    log = -0.5 * (inverses @ surprise @ surprise + np.linalg.slogdet(whole)[1])
    log -= 0.5 * (np.log(MISFITS / USUAL_MISFIT) / MISFIT_SPREAD) ** 2
    weights = np.exp(log - log.max())
    return np.asarray(weights / weights.sum()), np.asarray(inverses)


def _seen(runs: Sequence[Reading]) -> tuple[Vector, Vector]:
    """log KLD of the runs and the variance of its noise."""
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
