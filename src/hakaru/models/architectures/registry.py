"""Which blocks each architecture is made of, by llama.cpp's names.

One entry is one `load_arch_tensors` in llama.cpp's src/models, minus what no converter writes today. Left out, because
llama.cpp knows them and hakaru does not yet: anything that is not a key of ARCHITECTURES.
"""

from dataclasses import dataclass
from typing import Final

from hakaru.models.architectures import gemma
from hakaru.models.architectures.attention import QKV_BIAS, attention, indexer, mla
from hakaru.models.architectures.feed_forward import dense, experts, shared_expert
from hakaru.models.architectures.recurrent import delta_net, is_linear, kimi_delta, mamba, mamba2, plamo_mamba, short_conv
from hakaru.models.architectures.sizes import Block, Sizes, Tensors, either, lead, norm, table, without_kv

PROBS_BIAS: Final = "exp_probs_b.bias"


def _output(m: Sizes, _: int) -> Tensors:
    if not m.tied:
        yield "output.weight", (m.n_embd, m.n_vocab)


def _rope(m: Sizes, _: int) -> Tensors:
    """Factors that stretch the positions (Llama 3.1's table, Phi's LongRoPE): converters write them once."""
    for name in ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"):
        if name in m.having:
            yield name, (m.n_rot // 2,)


def _nextn(m: Sizes, _: int) -> Tensors:
    """What a block for multi-token prediction has besides a layer."""
    yield "nextn.eh_proj.weight", (2 * m.n_embd, m.n_embd)
    yield "nextn.enorm.weight", (m.n_embd,)
    yield "nextn.hnorm.weight", (m.n_embd,)
    for name in ("nextn.embed_tokens.weight", "nextn.shared_head_head.weight"):
        if name in m.having:
            yield name, (m.n_embd, m.n_vocab)
    yield "nextn.shared_head_norm.weight", (m.n_embd,)


_TOKENS: Final = table("token_embd.weight", lambda m: (m.n_embd, m.n_vocab))


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """The blocks of one layer, of a block for multi-token prediction, and what stands before and after them.

    llama.cpp leaves the block for multi-token prediction on disk, but for the tensors in `nextn_loaded` (by the beginning
    of their names), whose flags in its loader forget that.
    """

    layer: tuple[Block, ...]
    nextn: tuple[Block, ...] = ()
    nextn_loaded: tuple[str, ...] = ()
    start: tuple[Block, ...] = (_TOKENS,)
    end: tuple[Block, ...] = (norm("output_norm"), _output, _rope)


def _plain(attend: Block, feed: Block) -> Architecture:
    """A norm, attention, a norm, feed-forward."""
    return Architecture(layer=(norm("attn_norm"), attend, norm("ffn_norm"), feed))


def _has_experts(m: Sizes, _: int) -> bool:
    return m.n_expert > 0


def _after_lead(*feed: Block) -> Block:
    """Dense in the first layers, experts after them."""
    return either(lead, (dense(),), feed)


def _qwen_linear(feed: tuple[Block, ...], *, joint: bool) -> Architecture:
    full = attention(qk_norm="head", gated=True)
    norms = (norm("attn_norm"), norm("post_attention_norm"))
    return Architecture(
        layer=(*norms, either(is_linear, (delta_net(joint=joint),), (full,)), *feed), nextn=(*norms, full, *feed, _nextn)
    )


def _bert(attend: Block, feed: Block, *start: Block) -> Architecture:
    """Post-normed encoder layers with token types."""
    types = table("token_types.weight", lambda m: (m.n_embd, m.n_token_types))
    return Architecture(
        layer=(attend, norm("attn_output_norm", bias=True), feed, norm("layer_output_norm", bias=True)),
        start=(_TOKENS, types, *start, norm("token_embd_norm", bias=True)),
        end=(),
    )


_EITHER: Final = either(_has_experts, (experts(width="dense"), shared_expert()), (dense(),))
_QWEN_MOE: Final = (experts(), shared_expert(router=True))
_SHORT_CONV: Final = either(without_kv, (short_conv,), (attention(qk_norm="head"),))
_DEEPSEEK: Final = (norm("attn_norm"), mla, norm("ffn_norm"), _after_lead(experts(probs_bias=None), shared_expert()))
_PROBS: Final = either(lambda m, i: not lead(m, i) and PROBS_BIAS in m.having, (table(PROBS_BIAS, lambda m: (m.n_expert,)),))
_SPARSE: Final = (*_DEEPSEEK, _PROBS, indexer)
_GLM_MOE: Final = (
    norm("attn_norm"), attention(bias=QKV_BIAS), norm("post_attention_norm"), _after_lead(experts(probs_bias=PROBS_BIAS), shared_expert()),
)  # fmt: skip
_HY3: Final = (norm("attn_norm"), attention(qk_norm="head"), norm("ffn_norm"))
_EXAONE_MOE: Final = (norm("attn_norm"), attention(qk_norm="head"), norm("ffn_norm"))
_NEMOTRON_MOE: Final = (experts(gate=False, probs_bias=PROBS_BIAS), shared_expert(gate=False))


def _is_state(m: Sizes, layer: int) -> bool:
    return without_kv(m, layer) and m.n_ff(layer) == 0


_NEMOTRON_H: Final = Architecture(
    layer=(
        norm("attn_norm"),
        either(
            _is_state,
            (mamba2(),),
            (either(lambda m, i: m.n_ff(i) == 0, (attention(),), (either(_has_experts, _NEMOTRON_MOE, (dense(gate=False),)),)),),
        ),
    ),
    nextn=(norm("attn_norm"), attention(), norm("post_attention_norm"), *_NEMOTRON_MOE, _nextn),
)

_POST_NORMED: Final = (norm("post_attention_norm"), dense(), norm("post_ffw_norm"))

ARCHITECTURES: Final[dict[str, Architecture]] = {
    "llama": _plain(attention(), _EITHER),
    "mistral3": _plain(attention(), _EITHER),
    "qwen2": _plain(attention(bias=QKV_BIAS), dense()),
    "qwen2vl": _plain(attention(bias=QKV_BIAS), dense()),
    "qwen2moe": Architecture(layer=(norm("attn_norm"), attention(bias=QKV_BIAS), norm("ffn_norm"), *_QWEN_MOE)),
    "qwen3": _plain(attention(qk_norm="head"), dense()),
    "qwen3vl": _plain(attention(qk_norm="head"), dense()),
    "qwen3moe": _plain(attention(qk_norm="head"), experts()),
    "qwen3vlmoe": _plain(attention(qk_norm="head"), experts()),
    "qwen3next": _qwen_linear(_QWEN_MOE, joint=True),
    "qwen35": _qwen_linear((dense(),), joint=False),
    "qwen35moe": _qwen_linear(_QWEN_MOE, joint=False),
    "gemma": _plain(attention(), dense()),
    "gemma2": Architecture(layer=gemma.GEMMA2),
    "gemma3": Architecture(layer=gemma.GEMMA3),
    "gemma-embedding": Architecture(layer=gemma.GEMMA3),
    "gemma3n": Architecture(layer=gemma.GEMMA3N, start=(_TOKENS, gemma.altup_model)),
    "gemma4": Architecture(layer=gemma.GEMMA4, start=(_TOKENS, gemma.per_layer_embeddings)),
    "phi3": _plain(attention(fused=True), dense(fused=True)),
    "phimoe": Architecture(
        layer=(
            norm("attn_norm", bias=True),
            attention(bias=(*QKV_BIAS, "attn_output.bias")),
            norm("ffn_norm", bias=True),
            experts(width="dense"),
        ),
        end=(norm("output_norm", bias=True), _output, table("output.bias", lambda m: (m.n_vocab,)), _rope),
    ),
    "gpt-oss": Architecture(
        layer=(
            norm("attn_norm"),
            attention(bias=(*QKV_BIAS, "attn_output.bias"), sinks=True),
            norm("post_attention_norm"),
            experts(bias=True),
        )
    ),
    "deepseek2": Architecture(layer=(*_DEEPSEEK, _PROBS)),
    "mistral4": Architecture(layer=(*_DEEPSEEK, _PROBS)),
    "deepseek32": Architecture(layer=_SPARSE, nextn=(*_SPARSE, _nextn), nextn_loaded=(PROBS_BIAS,)),
    "glm-dsa": Architecture(layer=_SPARSE, nextn=(*_SPARSE, _nextn), nextn_loaded=(PROBS_BIAS,)),
    "glm4": Architecture(layer=gemma.sandwich(attention(), dense(fused=True))),
    "glm4moe": Architecture(layer=_GLM_MOE, nextn=(*_GLM_MOE, _nextn)),
    "granite": _plain(attention(), _EITHER),
    "granitemoe": _plain(attention(), _EITHER),
    "granitehybrid": Architecture(
        layer=(norm("attn_norm"), either(without_kv, (mamba2(),), (attention(),)), norm("ffn_norm"), _EITHER)
    ),
    "falcon-h1": Architecture(
        layer=(norm("attn_norm"), mamba2(normed=False), attention(), table("ffn_norm", lambda m: (m.n_embd,)), dense())
    ),
    "lfm2": Architecture(
        layer=(norm("attn_norm"), _SHORT_CONV, norm("ffn_norm"), dense()), end=(norm("token_embd_norm"), _output)
    ),
    "lfm2moe": Architecture(
        layer=(norm("attn_norm"), _SHORT_CONV, norm("ffn_norm"), _after_lead(experts(probs_bias=PROBS_BIAS))),
        end=(norm("token_embd_norm"), _output),
    ),
    "nemotron_h": _NEMOTRON_H,
    "nemotron_h_moe": _NEMOTRON_H,
    "smollm3": _plain(attention(), dense()),
    "olmo2": Architecture(layer=(attention(qk_norm="whole"), *_POST_NORMED)),
    "olmoe": _plain(attention(qk_norm="whole"), experts(width="dense")),
    "cohere2": Architecture(layer=(norm("attn_norm"), attention(), dense())),
    "command-r": Architecture(
        layer=(norm("attn_norm"), either(lambda m, _: m.n_layer >= 64, (attention(qk_norm="heads"),), (attention(),)), dense())
    ),
    "ernie4_5": _plain(attention(), dense()),
    "ernie4_5-moe": _plain(attention(), _after_lead(experts(probs_bias=PROBS_BIAS), shared_expert())),
    "exaone": _plain(attention(), dense()),
    "exaone4": Architecture(layer=(attention(qk_norm="head"), *_POST_NORMED)),
    "exaone-moe": Architecture(
        layer=(*_EXAONE_MOE, _after_lead(experts(probs_bias=PROBS_BIAS), shared_expert())), nextn=(*_EXAONE_MOE, dense(), _nextn)
    ),
    "plamo2": Architecture(
        layer=(
            norm("attn_norm"),
            either(without_kv, (plamo_mamba,), (attention(qk_norm="heads", fused=True),)),
            table("post_attention_norm", lambda m: (m.n_embd,)),
            norm("ffn_norm"),
            dense(fused=True),
            table("post_ffw_norm", lambda m: (m.n_embd,)),
        )
    ),
    "llama4": _plain(
        attention(),
        either(lambda m, i: (i + 1) % m.number("interleave_moe_layer_step") == 0, (experts(), shared_expert()), (dense(),)),
    ),
    "minimax-m2": _plain(attention(qk_norm="whole"), experts(width="dense", probs_bias=PROBS_BIAS)),
    "hunyuan-dense": _plain(attention(qk_norm="head"), dense()),
    "hunyuan-moe": Architecture(
        layer=(norm("attn_norm"), attention(qk_norm="head"), norm("ffn_norm"), experts(width="dense"), shared_expert())
    ),
    "hy_v3": Architecture(
        layer=(*_HY3, _after_lead(experts(probs_bias="exp_probs_b"), shared_expert())),
        nextn=(*_HY3, experts(probs_bias="exp_probs_b"), shared_expert(), _nextn),
        nextn_loaded=("exp_probs_b", "ffn_gate", "ffn_up", "ffn_down", "nextn.embed_tokens.", "nextn.shared_head_"),
    ),
    "seed_oss": Architecture(layer=(norm("attn_norm"), attention(bias=QKV_BIAS), norm("post_attention_norm"), dense())),
    "kimi-linear": Architecture(
        layer=(
            norm("attn_norm"),
            either(without_kv, (kimi_delta,), (mla,)),
            norm("ffn_norm"),
            _after_lead(experts(probs_bias=PROBS_BIAS), shared_expert()),
        )
    ),
    "apertus": _plain(attention(qk_norm="head"), dense(gate=False)),
    "mamba": Architecture(layer=(norm("attn_norm"), mamba)),
    "mamba2": Architecture(layer=(norm("attn_norm"), mamba2())),
    "bert": _bert(
        attention(bias=(*QKV_BIAS, "attn_output.bias")),
        dense(gate=False, bias=True),
        table("position_embd.weight", lambda m: (m.n_embd, m.number("context_length"))),
    ),
    "nomic-bert": _bert(attention(), dense()),
    "modern-bert": Architecture(
        layer=(
            either(lambda _, i: i > 0, (norm("attn_norm"),)),
            attention(fused=True),
            norm("ffn_norm"),
            dense(fused=True),
        ),
        start=(_TOKENS, norm("token_embd_norm")),
        end=(norm("output_norm"),),
    ),
}
