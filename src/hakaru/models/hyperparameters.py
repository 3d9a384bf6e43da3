"""From a model's hyperparameters, written briefly, to the metadata of its GGUF file.

What llama.cpp's loader asks for and no memory depends on (norm epsilons, scales, activation
constants) is filled with plain values: a header made of it is for sizes, not for talking.
"""

from collections.abc import Mapping
from typing import Any, Final

from hakaru.formats.metadata import MetadataValue
from hakaru.models.architectures import architecture as record_of

_PLAIN: Final[dict[str, MetadataValue]] = {
    "attention.layer_norm_rms_epsilon": 1e-6,
    "attention.layer_norm_epsilon": 1e-5,
    "logit_scale": 1.0,
    "rope.freq_base": 10000.0,
}
_BARE: Final = ("tokenizer.", "xielu.")
"""Beginnings of keys that stand without the architecture's name."""


def expand(architecture: str, hyperparameters: Mapping[str, Any]) -> dict[str, MetadataValue]:
    """GGUF metadata from the short form: full names, patterns unrolled, plain values where nothing
    depends.
    """
    n_layer = hyperparameters["block_count"]
    values = {**_PLAIN, **record_of(architecture).plain, **hyperparameters}
    found: dict[str, MetadataValue] = {"general.architecture": architecture}
    for key, value in values.items():
        if isinstance(value, dict):
            cycle = value["cycle"]
            value = [cycle[i % len(cycle)] for i in range(n_layer)]
        found[key if key.startswith(_BARE) else f"{architecture}.{key}"] = value
    return found
