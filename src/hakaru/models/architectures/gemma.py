"""Gemma's own tensors: norms on both sides, per-layer embeddings, layers that reuse another layer's keys.

Source: llama.cpp, src/models/{gemma2,gemma3,gemma3n,gemma4}.cpp and conversion/gemma.py.
"""

from hakaru.models.architectures.attention import attention
from hakaru.models.architectures.feed_forward import dense, experts
from hakaru.models.architectures.sizes import Block, Sizes, Tensors, either, norm

_N_ALTUP, _N_EMBD_ALTUP, _LAUREL_RANK = 4, 256, 64  # gemma3n: fixed in llama.cpp, src/llama-hparams.h


def sandwich(attend: Block, feed: Block) -> tuple[Block, ...]:
    """A layer with a norm before and after each half."""
    return (norm("attn_norm"), attend, norm("post_attention_norm"), norm("ffn_norm"), feed, norm("post_ffw_norm"))


def per_layer_embeddings(m: Sizes, _: int) -> Tensors:
    """The second embedding table, of which each layer reads a slice; absent where its length is 0."""
    if n := m.number("embedding_length_per_layer_input"):
        yield "per_layer_token_embd.weight", (n * m.n_layer, m.n_vocab)
        yield "per_layer_model_proj.weight", (m.n_embd, n * m.n_layer)
        yield "per_layer_proj_norm.weight", (n,)


def per_layer_input(m: Sizes, _: int) -> Tensors:
    """A layer's own part in the per-layer embeddings."""
    if n := m.number("embedding_length_per_layer_input"):
        yield "inp_gate.weight", (m.n_embd, n)
        yield "proj.weight", (n, m.n_embd)
        yield "post_norm.weight", (m.n_embd,)


def altup_model(m: Sizes, _: int) -> Tensors:
    """Gemma 3n's projections between its four parallel streams, and its per-layer embeddings."""
    yield "altup_proj.weight", (m.n_embd, m.n_embd, _N_ALTUP - 1)
    yield "altup_unembd_proj.weight", (m.n_embd, m.n_embd, _N_ALTUP - 1)
    yield "per_layer_token_embd.weight", (_N_EMBD_ALTUP * m.n_layer, m.n_vocab)
    yield "per_layer_model_proj.weight", (m.n_embd, _N_EMBD_ALTUP * m.n_layer)
    yield "per_layer_proj_norm.weight", (_N_EMBD_ALTUP,)


def altup_layer(m: Sizes, _: int) -> Tensors:
    """What a layer of Gemma 3n has besides attention and feed-forward."""
    yield "inp_gate.weight", (m.n_embd, _N_EMBD_ALTUP)
    yield "proj.weight", (_N_EMBD_ALTUP, m.n_embd)
    yield "post_norm.weight", (m.n_embd,)
    yield "altup_correct_coef.weight", (_N_ALTUP, _N_ALTUP)
    yield "altup_correct_scale.weight", (m.n_embd,)
    yield "altup_predict_coef.weight", (_N_ALTUP, _N_ALTUP**2)
    yield "altup_router.weight", (m.n_embd, _N_ALTUP)
    yield "altup_router_norm.weight", (m.n_embd,)
    yield "laurel_l.weight", (m.n_embd, _LAUREL_RANK)
    yield "laurel_r.weight", (_LAUREL_RANK, m.n_embd)
    yield "laurel_post_norm.weight", (m.n_embd,)


def gemma4_attention(m: Sizes, layer: int) -> Tensors:
    """Heads of two lengths, by window. A full layer may use its keys as values (`shared values` in `having`).

    Layers that reuse another layer's cache need no key and value, but published checkpoints hold them and converters keep
    them (`unused keys` in `having`); llama.cpp then loads them.
    """
    windowed = bool(m.of("attention.sliding_window_pattern", layer))
    size = m.number("attention.key_length_swa") if windowed else m.n_embd_head_k
    heads, heads_kv = m.n_head(layer), m.n_head_kv(layer)
    own_kv = layer < m.n_layer_all - m.number("attention.shared_kv_layers") or "unused keys" in m.having
    yield "attn_q.weight", (m.n_embd, heads * size)
    if own_kv:
        yield "attn_k.weight", (m.n_embd, heads_kv * size)
        if windowed or "shared values" not in m.having:
            yield "attn_v.weight", (m.n_embd, heads_kv * size)
    yield "attn_output.weight", (heads * size, m.n_embd)
    yield "attn_q_norm.weight", (size,)
    if own_kv:
        yield "attn_k_norm.weight", (size,)


def _gemma4_experts(m: Sizes, layer: int) -> Tensors:
    yield "ffn_gate_inp.scale", (m.n_embd,)
    yield "pre_ffw_norm_2.weight", (m.n_embd,)
    yield "post_ffw_norm_1.weight", (m.n_embd,)
    yield "post_ffw_norm_2.weight", (m.n_embd,)
    yield from experts(fused=True)(m, layer)
    yield "ffn_down_exps.scale", (m.n_expert,)


def layer_scale(_: Sizes, __: int) -> Tensors:
    """One number by which a layer's output is multiplied."""
    yield "layer_output_scale.weight", (1,)


GEMMA2 = sandwich(attention(), dense())
GEMMA3 = sandwich(attention(qk_norm="head"), dense())
GEMMA3N = (*GEMMA3, altup_layer)
GEMMA4 = (
    *sandwich(gemma4_attention, dense()),
    layer_scale,
    either(lambda m, _: m.n_expert > 0, (_gemma4_experts,)),
    per_layer_input,
)
