"""From the fields of a Hugging Face config.json to GGUF keys.

The names that all architectures share stand here; fields of one architecture stand in its record
(`HuggingFace`). `hf_config` reads the file and checks the result. Source: llama.cpp,
conversion/*.py.
"""

from collections.abc import Collection
from typing import Any, Final

from hakaru.models.architectures.parts.sizes import MAX_LAYERS, MAX_WIDTH
from hakaru.models.architectures.record import HuggingFace
from hakaru.models.config_values import ConfigValues

COMMON: Final = {
    "block_count": ("num_hidden_layers", "n_layer", "num_layers"),
    "context_length": ("max_position_embeddings", "n_positions"),
    "embedding_length": ("hidden_size", "n_embd", "d_model"),
    "feed_forward_length": ("intermediate_size", "n_inner"),
    "attention.head_count": ("num_attention_heads", "n_head"),
    "attention.head_count_kv": ("num_key_value_heads",),
    "attention.key_length": ("head_dim",),
    "attention.value_length": ("head_dim",),
}
_MAY_BE_NONE: Final = {
    "context_length",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.value_length",
}
"""Fields whose absence has a meaning, which some configurations write as 0 or -1."""
_EXPERTS: Final = {
    "expert_count": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "expert_used_count": ("num_experts_per_tok", "num_experts_per_token", "moe_k", "top_k_experts"),
    "expert_feed_forward_length": ("moe_intermediate_size", "expert_intermediate_size"),
    "expert_shared_feed_forward_length": (
        "shared_expert_intermediate_size",
        "shared_intermediate_size",
    ),
    "expert_shared_count": ("n_shared_experts", "moe_num_shared_experts"),
    "leading_dense_block_count": (
        "first_k_dense_replace",
        "num_dense_layers",
        "moe_layer_start_index",
    ),
}


def hyperparameters(
    config: ConfigValues, rules: HuggingFace, names: Collection[str]
) -> dict[str, Any]:
    """The GGUF keys of a model without the architecture before them (see `hyperparameters.expand`).

    `names` are the names of the checkpoint's tensors: only they say whether the checkpoint has
    blocks for multi-token prediction. Raises ModelDamaged.
    """
    values: dict[str, int | None] = {
        key: (config.number_if_any if key in _MAY_BE_NONE else config.number)(*fields)
        for key, fields in COMMON.items()
    }
    for key in ("block_count", "embedding_length", "attention.head_count"):
        high = MAX_LAYERS if key == "block_count" else MAX_WIDTH
        values[key] = config.need(*COMMON[key], high=high)
    if config.number_if_any(*_EXPERTS["expert_count"]):
        values |= {key: config.number(*fields) for key, fields in _EXPERTS.items()}
    short: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    short.setdefault("attention.head_count_kv", short["attention.head_count"])
    if rules.windows and (window := config.number_if_any("sliding_window")):
        short["attention.sliding_window"] = window
        if types := config.texts("layer_types", short["block_count"]):
            pattern = [type_ == "sliding_attention" for type_ in types]
            short["attention.sliding_window_pattern"] = pattern
    if rotated := _rotated(config):
        head = short["embedding_length"] // short["attention.head_count"]
        short["rope.dimension_count"] = int(short.get("attention.key_length", head) * rotated)
    if rules.fields:
        rules.fields(config, short, names)
    return short


def _rotated(config: ConfigValues) -> float | None:
    """The part of a head that positions rotate; None where the configuration does not say."""
    name = "partial_rotary_factor"
    return config.real(name) or config.part("rope_parameters").real(name)
