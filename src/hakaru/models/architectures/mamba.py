"""Mamba 1 and 2, and hybrids around them: Falcon H1, PLaMo 2."""

from typing import Final

from hakaru.models.architectures.parts.attention import attention
from hakaru.models.architectures.parts.blueprint import (
    Attention,
    Blueprint,
    Dense,
    IfRecurrent,
    Mamba2,
    Residual,
    Single,
)
from hakaru.models.architectures.parts.feed_forward import dense
from hakaru.models.architectures.parts.recurrent import mamba, mamba2, plamo_mamba
from hakaru.models.architectures.parts.sizes import Block, either, norm, table, without_kv
from hakaru.models.architectures.parts.tensor_table import TensorTable
from hakaru.models.architectures.record import IN_16_BITS, UNCONVERTED, Architecture, Caches, InVllm


def _bare_norm(name: str) -> Block:
    """A norm whose tensor has no `.weight` behind its name."""
    return table(name, lambda m: (m.n_embd,))


ARCHITECTURES: Final = (
    Architecture(
        "mamba",
        tensors=TensorTable(layer=(norm("attn_norm"), mamba)),
        caches=Caches(layers="state", grouped=False),
        graph=Blueprint(layer=Single("Mamba 1"), early_states=True),
        why_no_hugging_face=UNCONVERTED,
    ),
    Architecture(
        "mamba2",
        tensors=TensorTable(layer=(norm("attn_norm"), mamba2())),
        caches=Caches(layers="state"),
        graph=Blueprint(layer=Single(Mamba2()), early_states=True),
        why_no_hugging_face=UNCONVERTED,
    ),
    Architecture(
        "falcon-h1",
        tensors=TensorTable(
            layer=(
                norm("attn_norm"),
                mamba2(normed=False),
                attention(),
                _bare_norm("ffn_norm"),
                dense(),
            )
        ),
        caches=Caches(layers="attention and state"),
        graph=Blueprint(layer="attention beside state"),
        why_no_hugging_face=UNCONVERTED,
        in_vllm=InVllm(recurrent="mamba 2", scales_mixers=True, types=IN_16_BITS),
    ),
    Architecture(
        "plamo2",
        tensors=TensorTable(
            layer=(
                norm("attn_norm"),
                either(without_kv, (plamo_mamba,), (attention(qk_norm="heads", fused=True),)),
                _bare_norm("post_attention_norm"),
                norm("ffn_norm"),
                dense(fused=True),
                _bare_norm("post_ffw_norm"),
            )
        ),
        caches=Caches(layers="state without KV heads"),
        graph=Blueprint(
            layer=Residual(
                IfRecurrent("PLaMo's Mamba", Attention(fused=True)), Dense(fused=True), norms="both"
            ),
            early_states=True,
        ),
        why_no_hugging_face=UNCONVERTED,
    ),
)
