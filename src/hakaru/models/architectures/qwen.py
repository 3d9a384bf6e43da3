"""Qwen 2, 3 and 3.5: dense models, mixtures of experts, models with eyes, and hybrids of delta nets
and attention.
"""

from collections.abc import Collection
from typing import Final

from hakaru.formats.metadata import MetadataValue
from hakaru.models.architectures.parts.attention import QKV_BIAS, attention
from hakaru.models.architectures.parts.blueprint import (
    Attention,
    Blueprint,
    DeltaNet,
    Dense,
    Experts,
    IfRecurrent,
    Residual,
    Shared,
    WithImages,
)
from hakaru.models.architectures.parts.feed_forward import dense, experts, shared_expert
from hakaru.models.architectures.parts.recurrent import delta_net, is_linear
from hakaru.models.architectures.parts.sizes import MAX_LAYERS, Block, either, norm
from hakaru.models.architectures.parts.tensor_table import TensorTable, append_nextn, nextn, plain
from hakaru.models.architectures.record import (
    IN_16_BITS,
    Architecture,
    Caches,
    HuggingFace,
    Hyperparameters,
    InVllm,
    Quantizer,
)
from hakaru.models.config_values import ConfigValues

_MOE: Final = (experts(), shared_expert(router=True))
_EYES: Final[dict[str, MetadataValue]] = {
    "rope.dimension_sections": [24, 20, 20, 0],
    "n_deepstack_layers": 3,
}
_SECTIONS: Final[dict[str, MetadataValue]] = {"rope.dimension_sections": [11, 11, 10, 0]}


def _hybrid(feed: tuple[Block, ...], *, joint: bool) -> TensorTable:
    """Most layers are delta nets; the block for multi-token prediction attends."""
    full = attention(qk_norm="head", gated=True)
    norms = (norm("attn_norm"), norm("post_attention_norm"))
    return TensorTable(
        layer=(*norms, either(is_linear, (delta_net(joint=joint),), (full,)), *feed),
        nextn=(*norms, full, *feed, nextn),
    )


_SHARED: Final = Shared(Experts(), gate=True)


def _hybrid_layer(feed: Dense | Shared, *, joint: bool) -> Residual:
    """The layer of `_hybrid` in the words of a graph."""
    return Residual(IfRecurrent(DeltaNet(joint=joint), "gated attention"), feed, at_once=True)


def _delta_net(
    config: ConfigValues, hyperparameters: Hyperparameters, names: Collection[str]
) -> None:
    heads, size = config.need("linear_num_value_heads"), config.need("linear_value_head_dim")
    hyperparameters |= {
        "ssm.conv_kernel": config.need("linear_conv_kernel_dim"),
        "ssm.state_size": config.need("linear_key_head_dim"),
        "ssm.group_count": config.need("linear_num_key_heads"),
        "ssm.time_step_rank": heads,
        "ssm.inner_size": heads * size,
        "full_attention_interval": config.number("full_attention_interval") or 4,
    }
    extra = 0
    if any(n.startswith(("mtp.", "model.mtp.")) for n in names):
        extra = min(config.number("mtp_num_hidden_layers") or 1, MAX_LAYERS)
    if types := config.texts("layer_types", hyperparameters["block_count"]):
        recurrent = [t == "linear_attention" for t in types]
        hyperparameters["attention.recurrent_layers"] = recurrent + [False] * extra
    append_nextn(hyperparameters, extra)


_QWEN35_IN_VLLM: Final = InVllm(
    on_every_stage=frozenset({"embedding"}),
    recurrent="gated delta",
    states_in_f32=True,
    sees=True,
    types=IN_16_BITS,
)

