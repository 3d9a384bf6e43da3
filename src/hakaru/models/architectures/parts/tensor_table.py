"""The tensor table of an architecture, and the blocks and layers that several architectures share.

Source: llama.cpp, src/models.
"""

from typing import Any, Final

from msgspec import Struct

from hakaru.models.architectures.parts.feed_forward import dense, experts, shared_expert
from hakaru.models.architectures.parts.sizes import (
    MAX_LAYERS,
    Block,
    Sizes,
    Tensors,
    either,
    lead,
    norm,
    table,
)

PROBS_BIAS: Final = "exp_probs_b.bias"


def output(m: Sizes, _: int) -> Tensors:
    """The output matrix, unless it is the embedding."""
    if not m.tied:
        yield "output.weight", (m.n_embd, m.n_vocab)


def rope(m: Sizes, _: int) -> Tensors:
    """Factors that stretch the positions (Llama 3.1, Phi's LongRoPE), once for the whole model."""
    for name in ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"):
        if name in m.having:
            yield name, (m.n_rot // 2,)


def nextn(m: Sizes, _: int) -> Tensors:
    """The tensors of a block for multi-token prediction beyond those of a layer."""
    yield "nextn.eh_proj.weight", (2 * m.n_embd, m.n_embd)
    yield "nextn.enorm.weight", (m.n_embd,)
    yield "nextn.hnorm.weight", (m.n_embd,)
    for name in ("nextn.embed_tokens.weight", "nextn.shared_head_head.weight"):
        if name in m.having:
            yield name, (m.n_embd, m.n_vocab)
    yield "nextn.shared_head_norm.weight", (m.n_embd,)


def append_nextn(hyperparameters: dict[str, Any], n: int) -> None:
    """Count `n` blocks for multi-token prediction with the layers, as converters do."""
    if 0 < n <= MAX_LAYERS:
        hyperparameters["block_count"] += n
        hyperparameters["nextn_predict_layers"] = n


TOKENS: Final = table("token_embd.weight", lambda m: (m.n_embd, m.n_vocab))


class TensorTable(Struct, frozen=True, kw_only=True):
    """The blocks that yield a model's tensors."""

    layer: tuple[Block, ...]  # of one layer
    nextn: tuple[Block, ...] = ()  # of a block for multi-token prediction
    nextn_loaded: tuple[str, ...] = ()
    """Beginnings of names. Of a block for multi-token prediction, llama.cpp loads these tensors
    alone.
    """
    start: tuple[Block, ...] = (TOKENS,)
    end: tuple[Block, ...] = (norm("output_norm"), output, rope)


def plain(attend: Block, feed: Block, *more: Block) -> TensorTable:
    """A norm, attention, a norm, feed-forward."""
    return TensorTable(layer=(norm("attn_norm"), attend, norm("ffn_norm"), feed, *more))


def sandwich(attend: Block, feed: Block) -> tuple[Block, ...]:
    """A layer with a norm before and after each half."""
    return (
        norm("attn_norm"),
        attend,
        norm("post_attention_norm"),
        norm("ffn_norm"),
        feed,
        norm("post_ffw_norm"),
    )


def post_normed(attend: Block, feed: Block) -> TensorTable:
    """A layer with a norm after each half."""
    return TensorTable(layer=(attend, norm("post_attention_norm"), feed, norm("post_ffw_norm")))


def has_experts(m: Sizes, _: int) -> bool:
    """True for a model with experts."""
    return m.n_expert > 0


def after_lead(*feed: Block) -> Block:
    """A dense feed-forward part in the first layers, `feed` in the later ones."""
    return either(lead, (dense(),), feed)


def attention_gate(*, of_heads: bool) -> Block:
    """A gate on the output of attention: one number for a head (`of_heads`), or for each element of
    a head.
    """

    def tensors(m: Sizes, layer: int) -> Tensors:
        yield "attn_gate.weight", (m.n_embd, m.n_head(layer) * (1 if of_heads else m.n_embd_head_k))

    return tensors


DENSE_OR_EXPERTS: Final = either(has_experts, (experts(width="dense"), shared_expert()), (dense(),))
WITH_SHARED: Final = after_lead(experts(probs_bias=PROBS_BIAS), shared_expert())
