"""Building a preset or a mix: which type llama.cpp's quantizer gives each tensor, and the file,
byte for byte its own (`writer.py`).
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.formats.imatrix import Imatrix
from hakaru.language import say
from hakaru.models.mixture import preset_types
from hakaru.models.model import Model
from hakaru.models.roster import quantizer_facts, roster
from hakaru.quantization.journal import Journal
from hakaru.quantization.presets import ftype_of, quantized_bytes
from hakaru.quantization.writer import TensorWriter, write_recipe

MIX: Final = "mix"


class Recipe(Struct, frozen=True, kw_only=True):
    """Which type every tensor gets, and the bytes of the weights that follow."""

    preset: str  # its name; that of a mix begins with MIX
    types: Mapping[str, str]  # tensor -> type
    weights_bytes: int
    bpw: float  # of the weights


def copies_all(model: Model, types: Mapping[str, str]) -> bool:
    """Whether a recipe of these types has every tensor of `model` as it is: its file would be the
    source itself.
    """
    return bool(types) and all(types.get(t.name, t.type.name) == t.type.name for t in model.tensors)


def plan_presets(model: Model, presets: Sequence[str]) -> list[Recipe]:
    """What llama.cpp's quantizer would do with `model` at each preset: exact types and bytes.

    Raises Misuse and ModelUnknown.
    """
    facts = roster(quantizer_facts(model.meta), model.tensors)
    names = [ftype_of(preset)[0] for preset in presets]
    return [recipe_of(model, name, preset_types(facts, name)) for name in names]


def plan_with_importance(model: Model, preset: str) -> Recipe:
    """What llama.cpp's quantizer would do with `model` and importance data at one preset.

    Raises Misuse and ModelUnknown.
    """
    name, _ = ftype_of(preset, has_importance=True)
    return recipe_of(
        model,
        name,
        preset_types(roster(quantizer_facts(model.meta), model.tensors), name, has_imatrix=True),
    )


def mix_recipe(model: Model, types: Mapping[str, str]) -> Recipe:
    """A mix of types that no preset is, named after them."""
    digest = hashlib.sha256(json.dumps(sorted(types.items())).encode()).hexdigest()[:8]
    return recipe_of(model, f"{MIX}-{digest}", types)


def is_mix(name: str) -> bool:
    """Whether a recipe of this name is a mix, and no preset."""
    return name.startswith(f"{MIX}-")


def spoken_name(name: str) -> str:
    """The name of a recipe for people: that of a mix is for commands."""
    return say("our mix") if is_mix(name) else name


def recipe_of(model: Model, preset: str, types: Mapping[str, str]) -> Recipe:
    """The recipe of this name; a tensor that is not in `types` keeps its own type."""
    n_bytes = quantized_bytes(model.tensors, types)
    return Recipe(
        preset=preset, types=types, weights_bytes=n_bytes, bpw=8 * n_bytes / model.n_params
    )


def build(
    engine: TensorWriter,
    model: Model,
    recipe: Recipe,
    out: Path,
    *,
    imatrix: Imatrix | None = None,
    split_bytes: int | None = None,
    overwrite: bool = False,
    journal: Journal | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Model:
    """Write `model` by `recipe` to `out` and return the new model, read back and verified. Raises
    what `write_recipe` raises. Whatever happens, `out` is whole or absent.
    """
    number = (
        None
        if is_mix(recipe.preset)
        else ftype_of(recipe.preset, has_importance=imatrix is not None)[1]
    )
    return write_recipe(
        engine,
        model,
        recipe.types,
        out,
        imatrix=imatrix.vectors(model.tensors) if imatrix else None,
        file_type=number,
        split_bytes=split_bytes,
        overwrite=overwrite,
        journal=journal,
        progress=progress,
    )
