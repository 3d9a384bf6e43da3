"""From a model's hyperparameters, written briefly, to the metadata of its GGUF file.

What llama.cpp's loader asks for and no memory depends on (norm epsilons, scales, activation constants) is filled with
plain values: a header made of it is for sizes, not for talking.
"""

from collections.abc import Mapping
from typing import Any, Final

from hakaru.models.metadata import MetadataValue

_PLAIN: Final[dict[str, MetadataValue]] = {
    "attention.layer_norm_rms_epsilon": 1e-6, "attention.layer_norm_epsilon": 1e-5, "logit_scale": 1.0, "rope.freq_base": 10000.0,
}  # fmt: skip
_SECTIONS: Final[dict[str, MetadataValue]] = {"rope.dimension_sections": [24, 20, 20, 0]}
_SIGMOID: Final[dict[str, MetadataValue]] = {"expert_gating_func": 2}
_ENCODER: Final[dict[str, MetadataValue]] = {"attention.causal": False, "pooling_type": 1}
_PLAIN_BY_ARCHITECTURE: Final[dict[str, dict[str, MetadataValue]]] = {
    "qwen2vl": {"rope.dimension_sections": [16, 24, 24, 0]},
    "qwen3vl": {**_SECTIONS, "n_deepstack_layers": 3},
    "qwen3vlmoe": {**_SECTIONS, "n_deepstack_layers": 3},
    "qwen35": {"rope.dimension_sections": [11, 11, 10, 0]},
    "qwen35moe": {"rope.dimension_sections": [11, 11, 10, 0]},
    "lfm2moe": _SIGMOID,
    "kimi-linear": _SIGMOID,
    "exaone-moe": _SIGMOID,
    "deepseek32": _SIGMOID,
    "minimax-m2": _SIGMOID,
    "bert": _ENCODER,
    "nomic-bert": _ENCODER,
    "modern-bert": _ENCODER,
    "gemma-embedding": _ENCODER,
}
_XIELU: Final[dict[str, MetadataValue]] = {"xielu.alpha_n": 0.8, "xielu.alpha_p": 0.8, "xielu.beta": 0.5, "xielu.eps": -1e-6}
"""Apertus' activation; these keys stand without the architecture's name."""


def expand(architecture: str, hyperparameters: Mapping[str, Any]) -> dict[str, MetadataValue]:
    """GGUF metadata from the short form: full names, patterns unrolled, plain values where nothing depends."""
    n_layer = hyperparameters["block_count"]
    values = {**_PLAIN, **_PLAIN_BY_ARCHITECTURE.get(architecture, {}), **hyperparameters}
    found: dict[str, MetadataValue] = {"general.architecture": architecture}
    for key, value in values.items():
        if isinstance(value, dict):
            cycle = value["cycle"]
            value = [cycle[i % len(cycle)] for i in range(n_layer)]
        found[key if key.startswith("tokenizer.") else f"{architecture}.{key}"] = value
    return found | (_XIELU if architecture == "apertus" else {})
