"""Which fields of a Hugging Face config.json become which GGUF keys, for each model class that hakaru can derive.

Facts only: a table of common names, and one small function for an architecture whose fields differ. `hf_config` reads the
file and checks the result. Source: llama.cpp, conversion/*.py.
"""

from collections.abc import Callable, Collection
from typing import Any, Final

from hakaru.models.config_values import ConfigValues
from hakaru.models.shape import MAX_LAYERS, MAX_WIDTH

CLASSES: Final = {
    "LlamaForCausalLM": "llama", "LLaMAForCausalLM": "llama", "MistralForCausalLM": "llama", "MixtralForCausalLM": "llama",
    "Mistral3ForConditionalGeneration": "mistral3", "Ministral3ForCausalLM": "mistral3",
    "Qwen2ForCausalLM": "qwen2", "Qwen2VLForConditionalGeneration": "qwen2vl", "Qwen2_5_VLForConditionalGeneration": "qwen2vl",
    "Qwen2MoeForCausalLM": "qwen2moe", "Qwen3ForCausalLM": "qwen3", "Qwen3Model": "qwen3", "Qwen3MoeForCausalLM": "qwen3moe",
    "Qwen3VLForConditionalGeneration": "qwen3vl", "Qwen3VLMoeForConditionalGeneration": "qwen3vlmoe",
    "Qwen3NextForCausalLM": "qwen3next", "Qwen3_5ForConditionalGeneration": "qwen35", "Qwen3_5ForCausalLM": "qwen35",
    "Qwen3_5MoeForConditionalGeneration": "qwen35moe", "Qwen3_5MoeForCausalLM": "qwen35moe",
    "GemmaForCausalLM": "gemma", "Gemma2ForCausalLM": "gemma2", "Gemma3ForCausalLM": "gemma3",
    "Gemma3ForConditionalGeneration": "gemma3", "Gemma4ForCausalLM": "gemma4", "Gemma4ForConditionalGeneration": "gemma4",
    "Phi3ForCausalLM": "phi3", "PhiMoEForCausalLM": "phimoe", "GptOssForCausalLM": "gpt-oss",
    "DeepseekV2ForCausalLM": "deepseek2", "DeepseekV3ForCausalLM": "deepseek2", "Glm4MoeLiteForCausalLM": "deepseek2",
    "Glm4ForCausalLM": "glm4", "Glm4MoeForCausalLM": "glm4moe",
    "GraniteForCausalLM": "granite", "GraniteMoeForCausalLM": "granitemoe", "GraniteMoeSharedForCausalLM": "granitemoe",
    "GraniteMoeHybridForCausalLM": "granitehybrid",
    "Olmo2ForCausalLM": "olmo2", "Olmo3ForCausalLM": "olmo2", "OlmoeForCausalLM": "olmoe", "SmolLM3ForCausalLM": "smollm3",
    "CohereForCausalLM": "command-r", "Cohere2ForCausalLM": "cohere2", "Lfm2ForCausalLM": "lfm2", "Lfm2MoeForCausalLM": "lfm2moe",
    "ExaoneForCausalLM": "exaone", "Exaone4ForCausalLM": "exaone4", "Ernie4_5ForCausalLM": "ernie4_5",
    "Ernie4_5_ForCausalLM": "ernie4_5", "Ernie4_5_MoeForCausalLM": "ernie4_5-moe", "HunYuanDenseV1ForCausalLM": "hunyuan-dense",
    "SeedOssForCausalLM": "seed_oss", "ApertusForCausalLM": "apertus", "MiniMaxM2ForCausalLM": "minimax-m2",
    "Llama4ForConditionalGeneration": "llama4", "Llama4ForCausalLM": "llama4",
}  # fmt: skip
"""The class in `architectures` and the architecture it converts to."""

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
_MAY_BE_NONE: Final = {"context_length", "attention.head_count_kv", "attention.key_length", "attention.value_length"}
"""Fields whose absence has a meaning, which some configurations write as 0 or -1."""
_EXPERTS: Final = {
    "expert_count": ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts"),
    "expert_used_count": ("num_experts_per_tok", "num_experts_per_token", "moe_k", "top_k_experts"),
    "expert_feed_forward_length": ("moe_intermediate_size", "expert_intermediate_size"),
    "expert_shared_feed_forward_length": ("shared_expert_intermediate_size", "shared_intermediate_size"),
    "expert_shared_count": ("n_shared_experts", "moe_num_shared_experts"),
    "leading_dense_block_count": ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"),
}
ABSENT: Final[dict[str, dict[str, Any]]] = {
    "gemma3": {"num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "max_position_embeddings": 131072},
    "gemma2": {"head_dim": 256},
    "granitehybrid": {"mamba_n_groups": 1},
}
"""What a config leaves to its class: published Gemma 3 files with a vision tower do. Source: transformers, the classes'
defaults.
"""

_WINDOWED: Final = {"gemma2", "gemma3", "gemma4", "gpt-oss", "cohere2", "olmo2", "exaone4", "llama4"}


def hyperparameters(config: ConfigValues, architecture: str, names: Collection[str]) -> dict[str, Any]:
    """The short metadata (see `hyperparameters.expand`). `names` are the checkpoint's tensors, which alone tell whether it
    has blocks for multi-token prediction. Raises ModelDamaged.
    """
    found: dict[str, Any] = {
        key: value
        for key, fields in COMMON.items()
        if (value := (config.number_if_any if key in _MAY_BE_NONE else config.number)(*fields)) is not None
    }
    for key in ("block_count", "embedding_length", "attention.head_count"):
        found[key] = config.need(*COMMON[key], high=MAX_LAYERS if key == "block_count" else MAX_WIDTH)
    found.setdefault("attention.head_count_kv", found["attention.head_count"])
    if config.number_if_any(*_EXPERTS["expert_count"]):
        found |= {key: value for key, fields in _EXPERTS.items() if (value := config.number(*fields)) is not None}
    if architecture in _WINDOWED and (window := config.number_if_any("sliding_window")):
        found["attention.sliding_window"] = window
        if types := config.texts("layer_types", found["block_count"]):
            found["attention.sliding_window_pattern"] = [t == "sliding_attention" for t in types]
    if special := _SPECIAL.get(architecture):
        special(config, found, names)
    return found


def _delta_net(config: ConfigValues, found: dict[str, Any], names: Collection[str]) -> None:
    heads, size = config.need("linear_num_value_heads"), config.need("linear_value_head_dim")
    found |= {
        "ssm.conv_kernel": config.need("linear_conv_kernel_dim"),
        "ssm.state_size": config.need("linear_key_head_dim"),
        "ssm.group_count": config.need("linear_num_key_heads"),
        "ssm.time_step_rank": heads,
        "ssm.inner_size": heads * size,
        "full_attention_interval": config.number("full_attention_interval") or 4,
    }
    n_main = found["block_count"]
    extra = (config.number("mtp_num_hidden_layers") or 1) if any(n.startswith(("mtp.", "model.mtp.")) for n in names) else 0
    extra = min(extra, MAX_LAYERS)
    if types := config.texts("layer_types", n_main):
        found["attention.recurrent_layers"] = [t == "linear_attention" for t in types] + [False] * extra
    _append_nextn(found, extra)


def _append_nextn(found: dict[str, Any], extra: int) -> None:
    if 0 < extra <= MAX_LAYERS:
        found["block_count"] += extra
        found["nextn_predict_layers"] = extra


def _mla(config: ConfigValues, found: dict[str, Any], _: Collection[str]) -> None:
    rank, rope = config.need("kv_lora_rank"), config.need("qk_rope_head_dim")
    found |= {
        "attention.head_count_kv": 1,
        "attention.key_length": rank + rope,
        "attention.value_length": rank,
        "attention.kv_lora_rank": rank,
        "attention.key_length_mla": config.need("qk_nope_head_dim") + rope,
        "attention.value_length_mla": config.need("v_head_dim"),
        "rope.dimension_count": rope,
    }
    if q_rank := config.number("q_lora_rank"):
        found["attention.q_lora_rank"] = q_rank


def _glm_moe(config: ConfigValues, found: dict[str, Any], names: Collection[str]) -> None:
    first = f"model.layers.{found['block_count']}."
    _append_nextn(found, (config.number("num_nextn_predict_layers") or 0) if any(n.startswith(first) for n in names) else 0)


def _granite_hybrid(config: ConfigValues, found: dict[str, Any], _: Collection[str]) -> None:
    types = config.texts("layer_types", found["block_count"]) or ("attention",) * found["block_count"]
    if not found.get("expert_count"):
        found["feed_forward_length"] = config.need("shared_intermediate_size", "intermediate_size")
    if all(t == "attention" for t in types):
        return  # converted as a plain Granite
    heads = found["attention.head_count_kv"]
    found["attention.head_count_kv"] = [heads if t == "attention" else 0 for t in types]
    inner = config.need("mamba_n_heads") * config.need("mamba_d_head")
    found |= {
        "ssm.conv_kernel": config.need("mamba_d_conv"),
        "ssm.state_size": config.need("mamba_d_state"),
        "ssm.group_count": config.need("mamba_n_groups"),
        "ssm.time_step_rank": config.need("mamba_n_heads"),
        "ssm.inner_size": inner,
    }


def _short_conv(config: ConfigValues, found: dict[str, Any], _: Collection[str]) -> None:
    types = config.texts("layer_types", found["block_count"]) or ()
    heads = found["attention.head_count_kv"]
    found["attention.head_count_kv"] = [heads if t == "full_attention" else 0 for t in types]
    found["shortconv.l_cache"] = config.need("conv_L_cache")
    if config.flag("block_auto_adjust_ff_dim"):
        width = int(2 * config.need("block_ff_dim", "intermediate_size") / 3 * (config.real("block_ffn_dim_multiplier") or 1))
        multiple = config.need("block_multiple_of")
        found["feed_forward_length"] = -(-width // multiple) * multiple


def _gemma4(config: ConfigValues, found: dict[str, Any], _: Collection[str]) -> None:
    full, windowed = config.need("global_head_dim"), config.need("head_dim")
    n_layer, shared = found["block_count"], config.number("num_kv_shared_layers") or 0
    types = config.texts("layer_types", n_layer) or ()
    found |= {
        "attention.key_length": full, "attention.value_length": full, "rope.dimension_count": full,
        "attention.key_length_swa": windowed, "attention.value_length_swa": windowed,
        "attention.shared_kv_layers": shared,
        "embedding_length_per_layer_input": config.number("hidden_size_per_layer_input") or 0,
    }  # fmt: skip
    if config.flag("use_double_wide_mlp"):
        width = config.need("intermediate_size")
        found["feed_forward_length"] = [width * (1 + (i >= n_layer - shared)) for i in range(n_layer)]
    if (heads := config.number("num_global_key_value_heads")) is not None:
        own = found["attention.head_count_kv"]
        found["attention.head_count_kv"] = [own if t == "sliding_attention" else heads for t in types]


def _phi3(config: ConfigValues, found: dict[str, Any], _: Collection[str]) -> None:
    head = found["embedding_length"] // found["attention.head_count"]
    found["rope.dimension_count"] = int(head * (config.real("partial_rotary_factor") or 1))


def _gpt_oss(_: ConfigValues, found: dict[str, Any], __: Collection[str]) -> None:
    found["expert_feed_forward_length"] = found.pop("feed_forward_length", 0)


def _llama4(config: ConfigValues, found: dict[str, Any], _: Collection[str]) -> None:
    found["expert_feed_forward_length"] = config.need("intermediate_size")
    found["expert_shared_feed_forward_length"] = config.need("intermediate_size")
    found["feed_forward_length"] = config.need("intermediate_size_mlp")
    found["interleave_moe_layer_step"] = config.need("interleave_moe_layer_step")


def _ernie_moe(config: ConfigValues, found: dict[str, Any], _: Collection[str]) -> None:
    found["interleave_moe_layer_step"] = config.number("moe_layer_interval") or 1


Special = Callable[[ConfigValues, dict[str, Any], Collection[str]], None]
_SPECIAL: Final[dict[str, Special]] = {
    **dict.fromkeys(("qwen3next", "qwen35", "qwen35moe"), _delta_net),
    "deepseek2": _mla, "glm4moe": _glm_moe, "granitehybrid": _granite_hybrid, "lfm2": _short_conv, "lfm2moe": _short_conv,
    "gemma4": _gemma4, "phi3": _phi3, "gpt-oss": _gpt_oss, "llama4": _llama4, "ernie4_5-moe": _ernie_moe,
}  # fmt: skip
