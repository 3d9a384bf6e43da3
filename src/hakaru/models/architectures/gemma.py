"""Gemma, 1 to 4: norms on both sides, per-layer embeddings, layers that reuse another layer's keys.

Source: llama.cpp, src/models/{gemma2,gemma3,gemma3n,gemma4}.cpp and conversion/gemma.py.
"""

from collections.abc import Collection
from typing import Final

from hakaru.models.architectures.parts.attention import attention
from hakaru.models.architectures.parts.blueprint import Attention, Blueprint, Dense, Residual
from hakaru.models.architectures.parts.feed_forward import dense, experts
from hakaru.models.architectures.parts.sizes import Sizes, Tensors, either
from hakaru.models.architectures.parts.tensor_table import TOKENS, TensorTable, plain, sandwich
from hakaru.models.architectures.record import (
    ENCODER,
    ENDS,
    IN_16_BITS,
    UNCONVERTED,
    Architecture,
    Caches,
    HuggingFace,
    Hyperparameters,
    InVllm,
    Window,
)
from hakaru.models.config_values import ConfigValues

# gemma3n: fixed in llama.cpp, src/llama-hparams.h
N_ALTUP, N_EMBD_ALTUP, LAUREL_RANK = 4, 256, 64


def _per_layer_embeddings(m: Sizes, _: int) -> Tensors:
    """The per-layer embeddings: a second embedding table, of which each layer reads a slice. Absent
    if the length of a slice is 0.
    """
    if n := m.number("embedding_length_per_layer_input"):
        yield "per_layer_token_embd.weight", (n * m.n_layer, m.n_vocab)
        yield "per_layer_model_proj.weight", (m.n_embd, n * m.n_layer)
        yield "per_layer_proj_norm.weight", (n,)


def _per_layer_input(m: Sizes, _: int) -> Tensors:
    """The tensors with which a layer uses its slice of the per-layer embeddings."""
    if n := m.number("embedding_length_per_layer_input"):
        yield "inp_gate.weight", (m.n_embd, n)
        yield "proj.weight", (n, m.n_embd)
        yield "post_norm.weight", (m.n_embd,)


def _altup_model(m: Sizes, _: int) -> Tensors:
    """Gemma 3n's projections between its four parallel streams, and its per-layer embeddings."""
    yield "altup_proj.weight", (m.n_embd, m.n_embd, N_ALTUP - 1)
    yield "altup_unembd_proj.weight", (m.n_embd, m.n_embd, N_ALTUP - 1)
    yield "per_layer_token_embd.weight", (N_EMBD_ALTUP * m.n_layer, m.n_vocab)
    yield "per_layer_model_proj.weight", (m.n_embd, N_EMBD_ALTUP * m.n_layer)
    yield "per_layer_proj_norm.weight", (N_EMBD_ALTUP,)


def _altup_layer(m: Sizes, _: int) -> Tensors:
    """The tensors of a layer of Gemma 3n beyond attention and feed-forward."""
    yield "inp_gate.weight", (m.n_embd, N_EMBD_ALTUP)
    yield "proj.weight", (N_EMBD_ALTUP, m.n_embd)
    yield "post_norm.weight", (m.n_embd,)
    yield "altup_correct_coef.weight", (N_ALTUP, N_ALTUP)
    yield "altup_correct_scale.weight", (m.n_embd,)
    yield "altup_predict_coef.weight", (N_ALTUP, N_ALTUP**2)
    yield "altup_router.weight", (m.n_embd, N_ALTUP)
    yield "altup_router_norm.weight", (m.n_embd,)
    yield "laurel_l.weight", (m.n_embd, LAUREL_RANK)
    yield "laurel_r.weight", (LAUREL_RANK, m.n_embd)
    yield "laurel_post_norm.weight", (m.n_embd,)


def _gemma4_attention(m: Sizes, layer: int) -> Tensors:
    """Attention whose heads have one length in layers with a window and another in full layers. A
    full layer may use its keys as values (`shared values` in `having`).

    A layer that reads another layer's cache needs no keys and values, but published checkpoints
    have them, and converters keep them (`unused keys` in `having`); llama.cpp then loads them.
    """
    windowed = bool(m.of("attention.sliding_window_pattern", layer))
    size = m.number("attention.key_length_swa") if windowed else m.n_embd_head_k
    heads, heads_kv = m.n_head(layer), m.n_head_kv(layer)
    n_own = m.n_layer_all - m.number("attention.shared_kv_layers")
    own_kv = layer < n_own or "unused keys" in m.having
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


def _layer_scale(_: Sizes, __: int) -> Tensors:
    """One number by which a layer's output is multiplied."""
    yield "layer_output_scale.weight", (1,)


_SANDWICH: Final = Residual(Attention(), Dense(), norms="both")
_GEMMA3: Final = sandwich(attention(qk_norm="head"), dense())
_GEMMA4: Final = (
    *sandwich(_gemma4_attention, dense()),
    _layer_scale,
    either(lambda m, _: m.n_expert > 0, (_gemma4_experts,)),
    _per_layer_input,
)


