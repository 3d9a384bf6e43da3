"""Tencent's Hunyuan, dense and with experts, and Hy 3."""

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
from hakaru.models.architectures.parts.sizes import norm
from hakaru.models.architectures.parts.tensor_table import TensorTable, after_lead, nextn, plain
from hakaru.models.architectures.record import UNCONVERTED, Architecture, Caches, HuggingFace

_ATTEND: Final = (norm("attn_norm"), attention(qk_norm="head"), norm("ffn_norm"))
_MOE: Final = (experts(probs_bias="exp_probs_b"), shared_expert())

ARCHITECTURES: Final = (
    Architecture(
        "hunyuan-dense",
        tensors=plain(attention(qk_norm="head"), dense()),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense())),
        hugging_face=HuggingFace(classes=("HunYuanDenseV1ForCausalLM",), tied="by config"),
    ),
    Architecture(
        "hunyuan-moe",
        tensors=plain(attention(qk_norm="head"), experts(width="dense"), shared_expert()),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Shared(Experts()))),
        why_no_hugging_face=UNCONVERTED,
    ),
    Architecture(
        "hy_v3",
        guesses=True,
        tensors=TensorTable(
            layer=(*_ATTEND, after_lead(*_MOE)),
            nextn=(*_ATTEND, *_MOE, nextn),
            nextn_loaded=(
                "exp_probs_b",
                "ffn_gate",
                "ffn_up",
                "ffn_down",
                "nextn.embed_tokens.",
                "nextn.shared_head_",
            ),
        ),
        caches=Caches(),
        graph=Blueprint(
            layer=Residual(Attention(), IfExperts(Shared(Experts(gating="stated")), Dense()))
        ),
        why_no_hugging_face=UNCONVERTED,
    ),
)
