"""How fast each type is on this machine: seconds per byte, from files that were served and timed.

The time of a decoded token is close to a sum over the matrices that are read: the bytes of each,
times the seconds that a byte of its type takes here. A few recipes of one type everywhere, timed
through the server that will serve, give these rates by least squares that stay at or above zero.
The rates also carry what a token costs besides its matrices. A type that no timed recipe held has
no rate, and is no choice where a speed is asked for. The rates only propose a recipe: the promised
speed is that of the recipe itself, measured. Left out: the speed of reading prompts.

Before any file of a model was timed, other files that were timed on this machine give the rates: by
the same least squares, with each rate drawn to the usual one. Types that no file held have the
usual rate.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from hakaru.formats.gguf import Tensor
from hakaru.formats.quant_types import BY_NAME
from hakaru.models.shape import Shape
from hakaru.planning.timed_file import TimedFile
from hakaru.planning.token_work import part_read
from hakaru.units import Figure

USUAL_SPREAD: Final = 0.35
"""Standard deviation of log seconds around the rates, before files were timed: assumed."""
WORTH: Final = 2
"""How many timed files USUAL_SPREAD counts for: assumed."""
DRAWN: Final = 0.3
"""How strongly a rate is drawn to the usual one; by 1 to a timed file that holds one type alone."""


def parts_read(tensors: Iterable[Tensor], shape: Shape) -> dict[str, float]:
    """`part_read` of every tensor of a model, by name."""
    tensors = list(tensors)
    is_tied = not any(t.name == "output.weight" for t in tensors)
    return {t.name: part_read(t, shape, is_tied=is_tied) for t in tensors}


def bytes_read(
    tensors: Sequence[Tensor], shape: Shape, types: Mapping[str, str] | None = None
) -> dict[str, float]:
    """Bytes that one decoded token reads, by type. `types` names the types of tensors that are to
    have another one than their own.
    """
    types = {t.name: (types or {}).get(t.name, t.type.name) for t in tensors}
    return _bytes_by_type(tensors, parts_read(tensors, shape), types)


def _bytes_by_type(
    tensors: Iterable[Tensor], parts: Mapping[str, float], types: Mapping[str, str]
) -> dict[str, float]:
    """The bytes of the tensors that `types` names, by type, as far as they are read."""
    read: dict[str, float] = {}
    for tensor in tensors:
        if type_ := types.get(tensor.name):
            read[type_] = (
                read.get(type_, 0.0) + tensor.bytes_as(BY_NAME[type_]) * parts[tensor.name]
            )
    return read


class TypeSpeeds(Struct, frozen=True, kw_only=True):
    """How fast this machine reads each type."""

    rates: Mapping[str, float]  # seconds per byte, by type
    usual: float | None = None  # seconds per byte of any other type; None: unknown
    spread: float = 0.0  # standard deviation of the log of predicted seconds per token

    def seconds(
        self, tensors: Iterable[Tensor], shape: Shape, types: Sequence[str] = ()
    ) -> dict[str, dict[str, float]]:
        """Seconds per token, by tensor and type.

        The types are those that have a rate, and `types` at the usual rate; of a tensor, those by
        whose block its rows can be divided.
        """
        tensors = list(tensors)
        parts = parts_read(tensors, shape)
        rates = {
            **(dict.fromkeys(types, self.usual) if self.usual is not None else {}),
            **self.rates,
        }
        return {
            t.name: {
                type_: rate * t.bytes_as(BY_NAME[type_]) * parts[t.name]
                for type_, rate in rates.items()
                if t.shape[0] % BY_NAME[type_].block == 0
            }
            for t in tensors
        }

    def predict(self, read: Mapping[str, float]) -> Figure:
        """Decoded tokens per second, with a 95% interval. `read`: the bytes that one token reads,
        by type.
        """
        seconds = sum(
            n_bytes * self.rates.get(type_, self.usual or 0.0) for type_, n_bytes in read.items()
        )
        factor = math.exp(1.96 * self.spread)
        value = 1 / seconds
        return Figure(
            value=value, unit="tokens/s", source="computed", low=value / factor, high=value * factor
        )


def fit_paces(paces: Sequence[TimedFile]) -> TypeSpeeds:
    """The rates of a machine from at least one file that was timed on it."""
    from scipy.optimize import nnls

    paces = [pace for pace in paces if not pace.depth]  # what keys and values take is no type's
    types, read = _matrix([pace.read for pace in paces])
    whole, seconds = read.sum(axis=1), np.array([pace.seconds for pace in paces])
    usual = float(np.exp(np.log(seconds / whole).mean()))
    parts = read / whole[:, None]
    rows = np.vstack([parts, DRAWN * np.eye(len(types))])
    rates, _ = nnls(rows, np.concatenate([seconds / whole / usual, np.full(len(types), DRAWN)]))
    off = np.log(seconds / (whole * usual * np.maximum(parts @ rates, 1e-9)))
    spread = math.sqrt(
        (WORTH * USUAL_SPREAD**2 + float(np.square(off).sum())) / (WORTH + len(paces))
    )
    return TypeSpeeds(
        rates=dict(zip(types, (usual * rates).tolist(), strict=True)), usual=usual, spread=spread
    )


def fit_speeds(
    tensors: Sequence[Tensor],
    shape: Shape,
    recipes: Sequence[Mapping[str, str]],
    tokens_per_s: Sequence[float],
) -> TypeSpeeds:
    """The rates, none below zero, that explain best how fast these recipes decode. `recipes`: types
    by tensor name.
    """
    from scipy.optimize import nnls

    parts = parts_read(tensors, shape)
    types, matrix = _matrix([_bytes_by_type(tensors, parts, recipe) for recipe in recipes])
    most = matrix.max()
    rates, _ = nnls(matrix / most, 1 / np.asarray(tokens_per_s))
    return TypeSpeeds(rates=dict(zip(types, (rates / most).tolist(), strict=True)))


def _matrix(read: Sequence[Mapping[str, float]]) -> tuple[list[str], npt.NDArray[np.float64]]:
    """All types that stand in these rows, and the bytes: one row each, one column a type."""
    types = sorted({type_ for row in read for type_ in row})
    return types, np.array([[row.get(type_, 0.0) for type_ in types] for row in read])
