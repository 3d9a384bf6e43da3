"""Which tensors to disturb, and how, to learn their sensitivities.

A probe is a recipe for a few tensors; the rest stay as they are, and the KLD of the whole model is
measured. Tensors are disturbed as strongly as by Q3_K: the effect of much less drowns in noise, and
much more is no longer in proportion. Three efforts:

- quick: the output, the embedding, and all the rest together; a prior divides the rest.
- standard: every role at up to eight depths, at most MOST_GROUPS of them.
- thorough: standard, then single tensors, those first whose predicted damage is least certain
  (`most_uncertain`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from hakaru.quantization.groups import HEADS, N_DEPTHS, places
from hakaru.quantization.sensitivity import Sensitivities, damage_moments, error_matrix

Effort = Literal["quick", "standard", "thorough"]
STRENGTH: Final = 0.02
"""The relative squared error that a probe aims at."""
MOST_GROUPS: Final = 100
"""Probes of effort standard, at most."""
Errors = Mapping[str, Mapping[str, float]]


class Probe(Struct, frozen=True, kw_only=True):
    """Tensors to disturb and the type that each one is quantized to and back."""

    name: str
    types: Mapping[str, str]


def group_probes(errors: Errors, effort: Effort) -> tuple[Probe, ...]:
    """The probes of an effort for the tensors in `errors` (tensor -> type -> error), the most
    telling ones first.
    """
    at = places(errors)
    groups: dict[str, list[str]] = {}
    n_depths = _n_depths(
        {place.role for place in at.values()}, n_layer=len({p.depth for p in at.values()} - {None})
    )
    for name, place in at.items():
        if place.role in HEADS or place.depth is None:
            group = place.role if place.role in HEADS or effort != "quick" else "rest"
        else:
            group = "rest" if effort == "quick" else f"{place.role} {place.step(n_depths)}"
        groups.setdefault(group, []).append(name)
    ordered = sorted(groups.items(), key=lambda group: (group[0] not in HEADS, group[0]))
    return tuple(Probe(name=group, types=_types(names, errors)) for group, names in ordered)


def most_uncertain(
    sensitivities: Sensitivities, errors: Errors, *, n: int, done: Iterable[str] = ()
) -> tuple[Probe, ...]:
    """The next `n` probes of single tensors: always the tensor whose damage at the probes' strength
    has the largest variance, given that the probes before are measured. `done` are tensors that
    were probed alone already.
    """
    cov, names = sensitivities.log_cov.copy(), sensitivities.names
    strength = np.array([errors[name][_type(errors[name])] for name in names])
    size = np.exp(sensitivities.log_mean) * strength
    is_open = np.array([name not in set(done) for name in names])
    chosen: list[Probe] = []
    while len(chosen) < n and is_open.any():
        spread = np.maximum(np.diag(cov), 0)
        variance = size**2 * np.exp(spread) * np.expm1(np.minimum(spread, 50))
        i = int(np.argmax(np.where(is_open, variance, -1)))
        chosen.append(Probe(name=names[i], types=_types([names[i]], errors)))
        is_open[i] = False
        if cov[i, i] > 0:
            cov -= np.outer(cov[:, i], cov[i]) / cov[i, i]
    return tuple(chosen)


def doubt(sensitivities: Sensitivities, errors: Errors) -> float:
    """The relative standard error of the whole model's damage at the probes' strength."""
    names = sensitivities.names
    disturbed = error_matrix(names, [_types(names, errors)], errors)
    variance = float(damage_moments(sensitivities, disturbed).cov[0, 0])  # of log S
    return math.sqrt(math.expm1(min(variance, 50.0)))


def uniform_recipes(errors: Errors, types: Sequence[str]) -> dict[str, dict[str, str]]:
    """For each type the recipe that gives it to every tensor. A tensor that cannot have the type
    gets the type with the next smaller error.
    """
    recipes = {}
    for type_ in types:
        type_errors = [by_type[type_] for by_type in errors.values() if type_ in by_type]
        if type_errors:
            usual = float(np.median(type_errors))
            recipes[type_] = {
                name: type_ if type_ in by_type else _stand_in(by_type, usual)
                for name, by_type in errors.items()
            }
    return recipes


def least_change(errors: Errors, quantized: Iterable[str]) -> dict[str, str]:
    """The recipe that disturbs one tensor as little as a type can: a tensor of the first layer with
    any of `quantized`. The loss of this recipe is the floor (`prediction.py`). Empty if no layer is
    quantized.
    """
    at, wanted = places(errors), set(quantized)
    candidates = [
        (depth, error, name, type_)
        for name in errors
        if name in wanted and (depth := at[name].depth) is not None
        for type_, error in errors[name].items()
        if error > 0
    ]
    if not candidates:
        return {}
    _, _, name, type_ = min(candidates)
    return {name: type_}


def _stand_in(by_type: Mapping[str, float], usual: float) -> str:
    """The type with the largest error up to `usual`, else the type with the smallest error."""
    gentle = {t: e for t, e in by_type.items() if e <= usual}
    return (
        max(gentle, key=lambda t: gentle[t]) if gentle else min(by_type, key=lambda t: by_type[t])
    )


def _n_depths(roles: set[str], *, n_layer: int) -> int:
    """The number of depths into which every role is cut, so that groups stay within MOST_GROUPS."""
    layered = len(roles - set(HEADS))
    return max(1, min(N_DEPTHS, n_layer or 1, (MOST_GROUPS - len(HEADS)) // max(layered, 1)))


def _types(names: Iterable[str], errors: Errors) -> dict[str, str]:
    return {name: _type(errors[name]) for name in names}


def _type(by_type: Mapping[str, float]) -> str:
    """The type whose error is nearest to the probes' strength, as a ratio."""
    usable = {t: e for t, e in by_type.items() if e > 0}
    return min(usable or by_type, key=lambda t: abs(math.log(max(by_type[t], 1e-30) / STRENGTH)))
