"""From a model's hyperparameters, written briefly, to the metadata of its GGUF file.

Keys that llama.cpp's loader needs and on which no size depends (norm epsilons, scales, activation
constants) get plain values: a header made of this metadata is for sizes, not for talking.
"""

from collections.abc import Mapping
from typing import Any, Final

from hakaru.formats.header_values import Array, Value
from hakaru.formats.metadata import MetadataValue
from hakaru.models.architectures import architecture as record_of

_PLAIN: Final[dict[str, MetadataValue]] = {
    "attention.layer_norm_rms_epsilon": 1e-6,
    "attention.layer_norm_epsilon": 1e-5,
    "logit_scale": 1.0,
    "rope.freq_base": 10000.0,
}
WITHOUT_PREFIX: Final = ("tokenizer.", "xielu.")
"""Beginnings of keys that have no architecture's name before them."""


def expand(architecture: str, hyperparameters: Mapping[str, Any]) -> dict[str, MetadataValue]:
    """GGUF metadata from the short form: keys with the architecture's name, one value per layer for
    every cycle, and plain values for what the short form leaves out.
    """
    n_layer = hyperparameters["block_count"]
    values = {**_PLAIN, **record_of(architecture).plain, **hyperparameters}
    unrolled = {
        key: [value["cycle"][i % len(value["cycle"])] for i in range(n_layer)]
        if isinstance(value, dict)
        else value
        for key, value in values.items()
    }
    return with_architecture(architecture, unrolled)


def with_architecture(
    architecture: str, hyperparameters: Mapping[str, MetadataValue]
) -> dict[str, MetadataValue]:
    """GGUF metadata from keys without the architecture's name."""
    return {"general.architecture": architecture} | {
        key if key.startswith(WITHOUT_PREFIX) else f"{architecture}.{key}": value
        for key, value in hyperparameters.items()
    }


def without_architecture(
    architecture: str, metadata: Mapping[str, Value]
) -> dict[str, MetadataValue]:
    """The reverse: of a header's metadata all that memory and loading need, no vocabulary and no
    array that is too long to be kept.
    """
    kept: dict[str, MetadataValue] = {}
    for key, value in metadata.items():
        plain = list(value.values or ()) if isinstance(value, Array) else value
        if key.startswith(f"{architecture}.") and plain != []:
            kept[key.removeprefix(f"{architecture}.")] = plain
        elif key.startswith(WITHOUT_PREFIX) and isinstance(plain, int | float):
            kept[key] = plain
    return kept
