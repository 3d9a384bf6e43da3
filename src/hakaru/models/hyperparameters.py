"""From a model's hyperparameters, written briefly, to the metadata of its GGUF file.

Keys that llama.cpp's loader needs and on which no size depends (norm epsilons, scales, activation
constants) get plain values: a header made of this metadata is for sizes, not for talking.
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
_WITHOUT_PREFIX: Final = ("tokenizer.", "xielu.")
"""Beginnings of keys that have no architecture's name before them."""


def expand(architecture: str, hyperparameters: Mapping[str, Any]) -> dict[str, MetadataValue]:
    """GGUF metadata from the short form: keys with the architecture's name, one value per layer for
    every cycle, and plain values for what the short form leaves out.
    """
    n_layer = hyperparameters["block_count"]
    values = {**_PLAIN, **record_of(architecture).plain, **hyperparameters}
    metadata: dict[str, MetadataValue] = {"general.architecture": architecture}
    for key, value in values.items():
        if isinstance(value, dict):
            cycle = value["cycle"]
            value = [cycle[i % len(cycle)] for i in range(n_layer)]
        metadata[key if key.startswith(_WITHOUT_PREFIX) else f"{architecture}.{key}"] = value
    return metadata
