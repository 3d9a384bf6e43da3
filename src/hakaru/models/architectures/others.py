"""Architectures that stand alone or in pairs: gpt-oss, OLMo, ERNIE, Seed, Apertus, MiniMax, Laguna,
Trinity, MiMo.
"""

from collections.abc import Collection
from typing import Final

from hakaru.models.architectures.parts.attention import QKV_BIAS, attention
from hakaru.models.architectures.parts.blueprint import (
    Attention,
    Blueprint,
    Dense,
    Experts,
    IfExperts,
    Residual,
    Shared,
)
from hakaru.models.architectures.parts.feed_forward import dense, experts
from hakaru.models.architectures.parts.sizes import Sizes, either, norm, table
from hakaru.models.architectures.parts.tensor_table import (
    PROBS_BIAS,
    WITH_SHARED,
    TensorTable,
    after_lead,
    attention_gate,
    plain,
    post_normed,
    sandwich,
)
from hakaru.models.architectures.record import (
    ENDS,
    IN_16_BITS,
    SIGMOID,
    UNCONVERTED,
    Architecture,
    Caches,
    HuggingFace,
    Hyperparameters,
    InVllm,
    Window,
)
from hakaru.models.config_values import ConfigValues


def _gpt_oss(_: ConfigValues, hyperparameters: Hyperparameters, __: Collection[str]) -> None:
    width = hyperparameters.pop("feed_forward_length", 0)
    hyperparameters["expert_feed_forward_length"] = width


def _ernie_moe(config: ConfigValues, hyperparameters: Hyperparameters, _: Collection[str]) -> None:
    hyperparameters["interleave_moe_layer_step"] = config.number("moe_layer_interval") or 1


def _afmoe(config: ConfigValues, hyperparameters: Hyperparameters, _: Collection[str]) -> None:
    hyperparameters["expert_shared_count"] = config.number("num_shared_experts") or 0
    if window := config.number_if_any("sliding_window"):
        hyperparameters["attention.sliding_window"] = window


def _has_window(m: Sizes, layer: int) -> bool:
    """True for a layer with a window. In MiMo 2 only such layers have sinks."""
    return m.of("attention.sliding_window_pattern", layer) > 0


_SINKS: Final = table("attn_sinks.weight", lambda m: (max(m.all("attention.head_count")),))

ARCHITECTURES: Final = (
    Architecture(
        "gpt-oss",
        tensors=TensorTable(
            layer=(
                norm("attn_norm"),
                attention(bias=(*QKV_BIAS, "attn_output.bias"), sinks=True),
                norm("post_attention_norm"),
                experts(bias=True),
            )
        ),
        caches=Caches(window=Window(period=2)),
        graph=Blueprint(
            layer=Residual(Attention(), Experts(gating="chosen", normed=False)),
            end="logits beside rows",
        ),
        hugging_face=HuggingFace(classes=("GptOssForCausalLM",), fields=_gpt_oss, windows=True),
        trained_as=("MXFP4_MOE",),
        in_vllm=InVllm(on_every_stage=ENDS, rotations="32 bits", types=("mxfp4", *IN_16_BITS)),
    ),
    Architecture(
        "olmo2",
        tensors=post_normed(attention(qk_norm="whole"), dense()),
        caches=Caches(window=Window(period=4)),
        graph=Blueprint(
            layer=Residual(Attention(whole=True), Dense(), norms="after"), begins_normed=False
        ),
        hugging_face=HuggingFace(classes=("Olmo2ForCausalLM", "Olmo3ForCausalLM"), windows=True),
        in_vllm=InVllm(by_transformers=True),
    ),
    Architecture(
        "olmoe",
        tensors=plain(attention(qk_norm="whole"), experts(width="dense")),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(whole=True), Experts(normed=False))),
        hugging_face=HuggingFace(classes=("OlmoeForCausalLM",)),
    ),
    Architecture(
        "ernie4_5",
        tensors=plain(attention(), dense()),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense())),
        hugging_face=HuggingFace(
            classes=("Ernie4_5ForCausalLM", "Ernie4_5_ForCausalLM"), dropped=r"model\.mtp_"
        ),
    ),
    Architecture(
        "ernie4_5-moe",
        tensors=plain(attention(), WITH_SHARED),
        caches=Caches(),
        graph=Blueprint(
            layer=Residual(Attention(), IfExperts(Shared(Experts(biased=True)), Dense()))
        ),
        hugging_face=HuggingFace(
            classes=("Ernie4_5_MoeForCausalLM",), fields=_ernie_moe, dropped=r"model\.mtp_"
        ),
        reads=("interleave_moe_layer_step",),
    ),
    Architecture(
        "seed_oss",
        tensors=TensorTable(
            layer=(
                norm("attn_norm"),
                attention(bias=QKV_BIAS),
                norm("post_attention_norm"),
                dense(),
            )
        ),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense())),
        hugging_face=HuggingFace(classes=("SeedOssForCausalLM",)),
        in_vllm=InVllm(by_transformers=True),
    ),
    Architecture(
        "apertus",
        tensors=plain(attention(qk_norm="head"), dense(gate=False)),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense(gate=False))),
        hugging_face=HuggingFace(classes=("ApertusForCausalLM",)),
        plain={"xielu.alpha_n": 0.8, "xielu.alpha_p": 0.8, "xielu.beta": 0.5, "xielu.eps": -1e-6},
    ),
    Architecture(
        "minimax-m2",
        tensors=plain(attention(qk_norm="whole"), experts(width="dense", probs_bias=PROBS_BIAS)),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(whole=True), Experts(gating="stated"))),
        hugging_face=HuggingFace(classes=("MiniMaxM2ForCausalLM",)),
        plain=SIGMOID,
    ),
    Architecture(
        "laguna",
        tensors=plain(attention(qk_norm="head"), WITH_SHARED, attention_gate(of_heads=True)),
        caches=Caches(window=Window(period=4, dense_first=True)),
        graph=Blueprint(
            layer=Residual(
                Attention(gate="per head"), IfExperts(Shared(Experts(gating="stated")), Dense())
            )
        ),
        why_no_hugging_face=UNCONVERTED,
    ),
    Architecture(
        "afmoe",
        tensors=TensorTable(
            layer=(
                *sandwich(attention(qk_norm="head"), WITH_SHARED),
                attention_gate(of_heads=False),
            )
        ),
        caches=Caches(window=Window(period=4)),
        graph=Blueprint(
            layer=Residual(
                Attention(gate="per element"),
                IfExperts(Shared(Experts(gating="stated")), Dense()),
                norms="both",
            ),
            rope_period=4,
        ),
        hugging_face=HuggingFace(classes=("AfmoeForCausalLM",), fields=_afmoe),
    ),
    Architecture(
        "mimo2",
        guesses=True,
        tensors=TensorTable(
            layer=(
                norm("attn_norm"),
                attention(),
                either(_has_window, (_SINKS,)),
                norm("ffn_norm"),
                after_lead(experts(probs_bias=PROBS_BIAS)),
            )
        ),
        caches=Caches(window=Window(period=6)),
        graph=Blueprint(
            layer=Residual(Attention(), IfExperts(Experts(gating="sigmoid", biased=True), Dense())),
            end="logits beside rows",
        ),
        why_no_hugging_face=UNCONVERTED,
    ),
)