ARCHITECTURES: Final = (
    Architecture(
        "qwen2",
        tensors=plain(attention(bias=QKV_BIAS), dense()),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense())),
        hugging_face=HuggingFace(classes=("Qwen2ForCausalLM",), bodies=("Qwen2Model",)),
        is_llama_like=True,
        quantizer=Quantizer(n_layer_of_70b=80),
        in_vllm=InVllm(),
    ),
    Architecture(
        "qwen2vl",
        tensors=plain(attention(bias=QKV_BIAS), dense()),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense()), n_positions=4),
        hugging_face=HuggingFace(
            classes=("Qwen2VLForConditionalGeneration", "Qwen2_5_VLForConditionalGeneration")
        ),
        plain={"rope.dimension_sections": [16, 24, 24, 0]},
    ),
    Architecture(
        "qwen2moe",
        tensors=plain(attention(bias=QKV_BIAS), *_MOE),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Shared(Experts(normed=False), gate=True))),
        hugging_face=HuggingFace(classes=("Qwen2MoeForCausalLM",)),
    ),
    Architecture(
        "qwen3",
        tensors=plain(attention(qk_norm="head"), dense()),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense())),
        hugging_face=HuggingFace(
            classes=("Qwen3ForCausalLM", "Qwen3Model"), bodies=("Qwen3Model",)
        ),
        is_llama_like=True,
        in_vllm=InVllm(),
    ),
    Architecture(
        "qwen3moe",
        tensors=plain(attention(qk_norm="head"), experts()),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Experts())),
        hugging_face=HuggingFace(classes=("Qwen3MoeForCausalLM",)),
        in_vllm=InVllm(on_every_stage_of_mixtures=True),
    ),
    Architecture(
        "qwen3vl",
        tensors=plain(attention(qk_norm="head"), dense()),
        caches=Caches(),
        graph=Blueprint(
            layer=WithImages(Residual(Attention(), Dense())),
            start="tokens with room for images",
            first_differs=True,
            n_positions=4,
        ),
        hugging_face=HuggingFace(classes=("Qwen3VLForConditionalGeneration",)),
        plain=_EYES,
        reads=("n_deepstack_layers",),
    ),
    Architecture(
        "qwen3vlmoe",
        tensors=plain(attention(qk_norm="head"), experts()),
        caches=Caches(),
        graph=Blueprint(
            layer=WithImages(Residual(Attention(), Experts())),
            start="tokens with room for images",
            first_differs=True,
            n_positions=4,
        ),
        hugging_face=HuggingFace(classes=("Qwen3VLMoeForConditionalGeneration",)),
        plain=_EYES,
        reads=("n_deepstack_layers",),
    ),
    Architecture(
        "qwen3next",
        guesses=True,
        tensors=_hybrid(_MOE, joint=True),
        caches=Caches(layers="state by interval"),
        graph=Blueprint(layer=_hybrid_layer(_SHARED, joint=True)),
        hugging_face=HuggingFace(
            classes=("Qwen3NextForCausalLM",),
            absent={"partial_rotary_factor": 0.25},
            fields=_delta_net,
        ),
        graph_nodes_per_token=40,
        in_vllm=InVllm(
            on_every_stage=frozenset({"embedding", "output"}),
            recurrent="gated delta",
            types=IN_16_BITS,
        ),
    ),
    Architecture(
        "qwen35",
        guesses=True,
        tensors=_hybrid((dense(),), joint=False),
        caches=Caches(layers="state by interval"),
        graph=Blueprint(layer=_hybrid_layer(Dense(), joint=False), n_positions=4),
        hugging_face=HuggingFace(
            classes=("Qwen3_5ForConditionalGeneration", "Qwen3_5ForCausalLM"), fields=_delta_net
        ),
        plain=_SECTIONS,
        goes_back=True,
        graph_nodes_per_token=40,
        in_vllm=_QWEN35_IN_VLLM,
    ),
    Architecture(
        "qwen35moe",
        guesses=True,
        tensors=_hybrid(_MOE, joint=False),
        caches=Caches(layers="state by interval"),
        graph=Blueprint(layer=_hybrid_layer(_SHARED, joint=False), n_positions=4),
        hugging_face=HuggingFace(
            classes=("Qwen3_5MoeForConditionalGeneration", "Qwen3_5MoeForCausalLM"),
            fields=_delta_net,
        ),
        plain=_SECTIONS,
        goes_back=True,
        graph_nodes_per_token=40,
        in_vllm=_QWEN35_IN_VLLM,
    ),
)