def _gemma4(config: ConfigValues, hyperparameters: Hyperparameters, _: Collection[str]) -> None:
    full, windowed = config.need("global_head_dim"), config.need("head_dim")
    n_layer, shared = hyperparameters["block_count"], config.number("num_kv_shared_layers") or 0
    types = config.texts("layer_types", n_layer) or ()
    hyperparameters |= {
        "attention.key_length": full,
        "attention.value_length": full,
        "rope.dimension_count": full,
        "attention.key_length_swa": windowed,
        "attention.value_length_swa": windowed,
        "attention.shared_kv_layers": shared,
        "embedding_length_per_layer_input": config.number("hidden_size_per_layer_input") or 0,
    }
    if config.flag("use_double_wide_mlp"):
        width = config.need("intermediate_size")
        widths = [width * (1 + (i >= n_layer - shared)) for i in range(n_layer)]
        hyperparameters["feed_forward_length"] = widths
    if (heads := config.number("num_global_key_value_heads")) is not None:
        own = hyperparameters["attention.head_count_kv"]
        heads_kv = [own if t == "sliding_attention" else heads for t in types]
        hyperparameters["attention.head_count_kv"] = heads_kv


def _gemma4_having(
    config: ConfigValues, hyperparameters: Hyperparameters, names: Collection[str]
) -> set[str]:
    """Its converter computes rope factors. Shared values and unused keys: see
    `_gemma4_attention`.
    """
    having = {"rope_freqs.weight"}
    if config.flag("attention_k_eq_v"):
        having.add("shared values")
    last = f"layers.{hyperparameters['block_count'] - 1}.self_attn.k_proj."
    if hyperparameters["attention.shared_kv_layers"] and any(last in n for n in names):
        having.add("unused keys")
    return having


ARCHITECTURES: Final = (
    Architecture(
        "gemma",
        tensors=plain(attention(), dense()),
        caches=Caches(),
        graph=Blueprint(layer=Residual(Attention(), Dense())),
        hugging_face=HuggingFace(classes=("GemmaForCausalLM",), tied="always"),
    ),
    Architecture(
        "gemma2",
        tensors=TensorTable(layer=sandwich(attention(), dense())),
        caches=Caches(window=Window(period=2, default=4096)),
        graph=Blueprint(layer=_SANDWICH),
        hugging_face=HuggingFace(
            classes=("Gemma2ForCausalLM",), absent={"head_dim": 256}, windows=True, tied="always"
        ),
        in_vllm=InVllm(on_every_stage=ENDS, scales_embedding=True, types=IN_16_BITS),
    ),
    Architecture(
        "gemma3",
        tensors=TensorTable(layer=_GEMMA3),
        caches=Caches(window=Window(period=6)),
        graph=Blueprint(layer=_SANDWICH, start="tokens, scaled"),
        hugging_face=HuggingFace(
            classes=("Gemma3ForCausalLM", "Gemma3ForConditionalGeneration"),
            bodies=("Gemma3TextModel",),
            absent={  # published files with a vision tower leave these to the class
                "num_attention_heads": 8,
                "num_key_value_heads": 4,
                "head_dim": 256,
                "max_position_embeddings": 131072,
            },
            windows=True,
            tied="always",
        ),
        in_vllm=InVllm(
            on_every_stage=ENDS,
            rotations="by window",
            scales_embedding=True,
            sees=True,
            types=IN_16_BITS,
        ),
    ),
    Architecture(
        "gemma3n",
        tensors=TensorTable(layer=(*_GEMMA3, _altup_layer), start=(TOKENS, _altup_model)),
        caches=Caches(window=Window(period=5), n_own=20),
        graph=Blueprint(
            layer="streams",
            start="tokens, then parts of layers",
            end="streams, logits",
            trimmed=False,
            begins_normed=False,
            first_differs=True,
            n_sparse=10,
            n_streams=N_ALTUP,
            n_embd_per_layer=N_EMBD_ALTUP,
            crossing_rows=(7, 8),
        ),
        why_no_hugging_face=UNCONVERTED,
        reads=("embedding_length_per_layer_input",),
        output_first=True,
    ),
    Architecture(
        "gemma4",
        tensors=TensorTable(layer=_GEMMA4, start=(TOKENS, _per_layer_embeddings)),
        caches=Caches(window=Window(period=6), shares=True),
        graph=Blueprint(
            layer="part of layers",
            start="parts of layers, then tokens",
            first_differs=True,
            shares_values=True,
        ),
        hugging_face=HuggingFace(
            classes=("Gemma4ForCausalLM", "Gemma4ForConditionalGeneration"),
            fields=_gemma4,
            windows=True,
            tied="always",
            having=_gemma4_having,
        ),
        reads=("embedding_length_per_layer_input",),
        output_first=True,
    ),
    Architecture(
        "gemma-embedding",
        tensors=TensorTable(layer=_GEMMA3),
        caches=Caches(layers="nothing"),
        graph=Blueprint(layer=_SANDWICH, start="tokens, scaled, two masks", end="norm"),
        why_no_hugging_face=UNCONVERTED,
        plain=ENCODER,
        purpose="embedding",
    ),
)
