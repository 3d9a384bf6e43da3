"""What is known about a model's sensitivities before anything of it was probed.

The sensitivity of a tensor is log-normal. Its logarithm is a sum: the model's level, a profile
(role by depth, learned from other models), and deviations of the role, of the depth within the
role, and of the single tensor, each with a spread. The deviations of one role at two depths x and y
correlate by exp(-|x - y| / REACH). A prior is a plain value: `as_json` goes into the ledger.

`learned` moves the profile by one more model, by the weights of a normal mean. `prior_for_kin` is
for a fine-tune of a model that was probed: the tensors' own sensitivities, with the small spreads
that fine-tuning leaves, so that three probes are enough to set the level. Source: Gelman et al.,
Bayesian Data Analysis (2013), chapter 5 (hierarchical normal model).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from msgspec.structs import replace

from hakaru.quantization.groups import N_DEPTHS, Place, places

Vector = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float64]
REACH: Final = 0.25
"""The distance, as a part of the model's depth, at which deviations correlate by 1/e."""
BEFORE: Final = 10
"""How many observations the first spreads count for when others are learned."""
KIN_SPREADS: Final = (0.3, 0.15, 0.1, 0.1)
"""How far a fine-tune's log sensitivities lie from its base's: level, role, depth, tensor."""


class Prior(Struct, frozen=True, kw_only=True):
    """What is known of log sensitivities before a probe. All figures are logarithms.

    A role that is not in the profile takes the values of the longest role that its own name begins
    with: ffn_down_exps takes those of ffn_down. The role "" is always there.
    """

    profile: Mapping[str, tuple[float, ...]]  # role -> one value per depth step
    level_spread: float  # of the whole model; all spreads are standard deviations
    role_spread: float  # of a role within the model
    depth_spread: float  # of a depth within a role
    tensor_spread: float  # of a tensor within its role and depth
    tensors: Mapping[str, tuple[float, float]]  # tensor -> deviation from the profile, and spread
    n_models: int  # from which the prior was learned

    def moments(self, names: tuple[str, ...]) -> tuple[Vector, Matrix]:
        """Mean (n) and covariance (n, n) of the log sensitivities of the tensors of one model."""
        at = places(names)
        deviations = [self.tensors.get(name, (0.0, self.tensor_spread)) for name in names]
        profile = [self._profile_at(at[name]) for name in names]
        mean = np.array([base + off for base, (off, _) in zip(profile, deviations, strict=True)])
        roles = np.array([at[name].role for name in names])
        depth = np.array([d if (d := at[name].depth) is not None else 0.0 for name in names])
        same = roles[:, None] == roles[None, :]
        near = np.exp(-np.abs(depth[:, None] - depth[None, :]) / REACH)
        shared = self.role_spread**2 + self.depth_spread**2 * near
        own = np.array([spread**2 for _, spread in deviations])
        return mean, self.level_spread**2 + same * shared + np.diag(own)

    def as_json(self) -> dict[str, object]:
        """The prior as it stands in the ledger."""
        return {
            "profile": {role: list(values) for role, values in self.profile.items()},
            "level_spread": self.level_spread, "role_spread": self.role_spread,
            "depth_spread": self.depth_spread, "tensor_spread": self.tensor_spread,
            "tensors": {name: list(t) for name, t in self.tensors.items()},
            "n_models": self.n_models,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Prior":
        """The inverse of `as_json`."""
        profile = {role: tuple(values) for role, values in data["profile"].items()}
        tensors = {
            name: (float(mean), float(spread)) for name, (mean, spread) in data["tensors"].items()
        }
        return cls(**{**data, "profile": profile, "tensors": tensors})

    def _profile_at(self, place: Place) -> float:
        return self.profile[known_role(self.profile, place.role)][place.step()]


GENERIC: Final = Prior(
    profile={"": (-4.0,) * N_DEPTHS, "output": (0.0,) * N_DEPTHS, "token_embd": (-2.0,) * N_DEPTHS},
    level_spread=1.5, role_spread=1.0, depth_spread=0.8, tensor_spread=0.4, tensors={}, n_models=0,
)  # fmt: skip
"""The prior before any model was probed: the heads matter most. Rounded from one small Llama of 10M
weights, spreads included.
"""


def known_role(profile: Mapping[str, object], role: str) -> str:
    """The role in the profile that stands for `role`: itself, else what is left after dropping its
    last words. Example: ffn_down_exps -> ffn_down -> ffn -> "", which is always there.
    """
    while role and role not in profile:
        role = role.rpartition("_")[0]
    return role


def learned(prior: Prior, names: tuple[str, ...], mean: Vector, cov: Matrix) -> Prior:
    """The prior after one more model, whose log sensitivities have this posterior.

    Every cell of the profile (role and depth) moves toward the model's value, as a running mean
    does; an uncertain value moves the cell less. Each squared spread becomes the mean square of
    the deviations that the spread describes, with their variances, and of the old spread, which
    counts as BEFORE observations.
    """
    at = places(names)
    cells = {name: (at[name].role, at[name].step()) for name in names}
    off = mean - prior.moments(names)[0]
    one = _means(["all"] * len(names))
    of_role, of_cell = _means([role for role, _ in cells.values()]), _means(list(cells.values()))
    parts = (
        (prior.level_spread, one[:1], 0),
        (prior.role_spread, _distinct(of_role - one), 1),
        (
            prior.depth_spread,
            _distinct(of_cell - of_role),
            len({role for role, _ in cells.values()}),
        ),
        (prior.tensor_spread, np.eye(len(names)) - of_cell, len(set(cells.values()))),
    )
    level, role, depth, tensor = (
        _spread(old, prior.n_models, rows @ off, ((rows @ cov) * rows).sum(axis=1), n_lost)
        for old, rows, n_lost in parts
    )
    return replace(
        prior,
        profile=_moved(prior, cells, mean, cov),
        level_spread=level,
        role_spread=role,
        depth_spread=depth,
        tensor_spread=tensor,
        n_models=prior.n_models + 1,
    )


def _moved(
    prior: Prior, cells: Mapping[str, tuple[str, int]], mean: Vector, cov: Matrix
) -> dict[str, tuple[float, ...]]:
    """The profile after one more model; a role that is new begins at the mean of the model's
    tensors of this role.
    """
    where = list(cells.values())
    profile = {role: list(values) for role, values in prior.profile.items()}
    between = prior.level_spread**2 + prior.role_spread**2 + prior.depth_spread**2
    for role in {"", *(role for role, _ in where)}:
        members = [i for i, (r, _) in enumerate(where) if role in {"", r}]
        is_new = role not in profile or not prior.n_models
        if is_new:
            profile[role] = [float(mean[members].mean())] * N_DEPTHS
        for step in {where[i][1] for i in members}:
            own = [i for i in members if where[i][1] == step]
            doubt = float(cov[np.ix_(own, own)].mean())
            gain = (
                between / (between + doubt)
                if is_new
                else between / (between + prior.n_models * (between + doubt))
            )
            profile[role][step] += gain * (float(mean[own].mean()) - profile[role][step])
    return {role: tuple(values) for role, values in profile.items()}


def _spread(old: float, n_models: int, off: Vector, doubt: Vector, n_lost: int) -> float:
    """The spread after the deviations `off` with the variances `doubt`. `n_lost` degrees of freedom
    went to the means that were subtracted.
    """
    before = BEFORE + n_models * len(off)
    return float(
        np.sqrt(
            (before * old**2 + np.square(off).sum() + doubt.sum())
            / (before + max(len(off) - n_lost, 0))
        )
    )


def _means(labels: Sequence[object]) -> Matrix:
    """The matrix that replaces every value by the mean of the values with the same label."""
    same = np.array([[one == other for other in labels] for one in labels], dtype=np.float64)
    return np.asarray(same / same.sum(axis=1, keepdims=True))


def _distinct(rows: Matrix) -> Matrix:
    """The rows without repetitions: one for each role or cell instead of one for each tensor."""
    return np.asarray(np.unique(np.round(rows, 12), axis=0))


def prior_for_kin(names: tuple[str, ...], mean: Vector, cov: Matrix) -> Prior:
    """The prior for another model with the same tensors: every tensor's posterior, with the spreads
    of a fine-tune.
    """
    level, role, depth, tensor = KIN_SPREADS
    doubt = np.sqrt(np.diag(cov) + tensor**2)
    tensors = {name: (float(m), float(s)) for name, m, s in zip(names, mean, doubt, strict=True)}
    return Prior(
        profile={"": (0.0,) * N_DEPTHS}, level_spread=level, role_spread=role, depth_spread=depth,
        tensor_spread=tensor, tensors=tensors, n_models=1,
    )  # fmt: skip
