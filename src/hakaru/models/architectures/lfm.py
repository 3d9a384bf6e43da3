"""Liquid's LFM2: layers of gated short convolutions, and some of attention."""

from collections.abc import Collection
from typing import Final

from hakaru.models.architectures.parts.attention import attention
from hakaru.models.architectures.parts.blueprint import (
    Attention,
    Blueprint,
    Dense,
    Experts,
    IfExperts,
    IfRecurrent,
    Residual,
)
from hakaru.models.architectures.parts.feed_forward import dense, experts
from hakaru.models.architectures.parts.recurrent import short_conv
from hakaru.models.architectures.parts.sizes import Block, either, norm, without_kv
from hakaru.models.architectures.parts.tensor_table import (
    PROBS_BIAS,
    TensorTable,
    after_lead,
    output,
)
from hakaru.models.architectures.record import (
    IN_16_BITS,
    SIGMOID,
    Architecture,
    Caches,
    HuggingFace,
    Hyperparameters,
    InVllm,
    Window,
)
from hakaru.models.config_values import ConfigValues


def _table(feed: Block) -> TensorTable:
    mix = either(without_kv, (short_conv,), (attention(qk_norm="head"),))
    return TensorTable(
        layer=(norm("attn_norm"), mix, norm("ffn_norm"), feed),
        end=(norm("token_embd_norm"), output),
    )


def _layer(feed: Dense | IfExperts) -> Residual:
    return Residual(IfRecurrent("short convolution", Attention()), feed, first=True, late=True)


def _short_conv(config: ConfigValues, hyperparameters: Hyperparameters, _: Collection[str]) -> None:
    types = config.texts("layer_types", hyperparameters["block_count"]) or ()
    heads = hyperparameters["attention.head_count_kv"]
    heads_kv = [heads if t == "full_attention" else 0 for t in types]
    hyperparameters["attention.head_count_kv"] = heads_kv
    hyperparameters["shortconv.l_cache"] = config.need("conv_L_cache")
    if config.flag("block_auto_adjust_ff_dim"):
        factor = config.real("block_ffn_dim_multiplier") or 1
        width = int(2 * config.need("block_ff_dim", "intermediate_size") / 3 * factor)
        multiple = config.need("block_multiple_of")
        hyperparameters["feed_forward_length"] = -(-width // multiple) * multiple


ARCHITECTURES: Final = (
    Architecture(
        "lfm2",
        tensors=_table(dense()),
        caches=Caches(layers="state without KV heads", window=Window(period=None)),
        graph=Blueprint(layer=_layer(Dense()), early_states=True, splits_attention=True),
        hugging_face=HuggingFace(
            classes=("Lfm2ForCausalLM",), bodies=("Lfm2Model",), fields=_short_conv
        ),
        reads=("shortconv.",),
        goes_back=True,
        in_vllm=InVllm(
            on_every_stage=frozenset({"embedding"}), recurrent="short convolution", types=IN_16_BITS
        ),
    ),
    Architecture(
        "lfm2moe",
        tensors=_table(after_lead(experts(probs_bias=PROBS_BIAS))),
        caches=Caches(layers="state without KV heads"),
        graph=Blueprint(
            layer=_layer(IfExperts(Experts(gating="stated"), Dense())),
            crossing_rows=(0, 1),
            early_states=True,
            splits_attention=True,
        ),
        hugging_face=HuggingFace(classes=("Lfm2MoeForCausalLM",), fields=_short_conv),
        plain=SIGMOID,
        reads=("shortconv.",),
        goes_back=True,
        in_vllm=InVllm(
            on_every_stage=frozenset({"embedding"}), recurrent="short convolution", types=IN_16_BITS
        ),
    ),
)
