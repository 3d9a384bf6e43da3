"""A model of the catalogue as the config.json of its checkpoint says it, as far as sizes go."""

from collections.abc import Callable
from typing import Any, Final

from hakaru.models.model import Model
from hakaru.models.shape import Shape

CLASSES: Final = {
    "cohere2": ("Cohere2ForCausalLM", "cohere2"),
    "deepseek2": ("DeepseekV3ForCausalLM", "deepseek_v3"),
    "exaone4": ("Exaone4ForCausalLM", "exaone4"),
    "falcon-h1": ("FalconH1ForCausalLM", "falcon_h1"),
    "gemma2": ("Gemma2ForCausalLM", "gemma2"),
    "gemma3": ("Gemma3ForCausalLM", "gemma3_text"),
    "glm4moe": ("Glm4MoeForCausalLM", "glm4_moe"),
    "gpt-oss": ("GptOssForCausalLM", "gpt_oss"),
    "granite": ("GraniteForCausalLM", "granite"),
    "granitehybrid": ("GraniteMoeHybridForCausalLM", "granitemoehybrid"),
    "lfm2": ("Lfm2ForCausalLM", "lfm2"),
    "lfm2moe": ("Lfm2MoeForCausalLM", "lfm2_moe"),
    "llama": ("LlamaForCausalLM", "llama"),
    "nemotron_h": ("NemotronHForCausalLM", "nemotron_h"),
    "nemotron_h_moe": ("NemotronHForCausalLM", "nemotron_h"),
    "olmo2": ("Olmo2ForCausalLM", "olmo2"),
    "qwen2": ("Qwen2ForCausalLM", "qwen2"),
    "qwen3": ("Qwen3ForCausalLM", "qwen3"),
    "qwen35": ("Qwen3_5ForCausalLM", "qwen3_5_text"),
    "qwen35moe": ("Qwen3_5MoeForCausalLM", "qwen3_5_moe_text"),
    "qwen3moe": ("Qwen3MoeForCausalLM", "qwen3_moe"),
    "qwen3next": ("Qwen3NextForCausalLM", "qwen3_next"),
    "seed_oss": ("SeedOssForCausalLM", "seed_oss"),
    "smollm3": ("SmolLM3ForCausalLM", "smollm3"),
}
"""Class and `model_type` of each architecture."""
ROTATED = dict.fromkeys(("qwen3next", "qwen35", "qwen35moe"), 0.25) | {"glm4": 0.5, "glm4moe": 0.5}
"""The part of a head that positions rotate, as the published config.json files say."""


def hf_config(model: Model) -> dict[str, Any]:
    """What vLLM reads of the model's config.json."""
    shape = model.shape
    class_name, kind = CLASSES[shape.architecture]
    if shape.architecture == "llama" and shape.n_expert:
        class_name, kind = "MixtralForCausalLM", "mixtral"
    names = {tensor.name for tensor in model.tensors}
    common = {
        "architectures": [class_name], "model_type": kind, "torch_dtype": "bfloat16",
        "hidden_size": shape.n_embd, "intermediate_size": shape.n_ff or shape.n_ff_exp,
        "num_hidden_layers": shape.n_layer - shape.n_layer_nextn,
        "num_attention_heads": shape.n_head, "num_key_value_heads": max(shape.n_head_kv),
        "head_dim": shape.n_embd_head_k, "vocab_size": shape.n_vocab,
        "max_position_embeddings": shape.n_ctx_train,
        "partial_rotary_factor": ROTATED.get(shape.architecture, 1.0),
        "tie_word_embeddings": "output.weight" not in names,
        "attention_bias": "blk.1.attn_q.bias" in names,
        "attention_out_bias": "blk.1.attn_output.bias" in names,
        "hidden_act": "silu", "rms_norm_eps": 1e-6,
        "rope_theta": 1e4, "use_qk_norm": "blk.1.attn_q_norm.weight" in names,
        "num_experts": shape.n_expert, "num_local_experts": shape.n_expert,
        "n_routed_experts": shape.n_expert, "num_experts_per_tok": shape.n_expert_used,
        "moe_intermediate_size": shape.n_ff_exp, "norm_topk_prob": True, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "first_k_dense_replace": shape.n_layer_dense_lead,
        "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 1.0,
        "use_sliding_window": False,
    }  # fmt: skip
    special = _SPECIAL.get(shape.architecture)
    return common | (special(shape, names) if special else {})


