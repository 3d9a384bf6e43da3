"""The tensors of attention: heads with shared keys (GQA), and multi-head latent attention (MLA)."""

from collections.abc import Collection
from typing import Final, Literal

from hakaru.models.architectures.parts.sizes import Block, Sizes, Tensors

QKV_BIAS: Final = ("attn_q.bias", "attn_k.bias", "attn_v.bias")


def attention(
    *,
    bias: Collection[str] = (),
    qk_norm: Literal["head", "heads", "whole"] | None = None,
    fused: bool = False,
    gated: bool = False,
    sinks: bool = False,
) -> Block:
    """Query, key, value and output matrices.

    `qk_norm`: one norm that all heads share ("head"), one norm for each head ("heads"), or one norm
    over all heads ("whole"). `gated` doubles the query rows (Qwen3-Next's output gate). `fused`:
    the three matrices are one. A bias is there if `bias` or the model's `having` names it. Source:
    llama.cpp, src/llama-model.cpp (create_tensor_qkv) and src/models.
    """

    def tensors(m: Sizes, layer: int) -> Tensors:
        heads, heads_kv = m.n_head(layer), m.n_head_kv(layer)
        k, v = m.n_embd_head_k, m.n_embd_head_v
        rows = {"attn_q": heads * k * (1 + gated), "attn_k": heads_kv * k, "attn_v": heads_kv * v}
        if fused:
            rows = {"attn_qkv": sum(rows.values())}
        for name, n in rows.items():
            yield f"{name}.weight", (m.n_embd, n)
            if f"{name}.bias" in bias or f"{name}.bias" in m.having:
                yield f"{name}.bias", (n,)
        yield "attn_output.weight", (heads * v, m.n_embd)
        if "attn_output.bias" in bias or "attn_output.bias" in m.having:
            yield "attn_output.bias", (m.n_embd,)
        if qk_norm or "attn_q_norm.weight" in m.having:
            for name, n in (("attn_q_norm.weight", heads), ("attn_k_norm.weight", heads_kv)):
                yield name, {"head": (k,), "heads": (k, n), "whole": (k * n,)}[qk_norm or "head"]
        if sinks:
            yield "attn_sinks.weight", (heads,)

    return tensors


def mla(m: Sizes, layer: int) -> Tensors:
    """Multi-head latent attention: keys and values in a small latent space, whose up-projections
    are split in two.

    Source: llama.cpp, src/models/deepseek2.cpp and conversion/deepseek.py.
    """
    heads = m.n_head(layer)
    q_rank, kv_rank = m.number("attention.q_lora_rank"), m.number("attention.kv_lora_rank")
    k, v = m.number("attention.key_length_mla"), m.number("attention.value_length_mla")
    if q_rank:
        yield "attn_q_a.weight", (m.n_embd, q_rank)
        yield "attn_q_a_norm.weight", (q_rank,)
        yield "attn_q_b.weight", (q_rank, heads * k)
    else:
        yield "attn_q.weight", (m.n_embd, heads * k)
    yield "attn_kv_a_mqa.weight", (m.n_embd, kv_rank + m.n_rot)
    yield "attn_kv_a_norm.weight", (kv_rank,)
    yield "attn_k_b.weight", (k - m.n_rot, kv_rank, heads)
    yield "attn_v_b.weight", (kv_rank, v, heads)
    yield "attn_output.weight", (heads * v, m.n_embd)


def indexer(m: Sizes, layer: int) -> Tensors:
    """DeepSeek's sparse attention: a small key per token and its query. A layer without tensors of
    its own uses those of another layer.

    Source: llama.cpp, src/models/{deepseek32,glm-dsa}.cpp.
    """
    types = m.main("attention.indexer.types")
    if layer < m.n_layer and types and not types[layer]:
        return
    heads, size = m.number("attention.indexer.head_count"), m.number("attention.indexer.key_length")
    yield "indexer.k_norm.weight", (size,)
    yield "indexer.k_norm.bias", (size,)
    yield "indexer.proj.weight", (m.n_embd, heads)
    yield "indexer.attn_k.weight", (m.n_embd, size)
    yield "indexer.attn_q_b.weight", (m.number("attention.q_lora_rank"), heads * size)
