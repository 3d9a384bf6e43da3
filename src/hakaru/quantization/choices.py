"""Which types the tensors of one source may become. Pure.

Some types of a quantized source only look free. Example: a tensor in Q4_1 becomes Q5_1 almost
without error, because Q5_1 can express all values of Q4_1; but nothing is won except a larger file.
Such types are no choice. A tensor's own type is a choice, since a copy loses nothing.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

from msgspec import Struct

from hakaru.formats.gguf import Tensor
from hakaru.formats.quant_types import BY_NAME
from hakaru.quantization.probes import Errors, uniform_recipes
from hakaru.quantization.source import hidden_grids

TYPES: Final = (
    "Q8_0", "Q6_K", "Q5_K", "Q5_1", "Q5_0", "Q4_K", "Q4_1", "IQ4_NL", "Q4_0", "IQ4_XS", "IQ3_S",
    "Q3_K", "IQ3_XXS", "Q2_K", "IQ2_S", "IQ2_XS",
)  # fmt: skip
"""The types whose errors are measured, from the most to the least bits."""
SAME_GRID: Final = {
    "Q4_0": ("Q4_0", "Q5_0"),
    "Q4_1": ("Q4_1", "Q5_1"),
    "Q4_K": ("Q4_K", "Q5_K"),
    "IQ4_NL": ("IQ4_NL", "IQ4_XS"),
}
"""By the type of the source: the types that can express all its values, so that their error says
nothing about how good they are.
"""


class TypeChoices(Struct, frozen=True, dict=True):
    """The choice of types for the tensors of one source."""

    tensors: Sequence[Tensor]  # those that may have another type

    @cached_property
    def own_types(self) -> dict[str, str]:
        """The type of every tensor in the source."""
        return {t.name: t.type.name for t in self.tensors}

    @cached_property
    def own_grids(self) -> dict[str, tuple[str, ...]]:
        """For every tensor that is quantized in the source, the types in SAME_GRID."""
        return {
            t.name: SAME_GRID.get(t.type.name, (t.type.name,))
            for t in self.tensors
            if t.type.is_quantized
        }

    def offered(self, errors: Errors, *, copies: bool = True) -> dict[str, dict[str, float]]:
        """The errors of the types that may be chosen, by tensor and type.

        Types that look free are left out (`looking_free`); without `copies` a tensor's own type,
        too. A tensor without any type left is left out.
        """
        free, own = self.looking_free(errors), self.own_types
        offered = {
            name: {
                q: e for q, e in row.items() if q not in free[name] and (copies or q != own[name])
            }
            for name, row in errors.items()
        }
        return {name: row for name, row in offered.items() if row}

    def copied(self, types: Mapping[str, str]) -> set[str]:
        """The tensors that a recipe copies as they are."""
        return {name for name, type_ in types.items() if type_ == self.own_types.get(name)}

    def hidden(self, errors: Errors) -> tuple[str, ...]:
        """Types to which the weights were quantized before, although the file does not say so."""
        stated = {type_ for grid in self.own_grids.values() for type_ in grid}
        return tuple(type_ for type_ in hidden_grids(errors) if type_ not in stated)

    def looking_free(self, errors: Errors) -> dict[str, set[str]]:
        """For each tensor the types, other than its own, with (almost) zero error because the
        tensor was quantized to them before. Choosing such a type would undo later fine-tuning.
        """
        hidden = self.hidden(errors)
        return {
            name: {q for q in hidden if q in row and row[q] < row.get("Q8_0", 0.0)}
            | (set(self.own_grids.get(name, ())) - {self.own_types.get(name)})
            for name, row in errors.items()
        }

    def run_recipes(self, errors: Errors, runs: Sequence[str]) -> dict[str, dict[str, str]]:
        """The recipe of each run: one type everywhere, as many recipes as there are `runs`.

        Tensors that would not become smaller are copied, as a mix would copy them. In a quantized
        source the usual types make few tensors smaller; smaller types then take the place of runs
        that would change nothing or repeat another one.
        """
        by_name, recipes = {t.name: t for t in self.tensors}, dict[str, dict[str, str]]()
        uniform = uniform_recipes(errors, [*runs, *(q for q in TYPES if q not in runs)])
        for run, types in uniform.items():
            smaller = {
                name: type_
                if by_name[name].bytes_as(BY_NAME[type_]) < by_name[name].n_bytes
                else self.own_types[name]
                for name, type_ in types.items()
            }
            changes_any = bool(smaller.keys() - self.copied(smaller))
            if len(recipes) < len(runs) and changes_any and smaller not in recipes.values():
                recipes[run] = smaller
        return recipes