def _windows(shape: Shape, _: set[str]) -> dict[str, Any]:
    windows = [cache.window for cache in shape.caches or ()]
    return {
        "sliding_window": max((w for w in windows if w), default=None),
        "sliding_window_pattern": None,
        "use_sliding_window": any(windows),
        "layer_types": ["sliding_attention" if w else "full_attention" for w in windows],
    }


def _gemma(shape: Shape, names: set[str]) -> dict[str, Any]:
    return {
        **_windows(shape, names),
        "hidden_activation": "gelu_pytorch_tanh", "query_pre_attn_scalar": shape.n_embd_head_k,
        "attn_logit_softcapping": None, "final_logit_softcapping": None,
        "rope_theta": 1e6, "rope_local_base_freq": 1e4,
    }  # fmt: skip


def _cohere(shape: Shape, names: set[str]) -> dict[str, Any]:
    return {**_windows(shape, names), "layer_norm_eps": 1e-5, "logit_scale": 0.25}


def _deepseek(shape: Shape, names: set[str]) -> dict[str, Any]:
    sigmoid = any(name.endswith("exp_probs_b.bias") for name in names)
    found: dict[str, Any] = {
        "head_dim": shape.n_rot, "num_key_value_heads": shape.n_head,
        "q_lora_rank": shape.n_lora_q or None, "kv_lora_rank": shape.n_lora_kv,
        "qk_nope_head_dim": shape.n_embd_head_k_mla - shape.n_rot, "qk_rope_head_dim": shape.n_rot,
        "v_head_dim": shape.n_embd_head_v_mla,
        "n_shared_experts": shape.n_ff_shexp // shape.n_ff_exp,
        "moe_layer_freq": 1, "topk_method": "noaux_tc" if sigmoid else "greedy",
        "scoring_func": "sigmoid" if sigmoid else "softmax",
        "partial_rotary_factor": 1.0,
    }  # fmt: skip
    if not sigmoid:
        found |= {"architectures": ["DeepseekV2ForCausalLM"], "model_type": "deepseek_v2"}
    return found


def _layer_types(shape: Shape, state: str, attention: str = "full_attention") -> list[str]:
    n = shape.n_layer - shape.n_layer_nextn
    return [state if cache.state else attention for cache in (shape.caches or ())[:n]]


def _gated_delta(shape: Shape, names: set[str]) -> dict[str, Any]:
    return {
        "layer_types": _layer_types(shape, "linear_attention"),
        "linear_conv_kernel_dim": shape.ssm_d_conv,
        "linear_key_head_dim": shape.ssm_d_state, "linear_value_head_dim": shape.ssm_d_state,
        "linear_num_key_heads": shape.ssm_n_group, "linear_num_value_heads": shape.ssm_dt_rank,
        "shared_expert_intermediate_size": shape.n_ff_shexp, "attn_output_gate": True,
        "mamba_ssm_dtype": "float32",
        "rope_parameters": {
            "rope_type": "default", "rope_theta": 1e7,
            "partial_rotary_factor": ROTATED.get(shape.architecture, 1.0),
        },
    }  # fmt: skip


