"""Names of models and types as published speeds spell them, and models of older tables that our
catalogue lacks.
"""

from typing import Final

from hakaru.models.catalogue import KnownModel


def _llama(id_: str, n_params: int, **numbers: int) -> KnownModel:
    n_embd, n_head = numbers["n_embd"], numbers["n_head"]
    return KnownModel(
        id=id_, name=id_, architecture="llama", n_params=n_params, n_vocab=32000, tied=False,
        license=None, hf_repo="",
        hyperparameters={
            "block_count": numbers["n_layer"], "context_length": 4096, "embedding_length": n_embd,
            "feed_forward_length": numbers["n_ff"], "attention.head_count": n_head,
            "attention.head_count_kv": numbers["n_head_kv"],
            "attention.key_length": n_embd // n_head, "attention.value_length": n_embd // n_head,
            "rope.dimension_count": n_embd // n_head,
        },
    )  # fmt: skip


OTHERS: Final = (
    _llama("llama-2-7b", 6738415616, n_layer=32, n_embd=4096, n_ff=11008, n_head=32, n_head_kv=32),
    _llama("llama-2-13b", 13015864320, n_layer=40, n_embd=5120, n_ff=13824, n_head=40,
        n_head_kv=40),
    _llama("tinyllama-1.1b", 1100048384, n_layer=22, n_embd=2048, n_ff=5632, n_head=32,
        n_head_kv=4),
)  # fmt: skip
"""Models that tables of speeds are full of, and that nobody pulls any more."""

NAMES: Final = {
    "qwen3moe-30b.a3b": "qwen3-30b-a3b", "qwen2-7b": "qwen2.5-7b-instruct",
    "gemma3-4b": "gemma-3-4b-it", "deepseek2-30b.a3b": "glm-4.7-flash",
    "mistral3-8b": "ministral-3-8b-instruct-2512", "mistral3-3b": "ministral-3-3b-instruct-2512",
    "mistral3-14b": "ministral-3-14b-instruct-2512", "qwen35-4b": "qwen3.5-4b",
    "qwen35-9b": "qwen3.5-9b", "qwen35-2b": "qwen3.5-2b", "qwen35-0.8b": "qwen3.5-0.8b",
    "minimax-m2": "minimax-m2.5", "nvidia-nemotron-3-super-120b-a12b": "nemotron-3-super-120b-a12b",
    "nvidia-nemotron-3-nano-30b-a3b": "nemotron-3-nano-30b-a3b",
    "nvidia-nemotron-3-nano-4b": "nemotron-3-nano-4b",
    "phi-4-mini-reasoning-3.8b": "phi-4-mini-instruct", "phi-4-mini-3.8b": "phi-4-mini-instruct",
    "phi-4-mini-reasoning": "phi-4-mini-instruct", "phi-4-reasoning-plus-14b": "phi-4",
    "phi-4-14b": "phi-4", "deepseek-r1-distill-7b": "deepseek-r1-distill-qwen-7b",
    "deepseek-r1-distill-14b": "deepseek-r1-distill-qwen-14b",
    "deepseek-r1-distill-32b": "deepseek-r1-distill-qwen-32b",
    "shisa-v2-llama3.3-70b.i1": "llama-3.3-70b-instruct",
    "shisa-v2-llama3.1-8b.i1": "llama-3.1-8b-instruct",
    "mistral-small-3.1-24b": "mistral-small-3.1-24b-instruct-2503",
    "mistral-nemo-12b": "mistral-nemo-instruct-2407", "devstral-small-24b": "devstral-small-2505",
    "deepseek-r1-70b": "llama-3.3-70b-instruct", "mistral-7b": "mistral-7b-instruct-v0.3",
    "llama-4-scout-109b": "llama-4-scout-17b-16e-instruct", "deepseek-r1-671b": "deepseek-v3-0324",
    "meta-llama-3.1-8b-instruct": "llama-3.1-8b-instruct", "qwen3-5-35b-a3b": "qwen3.5-35b-a3b",
    "tinyllama-1.1b-chat-v1.0.i1": "tinyllama-1.1b",
    "qwen3-235b-a22b": "qwen3-235b-a22b-instruct-2507",
    "qwen2.5-coder-3b-instruct": "qwen2.5-3b-instruct",
    "lfm2.5-1.2b-thinking": "lfm2.5-1.2b-instruct",
    "MXFP4": "MXFP4_MOE", "MXFP4 MoE": "MXFP4_MOE", "UD-Q8_K_XL": "Q8_0", "UD-Q4_K_XL": "Q4_K_M",
    "UD-Q4_K_M": "Q4_K_M", "UD-Q6_K_XL": "Q6_K", "UD-Q3_K_S": "Q3_K_S", "UD-Q5_K_XL": "Q5_K_M",
    "UD-IQ2_XXS": "IQ2_XXS", "UD-IQ3_XXS": "IQ3_XXS", "Q2_K_M": "Q2_K", "UD-Q3_K_XL": "Q3_K_M",
    "Q4_K": "Q4_K_M", "fp16": "F16", "UD-IQ4_NL": "IQ4_NL",
}  # fmt: skip
"""Our names of models and types, by those of sources: a model stands for others of its very shape,
a preset for mixtures that are near it, to be scaled to the size of the file.
"""


def our_name(name: str) -> str:
    """What we call a model or a type that a source calls `name`."""
    return NAMES.get(name, name)


def preset_of(type_name: str, model_id: str | None) -> str:
    """The preset that a source's name of a type means. Files of gpt-oss have their experts in MXFP4
    whatever the name of the file says.
    """
    if model_id and model_id.startswith("gpt-oss"):
        return "MXFP4_MOE"
    return our_name(type_name)
