"""How fast each type is on this machine: seconds per byte, from recipes that were served and timed.

What a decoded token costs is close to a sum: of every matrix that is read, its bytes times the seconds that a byte of its
type takes here. A few recipes of one type everywhere, timed through the server that will serve, give the rates by least
squares that stay at or above zero. What a token costs beside its matrices is spread over their bytes: recipes that name every
matrix cannot tell the two apart, nor need they. A type that no timed recipe held has no rate, and is no choice where
a speed is asked for. Left out: prompts, whose speed other things decide. The rates only propose: what is promised is the speed of
the proposed recipe itself, measured.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from hakaru.models.gguf import Tensor
from hakaru.models.quant_types import BY_NAME
from hakaru.models.shape import Shape


def part_read(tensor: Tensor, shape: Shape, *, is_tied: bool) -> float:
    """The part of a tensor's bytes that one decoded token reads: of experts those in use, of an embedding that is not the output
    as well, one row.
    """
    if tensor.name == "token_embd.weight" and not is_tied:
        return 1 / tensor.shape[1]
    if "_exps." in tensor.name and shape.n_expert:
        return shape.n_expert_used / shape.n_expert
    return 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TypeSpeeds:
    """Seconds per byte of each type that was timed."""

    rates: Mapping[str, float]

    def seconds(self, tensors: Iterable[Tensor], shape: Shape) -> dict[str, dict[str, float]]:
        """Seconds per token of each tensor at each timed type that its rows allow."""
        tensors = list(tensors)
        is_tied = not any(t.name == "output.weight" for t in tensors)
        return {
            t.name: {
                type_: rate * t.bytes_as(BY_NAME[type_]) * part_read(t, shape, is_tied=is_tied)
                for type_, rate in self.rates.items()
                if t.shape[0] % BY_NAME[type_].block == 0
            }
            for t in tensors
        }


def fit_speeds(
    tensors: Sequence[Tensor], shape: Shape, recipes: Sequence[Mapping[str, str]], tokens_per_s: Sequence[float]
) -> TypeSpeeds:
    """The rates that explain the speeds of these recipes best, none below zero."""
    from scipy.optimize import nnls

    is_tied = not any(t.name == "output.weight" for t in tensors)
    types = sorted({type_ for recipe in recipes for type_ in recipe.values()})
    read = np.zeros((len(recipes), len(types)))
    for row, recipe in zip(read, recipes, strict=True):
        for t in tensors:
            if t.name in recipe:
                row[types.index(recipe[t.name])] += t.bytes_as(BY_NAME[recipe[t.name]]) * part_read(t, shape, is_tied=is_tied)
    unit = read.max()
    found, _ = nnls(read / unit, 1 / np.asarray(tokens_per_s))
    return TypeSpeeds(rates=dict(zip(types, (found / unit).tolist(), strict=True)))
