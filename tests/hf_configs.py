"""A model of the catalogue as the config.json of its checkpoint says it, as far as sizes go."""

from typing import Any, Final

from hakaru.models.model import Model

CLASSES: Final = {
    "llama": ("LlamaForCausalLM", "llama"),
    "qwen2": ("Qwen2ForCausalLM", "qwen2"),
    "qwen3": ("Qwen3ForCausalLM", "qwen3"),
    "qwen3moe": ("Qwen3MoeForCausalLM", "qwen3_moe"),
    "granite": ("GraniteForCausalLM", "granite"),
    "seed_oss": ("SeedOssForCausalLM", "seed_oss"),
    "olmo2": ("Olmo2ForCausalLM", "olmo2"),
    "smollm3": ("SmolLM3ForCausalLM", "smollm3"),
    "glm4moe": ("Glm4MoeForCausalLM", "glm4_moe"),
}
"""Class and `model_type` of each architecture."""


def hf_config(model: Model) -> dict[str, Any]:
    """What vLLM reads of the model's config.json."""
    shape = model.shape
    class_name, kind = CLASSES[shape.architecture]
    if shape.architecture == "llama" and shape.n_expert:
        class_name, kind = "MixtralForCausalLM", "mixtral"
    names = {tensor.name for tensor in model.tensors}
    return {
        "architectures": [class_name], "model_type": kind, "torch_dtype": "bfloat16",
        "hidden_size": shape.n_embd, "intermediate_size": shape.n_ff or shape.n_ff_exp,
        "num_hidden_layers": shape.n_layer - shape.n_layer_nextn,
        "num_attention_heads": shape.n_head, "num_key_value_heads": max(shape.n_head_kv),
        "head_dim": shape.n_embd_head_k, "vocab_size": shape.n_vocab,
        "max_position_embeddings": shape.n_ctx_train,
        "partial_rotary_factor": shape.n_rot / shape.n_embd_head_k,
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
