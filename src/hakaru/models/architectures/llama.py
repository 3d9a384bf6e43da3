"""Llama, and models with the same layers: Mistral 3, Llama 4, DeciLM, Arcee, SmolLM 3."""

from collections.abc import Collection
from typing import Final

from hakaru.models.architectures.parts.attention import attention
from hakaru.models.architectures.parts.blueprint import (
    Attention,
    Blueprint,
    Dense,
    Experts,
    IfExperts,
    Residual,
    Shared,
)
from hakaru.models.architectures.parts.feed_forward import dense, experts, shared_expert
from hakaru.models.architectures.parts.sizes import Sizes, Tensors, either, norm, without_kv
from hakaru.models.architectures.parts.tensor_table import DENSE_OR_EXPERTS, TensorTable, plain
from hakaru.models.architectures.record import (
    UNCONVERTED,
    Architecture,
    Caches,
    HuggingFace,
    Hyperparameters,
    InVllm,
    Quantizer,
    Window,
)
from hakaru.models.config_values import ConfigValues


def _has_moe(m: Sizes, layer: int) -> bool:
    """True for the layers of Llama 4 with experts: every n-th layer."""
    return (layer + 1) % m.need("interleave_moe_layer_step") == 0


def _llama4(config: ConfigValues, hyperparameters: Hyperparameters, _: Collection[str]) -> None:
    hyperparameters["expert_feed_forward_length"] = config.need("intermediate_size")
    hyperparameters["expert_shared_feed_forward_length"] = config.need("intermediate_size")
    hyperparameters["feed_forward_length"] = config.need("intermediate_size_mlp")
    hyperparameters["interleave_moe_layer_step"] = config.need("interleave_moe_layer_step")


def _linear(m: Sizes, _: int) -> Tensors:
    """DeciLM's linear attention: one matrix."""
    yield "attn_output.weight", (m.n_embd, m.n_embd)


_DECI: Final = TensorTable(
    layer=(
        either(
            lambda m, i: m.n_head(i) > 0,
            (norm("attn_norm"), either(without_kv, (_linear,), (attention(),))),
        ),
        either(lambda m, i: m.n_ff(i) > 0, (norm("ffn_norm"), dense())),
    )
)

ARCHITECTURES: Final = (
    Architecture(
        "llama",
        tensors=plain(attention(), DENSE_OR_EXPERTS),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), IfExperts(Experts(), Dense()))),
        hugging_face=HuggingFace(
            classes=(
                "LlamaForCausalLM",
                "LLaMAForCausalLM",
                "MistralForCausalLM",
                "MixtralForCausalLM",
            ),
            bodies=("LlamaModel", "LlamaBidirectionalModel"),
        ),
        is_llama_like=True,
        quantizer=Quantizer(n_layer_of_70b=80, of_70b_shares_heads=True),
        in_vllm=InVllm(on_every_stage_of_mixtures=True),
    ),
    Architecture(
        "mistral3",
        tensors=plain(attention(), DENSE_OR_EXPERTS),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), IfExperts(Experts(), Dense()))),
        hugging_face=HuggingFace(
            classes=("Mistral3ForConditionalGeneration", "Ministral3ForCausalLM")
        ),
    ),
    Architecture(
        "llama4",
        tensors=plain(attention(), either(_has_moe, (experts(), shared_expert()), (dense(),))),
        caches=Caches(window=Window(period=4, default=8192, forced=8192)),
        graph=Blueprint(
            layer=Residual(
                Attention(scaled=True),
                IfExperts(
                    Shared(Experts(gating="sigmoid", normed=False, weighted_first=True)), Dense()
                ),
            ),
            rope_period=4,
        ),
        hugging_face=HuggingFace(
            classes=("Llama4ForConditionalGeneration", "Llama4ForCausalLM"),
            fields=_llama4,
            windows=True,
        ),
        reads=("interleave_moe_layer_step",),
    ),
    Architecture(
        "deci",
        tensors=_DECI,
        caches=Caches(),
        graph=Blueprint(layer="optional parts"),
        why_no_hugging_face=UNCONVERTED,
        quantizer=Quantizer(n_layer_of_70b=80),
    ),
    Architecture(
        "arcee",
        tensors=plain(attention(), dense(gate=False)),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense(gate=False))),
        hugging_face=HuggingFace(classes=("ArceeForCausalLM",)),
    ),
    Architecture(
        "smollm3",
        tensors=plain(attention(), dense()),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense()), rope_period=4),
        hugging_face=HuggingFace(classes=("SmolLM3ForCausalLM",)),
        in_vllm=InVllm(by_transformers=True),
    ),
)
