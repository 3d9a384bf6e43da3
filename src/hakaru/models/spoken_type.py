"""The type of a model in words: a preset's name, or that it is a mix.

`Model.type_name` is the type of most bytes, which JSON and the ledger keep. Of a mix it says too
little: a file whose tensors have five types between 2 and 8 bits is no "Q4_K".
"""

from typing import Final

from hakaru.errors import ModelUnknown
from hakaru.language import say
from hakaru.models.mixture import preset_types
from hakaru.models.model import Model
from hakaru.models.presets import BASE_TYPES, FTYPES, NEEDS_IMPORTANCE
from hakaru.models.roster import quantizer_facts, roster

OWN_RECIPE: Final = "hakaru.recipe.schema"
"""The key that hakaru writes into every file that it quantizes."""


def spoken_type(model: Model, preset: str | None = None) -> str:
    """Such as `F16`, `Q4_K_M`, or `mix (4.53 bits)` for a file of hakaru's that is no preset.
    `preset`: what `preset_of` said of the file, with an empty text for none; None: it is asked.
    """
    layers = {t.type.name for t in model.tensors if t.name.startswith("blk.") and len(t.shape) > 1}
    if len(layers) == 1:
        return model.type_name
    if preset := preset_of(model) if preset is None else preset:
        return preset
    if OWN_RECIPE in model.metadata:
        return say("mix ({bpw:.2f} bits)", bpw=model.bpw)
    return model.type_name


def preset_of(model: Model) -> str | None:
    """The preset whose types the tensors have: the one whose number the file states, or one that
    is made of the type of most bytes.
    """
    number, numbers = model.metadata.get("general.file_type"), FTYPES | NEEDS_IMPORTANCE
    stated = [preset for preset in numbers if numbers[preset] == number]
    alike = [preset for preset in numbers if BASE_TYPES[preset] == model.type_name]
    types = {t.name: t.type.name for t in model.tensors}
    try:
        entries = roster(quantizer_facts(model.meta), model.tensors)
        for preset in dict.fromkeys(stated + alike):
            for has_imatrix in (False, True):
                chosen = preset_types(entries, preset, has_imatrix=has_imatrix)
                if all(types[name] == type_ for name, type_ in chosen.items()):
                    return preset
    except ModelUnknown:  # the quantizer would refuse this model
        return None
    return None