def _nemotron_h(shape: Shape, names: set[str]) -> dict[str, Any]:
    n = shape.n_layer - shape.n_layer_nextn
    kinds = [
        "M" if cache.state else "*" if cache.k else "E" if shape.n_expert else "-"
        for cache in (shape.caches or ())[:n]
    ]
    return {
        "hybrid_override_pattern": "".join(kinds), "mamba_num_heads": shape.ssm_dt_rank,
        "mamba_head_dim": shape.ssm_d_inner // shape.ssm_dt_rank, "n_groups": shape.ssm_n_group,
        "ssm_state_size": shape.ssm_d_state, "conv_kernel": shape.ssm_d_conv, "expand": 2,
        "chunk_size": 128, "mamba_hidden_act": "silu", "mlp_hidden_act": "relu2",
        "use_bias": False, "use_conv_bias": True, "mlp_bias": False, "mamba_proj_bias": False,
        "layer_norm_epsilon": 1e-5, "mamba_ssm_cache_dtype": "float32",
        "moe_shared_expert_intermediate_size": shape.n_ff_shexp, "n_shared_experts": 1,
        "moe_latent_size": shape.moe_latent_size or None, "num_nextn_predict_layers": 0,
    }  # fmt: skip


def _granite_hybrid(shape: Shape, names: set[str]) -> dict[str, Any]:
    return {
        "layer_types": _layer_types(shape, "mamba", "attention"),
        "mamba_n_heads": shape.ssm_dt_rank, "mamba_d_head": shape.ssm_d_inner // shape.ssm_dt_rank,
        "mamba_n_groups": shape.ssm_n_group, "mamba_d_state": shape.ssm_d_state,
        "mamba_d_conv": shape.ssm_d_conv, "mamba_expand": shape.ssm_d_inner // shape.n_embd,
        "mamba_chunk_size": 256, "mamba_conv_bias": True, "mamba_proj_bias": False,
        "shared_intermediate_size": shape.n_ff_shexp or shape.n_ff,
        "position_embedding_type": "nope" if shape.architecture == "granitehybrid" else "rope",
        "embedding_multiplier": 1.0, "logits_scaling": 1.0, "residual_multiplier": 1.0,
        "attention_multiplier": 1.0,
    }  # fmt: skip


def _falcon_h1(shape: Shape, names: set[str]) -> dict[str, Any]:
    return {
        "mamba_n_heads": shape.ssm_dt_rank, "mamba_d_head": shape.ssm_d_inner // shape.ssm_dt_rank,
        "mamba_n_groups": shape.ssm_n_group, "mamba_d_state": shape.ssm_d_state,
        "mamba_d_conv": shape.ssm_d_conv, "mamba_d_ssm": shape.ssm_d_inner, "mamba_expand": 2,
        "mamba_chunk_size": 256, "mamba_conv_bias": True, "mamba_proj_bias": False,
        "mamba_rms_norm": "blk.0.ssm_norm.weight" in names, "mamba_norm_before_gate": False,
        "projectors_bias": False, "mlp_bias": False,
        "ssm_multipliers": [1.0] * 5, "mlp_multipliers": [1.0, 1.0],
    }  # fmt: skip


def _short_convolution(shape: Shape, names: set[str]) -> dict[str, Any]:
    return {
        "layer_types": _layer_types(shape, "conv"), "conv_L_cache": shape.n_shortconv_l_cache,
        "conv_bias": False, "conv_dim": shape.n_embd, "block_ff_dim": shape.n_ff,
        "block_auto_adjust_ff_dim": False, "block_dim": shape.n_embd,
        "block_ffn_dim_multiplier": 1.0, "block_multiple_of": 256, "norm_eps": 1e-5,
        "num_dense_layers": shape.n_layer_dense_lead, "use_expert_bias": True,
        "full_attn_idxs": [i for i, cache in enumerate(shape.caches or ()) if not cache.state],
    }  # fmt: skip


_SPECIAL: Final[dict[str, Callable[[Shape, set[str]], dict[str, Any]]]] = {
    "cohere2": _cohere,
    "deepseek2": _deepseek,
    "exaone4": _windows,
    "falcon-h1": _falcon_h1,
    "gemma2": _gemma,
    "gemma3": _gemma,
    "gpt-oss": _windows,
    "granitehybrid": _granite_hybrid,
    "lfm2": _short_convolution,
    "lfm2moe": _short_convolution,
    "nemotron_h": _nemotron_h,
    "nemotron_h_moe": _nemotron_h,
    "olmo2": _windows,
    "qwen35": _gated_delta,
    "qwen35moe": _gated_delta,
    "qwen3next": _gated_delta,
}
