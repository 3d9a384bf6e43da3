"""What several architectures have in common, above single blocks: layers of a family, and what stands around them.

Source: llama.cpp, src/models.
"""

from dataclasses import dataclass
from typing import Final

from hakaru.models.architectures.attention import QKV_BIAS, attention, indexer, mla
from hakaru.models.architectures.feed_forward import dense, experts, shared_expert
from hakaru.models.architectures.recurrent import delta_net, is_linear, mamba2, short_conv
from hakaru.models.architectures.sizes import Block, Sizes, Tensors, either, lead, norm, table, without_kv

PROBS_BIAS: Final = "exp_probs_b.bias"


def output(m: Sizes, _: int) -> Tensors:
    """The output matrix, unless it is the embedding."""
    if not m.tied:
        yield "output.weight", (m.n_embd, m.n_vocab)


def rope(m: Sizes, _: int) -> Tensors:
    """Factors that stretch the positions (Llama 3.1's table, Phi's LongRoPE): converters write them once."""
    for name in ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"):
        if name in m.having:
            yield name, (m.n_rot // 2,)


def nextn(m: Sizes, _: int) -> Tensors:
    """What a block for multi-token prediction has besides a layer."""
    yield "nextn.eh_proj.weight", (2 * m.n_embd, m.n_embd)
    yield "nextn.enorm.weight", (m.n_embd,)
    yield "nextn.hnorm.weight", (m.n_embd,)
    for name in ("nextn.embed_tokens.weight", "nextn.shared_head_head.weight"):
        if name in m.having:
            yield name, (m.n_embd, m.n_vocab)
    yield "nextn.shared_head_norm.weight", (m.n_embd,)


TOKENS: Final = table("token_embd.weight", lambda m: (m.n_embd, m.n_vocab))


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The blocks of one layer, of a block for multi-token prediction, and what stands before and after them.

    llama.cpp leaves the block for multi-token prediction on disk, but for the tensors in `nextn_loaded` (by the beginning
    of their names), whose flags in its loader forget that.
    """

    layer: tuple[Block, ...]
    nextn: tuple[Block, ...] = ()
    nextn_loaded: tuple[str, ...] = ()
    start: tuple[Block, ...] = (TOKENS,)
    end: tuple[Block, ...] = (norm("output_norm"), output, rope)


def plain(attend: Block, feed: Block, *more: Block) -> Architecture:
    """A norm, attention, a norm, feed-forward."""
    return Architecture(layer=(norm("attn_norm"), attend, norm("ffn_norm"), feed, *more))


def has_experts(m: Sizes, _: int) -> bool:
    """A mixture, not a dense model."""
    return m.n_expert > 0


def after_lead(*feed: Block) -> Block:
    """Dense in the first layers, experts after them."""
    return either(lead, (dense(),), feed)


def qwen_linear(feed: tuple[Block, ...], *, joint: bool) -> Architecture:
    """Qwen3-Next and later: most layers are delta nets; the block for multi-token prediction attends."""
    full = attention(qk_norm="head", gated=True)
    norms = (norm("attn_norm"), norm("post_attention_norm"))
    return Architecture(
        layer=(*norms, either(is_linear, (delta_net(joint=joint),), (full,)), *feed), nextn=(*norms, full, *feed, nextn)
    )


def encoder(attend: Block, feed: Block, *start: Block) -> Architecture:
    """Post-normed encoder layers with token types."""
    types = table("token_types.weight", lambda m: (m.n_embd, m.n_token_types))
    return Architecture(
        layer=(attend, norm("attn_output_norm", bias=True), feed, norm("layer_output_norm", bias=True)),
        start=(TOKENS, types, *start, norm("token_embd_norm", bias=True)),
        end=(),
    )


DENSE_OR_EXPERTS: Final = either(has_experts, (experts(width="dense"), shared_expert()), (dense(),))
QWEN_MOE: Final = (experts(), shared_expert(router=True))
SHORT_CONV: Final = either(without_kv, (short_conv,), (attention(qk_norm="head"),))
DEEPSEEK: Final = (norm("attn_norm"), mla, norm("ffn_norm"), after_lead(experts(probs_bias=None), shared_expert()))
PROBS: Final = either(lambda m, i: not lead(m, i) and PROBS_BIAS in m.having, (table(PROBS_BIAS, lambda m: (m.n_expert,)),))
SPARSE: Final = (*DEEPSEEK, PROBS, indexer)
GLM_MOE: Final = (
    norm("attn_norm"), attention(bias=QKV_BIAS), norm("post_attention_norm"), after_lead(experts(probs_bias=PROBS_BIAS), shared_expert()),
)  # fmt: skip
QK_NORMED: Final = (norm("attn_norm"), attention(qk_norm="head"), norm("ffn_norm"))
NEMOTRON_MOE: Final = (experts(gate=False, probs_bias=PROBS_BIAS), shared_expert(gate=False))


def _is_state(m: Sizes, layer: int) -> bool:
    return without_kv(m, layer) and m.n_ff(layer) == 0


NEMOTRON_H: Final = Architecture(
    layer=(
        norm("attn_norm"),
        either(
            _is_state,
            (mamba2(),),
            (either(lambda m, i: m.n_ff(i) == 0, (attention(),), (either(has_experts, NEMOTRON_MOE, (dense(gate=False),)),)),),
        ),
    ),
    nextn=(norm("attn_norm"), attention(), norm("post_attention_norm"), *NEMOTRON_MOE, nextn),
)


def _linear(m: Sizes, _: int) -> Tensors:
    """DeciLM's linear attention: one matrix."""
    yield "attn_output.weight", (m.n_embd, m.n_embd)


DECI: Final = Architecture(
    layer=(
        either(lambda m, i: m.n_head(i) > 0, (norm("attn_norm"), either(without_kv, (_linear,), (attention(),)))),
        either(lambda m, i: m.n_ff(i) > 0, (norm("ffn_norm"), dense())),
    )
)


def attention_gate(*, of_heads: bool) -> Block:
    """A gate on the output of attention: one row for a head, or for each of its elements."""

    def tensors(m: Sizes, layer: int) -> Tensors:
        yield "attn_gate.weight", (m.n_embd, m.n_head(layer) * (1 if of_heads else m.n_embd_head_k))

    return tensors


POST_NORMED: Final = (norm("post_attention_norm"), dense(), norm("post_ffw_norm"))
