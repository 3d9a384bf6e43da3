"""The prediction of every tensor's type against llama.cpp's own quantizer, for headers of many
architectures.

The quantizer's dry run reads the keys and the tensor table and no weights, so a header followed by
a hole is enough. The names, and which of them a layer has, are llama.cpp's; the sizes are small
except where the rules depend on them.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
import pytest

import quantizer
from hakaru.errors import ModelUnknown
from hakaru.formats.gguf import read_header
from hakaru.formats.metadata import Metadata
from hakaru.models.mixture import preset_types
from hakaru.models.presets import FTYPES, NEEDS_IMPORTANCE
from hakaru.models.roster import Roster, quantizer_facts, roster

pytestmark = pytest.mark.engine

PRESETS: Final = FTYPES | NEEDS_IMPORTANCE
Tensors = Iterator[tuple[str, tuple[int, ...]]]  # name, shape with the row length first

GENERAL: Final = {
    "context_length": 2048, "embedding_length": 256, "block_count": 9, "feed_forward_length": 512,
    "vocab_size": 320, "attention.head_count": 4, "attention.head_count_kv": 2,
    "attention.layer_norm_rms_epsilon": 1e-5, "attention.layer_norm_epsilon": 1e-5,
    "attention.key_length": 64, "attention.value_length": 64, "rope.dimension_count": 64,
}  # fmt: skip
EXPERTS: Final = {
    "expert_used_count": 2,
    "expert_feed_forward_length": 256,
    "expert_weights_scale": 1.0,
    "expert_gating_func": 1,
}
LATENT: Final = {
    "attention.key_length_mla": 192, "attention.value_length_mla": 128,
    "attention.kv_lora_rank": 512, "attention.q_lora_rank": 192, "expert_shared_count": 1,
    "leading_dense_block_count": 1,
}  # fmt: skip
LINEAR: Final = {"ssm.conv_kernel": 4, "kda.head_dim": 64, "kda.gate_lower_bound": -5.0}
GLM5: Final = {
    "attention.indexer.head_count": 4, "attention.indexer.key_length": 64,
    "attention.indexer.top_k": 128, "attention.indexer.kpool": 4, "hyper_connection.count": 4,
    "hyper_connection.sinkhorn_iterations": 3, "hyper_connection.epsilon": 1e-6,
}  # fmt: skip
RECURRENT: Final = {
    "ssm.conv_kernel": 4,
    "ssm.inner_size": 512,
    "ssm.state_size": 16,
    "ssm.time_step_rank": 16,
    "ssm.group_count": 1,
}


def outside(n_embd: int = 256, *, n_vocab: int = 320, tied: bool = False) -> Tensors:
    """What stands before and after the layers."""
    yield "token_embd.weight", (n_embd, n_vocab)
    yield "output_norm.weight", (n_embd,)
    if not tied:
        yield "output.weight", (n_embd, n_vocab)


def attention(
    i: int,
    n_embd: int = 256,
    *,
    q: int = 256,
    kv: int = 128,
    bias: bool = False,
    norms: bool = False,
) -> Tensors:
    """Separate Q, K and V."""
    yield f"blk.{i}.attn_norm.weight", (n_embd,)
    for name, n in (("q", q), ("k", kv), ("v", kv)):
        yield f"blk.{i}.attn_{name}.weight", (n_embd, n)
        if bias:
            yield f"blk.{i}.attn_{name}.bias", (n,)
    if norms:
        yield f"blk.{i}.attn_q_norm.weight", (64,)
        yield f"blk.{i}.attn_k_norm.weight", (64,)
    yield f"blk.{i}.attn_output.weight", (q, n_embd)


def fused(i: int, n_embd: int = 256, *, qkv: int = 512) -> Tensors:
    """Q, K and V in one matrix."""
    yield f"blk.{i}.attn_norm.weight", (n_embd,)
    yield f"blk.{i}.attn_qkv.weight", (n_embd, qkv)
    yield f"blk.{i}.attn_output.weight", (n_embd, n_embd)


def latent(i: int, n_embd: int = 256, *, old: bool = False) -> Tensors:
    """DeepSeek's attention; older files have K and V of the latent in one matrix."""
    yield f"blk.{i}.attn_norm.weight", (n_embd,)
    yield f"blk.{i}.attn_q_a.weight", (n_embd, 192)
    yield f"blk.{i}.attn_q_a_norm.weight", (192,)
    yield f"blk.{i}.attn_q_b.weight", (192, 768)
    yield f"blk.{i}.attn_kv_a_mqa.weight", (n_embd, 576)
    yield f"blk.{i}.attn_kv_a_norm.weight", (512,)
    if old:
        yield f"blk.{i}.attn_kv_b.weight", (512, 1024)
    else:
        yield f"blk.{i}.attn_k_b.weight", (128, 512, 4)
        yield f"blk.{i}.attn_v_b.weight", (512, 128, 4)
    yield f"blk.{i}.attn_output.weight", (512, n_embd)


def dense(i: int, n_embd: int = 256, *, n_ff: int = 512, gate: bool = True) -> Tensors:
    """A feed-forward network."""
    yield f"blk.{i}.ffn_norm.weight", (n_embd,)
    if gate:
        yield f"blk.{i}.ffn_gate.weight", (n_embd, n_ff)
    yield f"blk.{i}.ffn_up.weight", (n_embd, n_ff)
    yield f"blk.{i}.ffn_down.weight", (n_ff, n_embd)


def experts(
    i: int, n: int, n_embd: int = 256, *, n_ff: int = 256, shared: bool = False, bias: bool = False
) -> Tensors:
    """A mixture of experts, with a router and perhaps a shared expert."""
    yield f"blk.{i}.ffn_norm.weight", (n_embd,)
    yield f"blk.{i}.ffn_gate_inp.weight", (n_embd, n)
    for name, shape in (("gate", (n_embd, n_ff)), ("up", (n_embd, n_ff)), ("down", (n_ff, n_embd))):
        yield f"blk.{i}.ffn_{name}_exps.weight", (*shape, n)
        if bias:
            yield f"blk.{i}.ffn_{name}_exps.bias", (shape[1], n)
        if shared:
            yield f"blk.{i}.ffn_{name}_shexp.weight", shape
    if shared:
        yield f"blk.{i}.ffn_gate_inp_shexp.weight", (n_embd,)


def mamba(i: int, n_embd: int = 256, *, two: bool = False) -> Tensors:
    """A recurrent layer of Mamba, or of Mamba 2."""
    yield f"blk.{i}.attn_norm.weight", (n_embd,)
    yield f"blk.{i}.ssm_in.weight", (n_embd, 1024)
    yield f"blk.{i}.ssm_conv1d.weight", (4, 512)
    yield f"blk.{i}.ssm_conv1d.bias", (512,)
    if two:
        yield f"blk.{i}.ssm_a", (1, 16)
        yield f"blk.{i}.ssm_d", (1, 16)
        yield f"blk.{i}.ssm_norm.weight", (512, 1)
    else:
        yield f"blk.{i}.ssm_x.weight", (512, 48)
        yield f"blk.{i}.ssm_dt.weight", (16, 512)
        yield f"blk.{i}.ssm_a", (16, 512)
        yield f"blk.{i}.ssm_d", (512,)
    yield f"blk.{i}.ssm_dt.bias", (16,)
    yield f"blk.{i}.ssm_out.weight", (512, n_embd)


def delta(i: int, n_embd: int = 256) -> Tensors:
    """A linear-attention layer of Qwen3-Next."""
    yield f"blk.{i}.attn_norm.weight", (n_embd,)
    yield f"blk.{i}.ssm_in.weight", (n_embd, 1024)
    yield f"blk.{i}.ssm_ba.weight", (n_embd, 32)
    yield f"blk.{i}.ssm_conv1d.weight", (4, 512)
    yield f"blk.{i}.ssm_out.weight", (512, n_embd)
    yield f"blk.{i}.post_attention_norm.weight", (n_embd,)


def rwkv(i: int, n_embd: int = 256) -> Tensors:
    """A layer of RWKV 7: small matrices that are kept, and large ones that are not."""
    for name, shape in (
        ("w0", (n_embd,)),
        ("w1", (n_embd, 64)),
        ("w2", (64, n_embd)),
        ("a1", (n_embd, 64)),
        ("a2", (64, n_embd)),
        ("v1", (n_embd, 32)),
        ("v2", (32, n_embd)),
        ("g1", (n_embd, 64)),
        ("g2", (64, n_embd)),
        ("lerp_fused", (n_embd, 1, 1, 6)),
        ("key", (n_embd, n_embd)),
        ("value", (n_embd, n_embd)),
        ("receptance", (n_embd, n_embd)),
        ("output", (n_embd, n_embd)),
        ("r_k", (64, 4)),
    ):
        yield f"blk.{i}.time_mix_{name}.weight", shape
    yield f"blk.{i}.channel_mix_key.weight", (n_embd, 512)
    yield f"blk.{i}.channel_mix_value.weight", (512, n_embd)


def gemma3n(i: int, n_embd: int = 256) -> Tensors:
    """What a layer of Gemma 3n has beside attention and the feed-forward network."""
    for name, shape in (
        ("altup_correct_coef", (4, 4)),
        ("altup_router", (n_embd, 4)),
        ("altup_predict_coef", (4, 16)),
        ("inp_gate", (n_embd, 256)),
        ("laurel_l", (n_embd, 64)),
        ("laurel_r", (64, n_embd)),
        ("proj", (256, n_embd)),
        ("per_layer_post_norm", (n_embd,)),
    ):
        yield f"blk.{i}.{name}.weight", shape


def shortconv(i: int, n_embd: int = 256) -> Tensors:
    """A convolution layer of LFM2."""
    yield f"blk.{i}.attn_norm.weight", (n_embd,)
    yield f"blk.{i}.shortconv.conv.weight", (3, n_embd)
    yield f"blk.{i}.shortconv.in_proj.weight", (n_embd, 3 * n_embd)
    yield f"blk.{i}.shortconv.out_proj.weight", (n_embd, n_embd)


def parallel(i: int) -> Tensors:
    """Attention and Mamba 2 side by side, as in Falcon-H1."""
    yield from attention(i)
    yield from (tensor for tensor in mamba(i, two=True) if "attn_norm" not in tensor[0])


def named(prefix: str, **shapes: tuple[int, ...]) -> Tensors:
    """Weights by the last part of their name."""
    for name, shape in shapes.items():
        yield f"{prefix}{name}.weight", shape


def kept() -> Tensors:
    """Matrices that the quantizer leaves alone by their name, whatever the architecture, and a few
    that it does not.
    """
    for part in (
        "attn_q_norm",
        "ffn_gate_inp",
        "ffn_gate_tid2eid",
        "altup_x",
        "laurel_l",
        "ssm_conv1d_q",
        "shortconv.conv",
        "indexer.k_proj",
        "indexer.q_proj",
        "attn_rel_b",
        "time_mix_first",
        *(f"time_mix_{x}{i}" for x in "wva" for i in range(3)),
        "time_mix_g1",
        "time_mix_g2",
        "time_mix_decay_w1",
        "time_mix_decay_w2",
        "time_mix_lerp_fused",
        "time_mix_decay",
        "ssm_f_a",
        "indexer.proj",
        "attn_k_b",
    ):
        yield f"blk.0.{part}.weight", (256, 256)
    for name in (
        "position_embd",
        "token_types",
        "v.position_embd",
        "v.patch_embd",
        "v.patch_merger",
        "sam.pos_embd",
        "sam.neck.0",
        "sam.net_2",
        "v.blk.0.attn.rel_pos_h",
        "a.rvq.codebook",
        "mm.a.code_embd",
        "per_layer_model_proj",
        "mm.0",
    ):
        yield f"{name}.weight", (256, 256)
    yield "blk.0.attn_q.scale", (256, 256)


def llama_like(
    n_layer: int = 9, n_embd: int = 256, *, n_ff: int = 512, tied: bool = False, **options: Any
) -> Tensors:
    """A dense decoder."""
    yield from outside(n_embd, tied=tied)
    for i in range(n_layer):
        yield from attention(i, n_embd, **options)
        yield from dense(i, n_embd, n_ff=n_ff)


def mixture_like(
    n_experts: int, *, n_layer: int = 9, n_dense: int = 0, shared: bool = False, **options: Any
) -> Tensors:
    """A decoder whose layers are mixtures of experts, the first few perhaps dense."""
    yield from outside()
    for i in range(n_layer):
        yield from attention(i, **options)
        yield from dense(i) if i < n_dense else experts(i, n_experts, shared=shared)


def every(*parts: Tensors) -> Tensors:
    """One after the other."""
    for part in parts:
        yield from part


def layers(*makers: Any, n_layer: int = 9) -> Tensors:
    """Each maker for each layer."""
    for i in range(n_layer):
        for make in makers:
            yield from make(i)


CASES: Final[dict[str, tuple[str, dict[str, Any], Any]]] = {
    "llama": ("llama", {}, lambda: llama_like()),
    "llama tied": ("llama", {}, lambda: llama_like(tied=True)),
    "llama, 12 layers, 8 heads on 1": ("llama",
        {"block_count": 12, "attention.head_count": 8, "attention.head_count_kv": 1},
        lambda: llama_like(12)),
    "llama, 17 layers": ("llama", {"block_count": 17}, lambda: llama_like(17)),
    "llama, rows of 576 and 1536": ("llama",
        {"embedding_length": 576, "block_count": 30, "attention.head_count": 9,
            "attention.head_count_kv": 3},
            lambda: llama_like(30, 576, n_ff=1536, q=576, kv=192, tied=True)),
    "llama, rows of 100": ("llama", {"embedding_length": 100},
        lambda: llama_like(9, 100, n_ff=200, q=100, kv=50)),
    "llama, rows of 48 and 32": ("llama", {"embedding_length": 32},
        lambda: llama_like(9, 32, n_ff=48, q=32, kv=32, tied=True)),
    "llama 65B": ("llama",
        {"block_count": 80, "attention.head_count": 64, "attention.head_count_kv": 64},
        lambda: llama_like(80)),
    "llama 70B": ("llama",
        {"block_count": 80, "attention.head_count": 64, "attention.head_count_kv": 8},
        lambda: llama_like(80, 8192, n_ff=28672, q=8192, kv=1024)),
    "llama 70B, 2 heads on 1": ("llama", {"block_count": 80}, lambda: llama_like(80)),
    "llama-embed 70B": ("llama-embed", {"block_count": 80}, lambda: llama_like(80)),
    "qwen2": ("qwen2", {}, lambda: llama_like(bias=True)),
    "qwen2 0.5B, rows of 896": ("qwen2",
        {"embedding_length": 896, "block_count": 24, "attention.head_count": 14},
        lambda: llama_like(24, 896, n_ff=4864, q=896, kv=128, bias=True, tied=True)),
    "qwen2 72B": ("qwen2",
        {"block_count": 80, "attention.head_count": 64, "attention.head_count_kv": 8},
        lambda: llama_like(80)),
    "qwen2, 80 layers, 2 heads on 1": ("qwen2", {"block_count": 80},
        lambda: llama_like(80, tied=True)),
    "deci, 80 layers": ("deci",
        {"block_count": 80, "attention.head_count": [0, *[4] * 79],
            "attention.head_count_kv": [0, *[2] * 79]}, lambda: llama_like(80)),
    "olmo, 80 layers": ("olmo", {"block_count": 80}, lambda: llama_like(80)),
    "jais2, 68 layers": ("jais2", {"block_count": 68}, lambda: llama_like(68)),
    "qwen3": ("qwen3", {}, lambda: llama_like(norms=True)),
    "qwen3 tied": ("qwen3",
        {"block_count": 28, "attention.head_count": 16, "attention.head_count_kv": 8},
        lambda: llama_like(28, norms=True, tied=True)),
    "qwen3, 80 layers": ("qwen3", {"block_count": 80}, lambda: llama_like(80, norms=True)),
    "openelm, heads by layer": ("openelm",
        {"attention.head_count": [12, *[20] * 8], "attention.head_count_kv": [3, *[10] * 8]},
        lambda: every(outside(tied=True), layers(fused, dense))),
    "mixtral": ("llama", {**EXPERTS, "expert_count": 8}, lambda: mixture_like(8)),
    "mixtral, 8 heads on 1": ("llama",
        {**EXPERTS, "expert_count": 8, "attention.head_count": 8, "attention.head_count_kv": 1},
        lambda: mixture_like(8)),
    "mixtral of 80 layers": ("llama", {**EXPERTS, "expert_count": 8, "block_count": 80},
        lambda: mixture_like(8, n_layer=80)),
    "two experts": ("llama", {**EXPERTS, "expert_count": 2}, lambda: mixture_like(2)),
    "four experts": ("llama", {**EXPERTS, "expert_count": 4}, lambda: mixture_like(4)),
    "qwen2moe": ("qwen2moe", {**EXPERTS, "expert_count": 60},
        lambda: mixture_like(60, shared=True, bias=True)),
    "qwen3moe": ("qwen3moe",
        {**EXPERTS, "expert_count": 128, "block_count": 12, "attention.head_count": 32,
            "attention.head_count_kv": 4}, lambda: mixture_like(128, n_layer=12, norms=True)),
    "glm4moe": ("glm4moe",
        {**EXPERTS, "expert_count": 16, "block_count": 10, "nextn_predict_layers": 1,
            "leading_dense_block_count": 1, "expert_shared_count": 1},
            lambda: every(mixture_like(16, n_layer=10, n_dense=1, shared=True),
        named("blk.9.nextn.", eh_proj=(512, 256), enorm=(256,), shared_head_head=(256, 320)))),
    "glm5-next": ("glm5-next", {**EXPERTS, **LATENT, **LINEAR, **GLM5, "expert_count": 16},
        lambda: every(outside(),
            layers(latent, lambda i: experts(i, 16, shared=True),
                lambda i: named(f"blk.{i}.", hc_attn_fn=(256, 24),
                    indexer_compressor_gate=(256, 64),
        indexer_compressor_ape=(256, 4), ssm_f_a=(256, 64), ssm_f_b=(64, 256), ssm_g_a=(256, 64),
        ssm_g_b=(64, 256), ssm_beta=(256, 4), ssm_out=(256, 256)),
        lambda i: named(f"blk.{i}.indexer.", attn_q_b=(192, 256), attn_k=(256, 64), proj=(256, 4))),
        named("blk.8.nextn.", eh_proj=(512, 256)))),
    "gpt-oss": ("gpt-oss",
        {**EXPERTS, "expert_count": 32, "embedding_length": 2880, "attention.head_count": 64,
            "attention.head_count_kv": 8, "attention.sliding_window": 128},
            lambda: every(outside(2880), layers(
        lambda i: attention(i, 2880, q=4096, kv=512, bias=True),
        lambda i: experts(i, 32, 2880, n_ff=2880, bias=True),
        lambda i: named(f"blk.{i}.", attn_sinks=(64,))))),
    "deepseek2": ("deepseek2",
        {**EXPERTS, **LATENT, "expert_count": 64, "attention.head_count_kv": 1},
        lambda: every(outside(), layers(latent), dense(0),
            *(experts(i, 64, shared=True) for i in range(1, 9)))),
    "deepseek2, kv_b": ("deepseek2", {**EXPERTS, **LATENT, "expert_count": 64},
        lambda: every(outside(), layers(lambda i: latent(i, old=True)), dense(0),
            *(experts(i, 64, shared=True) for i in range(1, 9)))),
    "bailingmoe3": ("bailingmoe3", {**EXPERTS, **LATENT, **LINEAR, "expert_count": 16},
        lambda: every(outside(), layers(latent), dense(0),
            *(experts(i, 16, shared=True) for i in range(1, 9)))),
    "gemma2": ("gemma2", {"attention.sliding_window": 128}, lambda: llama_like(tied=True)),
    "gemma3": ("gemma3",
        {"block_count": 26, "attention.sliding_window": 512, "attention.head_count_kv": 1},
        lambda: llama_like(26, norms=True, tied=True)),
    "gemma3n": ("gemma3n",
        {"attention.sliding_window": 512, "embedding_length_per_layer_input": 256,
            "attention.shared_kv_layers": 3},
            lambda: every(outside(tied=True),
                named("", per_layer_token_embd=(2304, 320), per_layer_model_proj=(256, 2304),
        per_layer_proj_norm=(256,), altup_proj=(256, 256, 3), altup_unembd_proj=(256, 256, 3)),
        layers(attention, dense, gemma3n))),
    "gemma4": ("gemma4",
        {"attention.sliding_window": 512,
            "attention.sliding_window_pattern": [True, False, True] * 3,
            "attention.key_length_swa": 64, "attention.value_length_swa": 64,
            "embedding_length_per_layer_input": 256, "attention.shared_kv_layers": 3},
        lambda: every(outside(tied=True),
            named("", per_layer_token_embd=(2304, 320), per_layer_model_proj=(256, 2304)),
        layers(attention, dense,
            lambda i: named(f"blk.{i}.", inp_gate=(256, 256), proj=(256, 256))))),
    "falcon": ("falcon",
        {"block_count": 32, "attention.head_count": 8, "attention.head_count_kv": 1},
        lambda: every(outside(), layers(fused, lambda i: dense(i, gate=False), n_layer=32))),
    "falcon tied, 2 heads on 1": ("falcon", {},
        lambda: every(outside(tied=True), layers(fused, lambda i: dense(i, gate=False)))),
    "falcon-h1": ("falcon-h1", RECURRENT, lambda: every(outside(), layers(parallel, dense))),
    "phi3": ("phi3", {}, lambda: every(outside(), layers(fused, lambda i: dense(i, gate=False)))),
    "phi2": ("phi2", {}, lambda: every(outside(), layers(fused, lambda i: dense(i, gate=False)))),
    "gpt2": ("gpt2", {},
        lambda: every(outside(tied=True), named("", position_embd=(256, 2048)),
            layers(fused, lambda i: dense(i, gate=False)))),
    "command-r": ("command-r", {"logit_scale": 0.1}, lambda: llama_like(tied=True)),
    "cohere2": ("cohere2", {"attention.sliding_window": 512, "logit_scale": 0.1},
        lambda: llama_like(tied=True)),
    "olmo2": ("olmo2", {}, lambda: llama_like(norms=True)),
    "smollm3": ("smollm3", {}, lambda: llama_like(tied=True)),
    "exaone4": ("exaone4", {}, lambda: llama_like(norms=True)),
    "ernie4_5": ("ernie4_5", {}, lambda: llama_like(tied=True)),
    "glm4": ("glm4", {}, lambda: llama_like(bias=True)),
    "nanbeige, layers twice": ("nanbeige", {"num_loops": 2}, lambda: llama_like()),
    "graniteswitch, a layer more": ("graniteswitch",
        {"block_count": 15, "logit_scale": 6.0, "adapters.count": 1, "adapters.lora_rank": 8,
            "adapters.token_ids_activate": [300], "adapters.token_ids_substitute": [1]},
            lambda: llama_like(15)),
    "granite": ("granite", {"logit_scale": 6.0}, lambda: llama_like(tied=True)),
    "granitehybrid": ("granitehybrid",
        {**RECURRENT, "logit_scale": 6.0, "attention.head_count_kv": [0, 0, 0, 2, 0, 0, 0, 0, 2]},
        lambda: every(outside(),
            *(attention(i) if i in {3, 8} else mamba(i, two=True) for i in range(9)),
            layers(dense))),
    "jamba": ("jamba",
        {**RECURRENT, **EXPERTS, "expert_count": 16,
            "attention.head_count_kv": [0, 0, 0, 2, 0, 0, 0, 0, 2]},
            lambda: every(outside(), *(attention(i) if i in {3, 8} else mamba(i) for i in range(9)),
                *(
        experts(i, 16) if i % 2 else dense(i) for i in range(9)))),
    "nemotron_h": ("nemotron_h",
        {**RECURRENT, "attention.head_count_kv": [0, 0, 0, 2, 0, 0, 0, 0, 2],
            "feed_forward_length": [0, 512, 0, 0, 512, 0, 512, 0, 0]},
            lambda: every(outside(), *(attention(i) if i in {3, 8} else
        dense(i, gate=False) if i in {1, 4, 6} else mamba(i, two=True) for i in range(9)))),
    "plamo2": ("plamo2", {**RECURRENT, "attention.head_count_kv": [0, 2, 0, 2, 0, 2, 0, 2, 0]},
        lambda: every(outside(), *(
        fused(i) if i % 2 else mamba(i) for i in range(9)),
        layers(lambda i: dense(i, gate=False)))),
    "mamba": ("mamba", {**RECURRENT, "attention.head_count": 0, "feed_forward_length": 0},
        lambda: every(outside(tied=True), layers(mamba))),
    "mamba2": ("mamba2", {**RECURRENT, "attention.head_count": 0, "feed_forward_length": 0},
        lambda: every(outside(), layers(lambda i: mamba(i, two=True)))),
    "rwkv7": ("rwkv7",
        {"wkv.head_size": 64, "attention.head_count": 0, "attention.decay_lora_rank": 64,
            "attention.iclr_lora_rank": 64, "attention.value_residual_mix_lora_rank": 32,
            "attention.gate_lora_rank": 64}, lambda: every(outside(), layers(rwkv))),
    "lfm2": ("lfm2",
        {"shortconv.l_cache": 3, "attention.head_count_kv": [0, 0, 2, 0, 0, 2, 0, 2, 0]},
        lambda: every(outside(tied=True), *(
        attention(i, norms=True) if i in {2, 5, 7} else shortconv(i) for i in range(9)),
        layers(dense))),
    "qwen3next": ("qwen3next",
        {**RECURRENT, **EXPERTS, "expert_count": 64, "expert_shared_feed_forward_length": 256},
        lambda: every(outside(),
            *(attention(i, q=512, norms=True) if i % 4 == 3 else delta(i) for i in range(9)),
            layers(lambda i: experts(i, 64, shared=True)))),
    "bert": ("bert", {"attention.causal": False},
        lambda: every(named("", token_embd=(384, 320), position_embd=(384, 512),
            token_types=(384, 2), token_embd_norm=(384,)),
            layers(lambda i: attention(i, 384, q=384, kv=384, bias=True),
        lambda i: dense(i, 384, n_ff=1536, gate=False)))),
    "t5encoder": ("t5encoder", {"attention.relative_buckets_count": 32},
        lambda: every(named("", token_embd=(256, 320)), *(
        named(f"enc.blk.{i}.", attn_rel_b=(4, 32), attn_q=(256, 256), attn_k=(256, 256),
            attn_v=(256, 256), attn_o=(256, 256),
        ffn_gate=(256, 512), ffn_up=(256, 512), ffn_down=(512, 256)) for i in range(12)))),
    "names that are kept": ("llama", {}, lambda: every(outside(), kept())),
    "a layer too many": ("llama", {**EXPERTS, "expert_count": 4},
        lambda: mixture_like(4, n_layer=10)),
}  # fmt: skip


def write_table(path: Path, case: str) -> Path:
    """A header with the keys and the tensors of a case, in F16, and a hole behind it."""
    architecture, changes, make = CASES[case]
    writer = gguf.GGUFWriter(path, architecture)
    for key, value in (GENERAL | changes).items():
        add = {
            list: writer.add_array,
            bool: writer.add_bool,
            int: writer.add_uint32,
            float: writer.add_float32,
        }[type(value)]
        add(f"{architecture}.{key}", value)
    writer.add_tokenizer_model("no_vocab")
    total = 0
    for name, shape in make():
        dtype = np.dtype(np.float32 if len(shape) == 1 else np.float16)
        n_bytes = int(np.prod(shape)) * dtype.itemsize
        writer.add_tensor_info(name, list(reversed(shape)), dtype, n_bytes)
        total += -(-n_bytes // 32) * 32
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    os.truncate(path, -(-path.stat().st_size // 32) * 32 + total)
    return path


def read_roster(path: Path) -> Roster:
    """The roster of a file."""
    header = read_header(path)
    return roster(quantizer_facts(Metadata(path, header.metadata)), header.tensors)


@pytest.mark.parametrize("case", [case for case in CASES if case != "a layer too many"])
def test_every_tensor_gets_the_type_that_the_quantizer_gives(
    native_engine: Path, tmp_path: Path, case: str
) -> None:
    """All presets, with those that need importance data: no tensor differs."""
    path = write_table(tmp_path / "table.gguf", case)
    model = read_roster(path)
    for preset, theirs in zip(
        PRESETS, quantizer.quantized_types(native_engine, path, list(PRESETS.values())), strict=True
    ):
        assert preset_types(model, preset) == theirs, preset


def test_the_embedded_model_gets_the_types_that_the_quantizer_gives(
    native_engine: Path, embedded: Path
) -> None:
    """A real file, already quantized, with rows of 576 that no block of 256 divides."""
    model = read_roster(embedded)
    for preset, theirs in zip(
        PRESETS,
        quantizer.quantized_types(native_engine, embedded, list(PRESETS.values())),
        strict=True,
    ):
        assert preset_types(model, preset) == theirs, preset


@pytest.mark.parametrize(
    "case", ["llama", "qwen2 72B", "mixtral", "qwen3moe", "falcon", "gpt-oss", "deepseek2, kv_b"]
)
def test_with_importance_data_the_quantizer_s_choice_is_ours_too(
    native_engine: Path, tmp_path: Path, case: str
) -> None:
    """What is in the data does not matter to the choice, only that there are any."""
    path = write_table(tmp_path / "table.gguf", case)
    model = read_roster(path)
    theirs_of_all = quantizer.quantized_types(
        native_engine, path, list(PRESETS.values()), has_imatrix=True
    )
    for preset, theirs in zip(PRESETS, theirs_of_all, strict=True):
        assert preset_types(model, preset, has_imatrix=True) == theirs, preset


def test_the_quantizer_refuses_what_we_refuse(native_engine: Path, tmp_path: Path) -> None:
    """An expert of a layer that the model does not have."""
    path = write_table(tmp_path / "table.gguf", "a layer too many")
    with pytest.raises(
        quantizer.QuantizerRefused, match=r"Bad layer 9 for tensor blk\.9\.ffn_down_exps\.weight"
    ):
        quantizer.quantized_types(native_engine, path, [FTYPES["Q4_K_M"]])
    with pytest.raises(ModelUnknown, match=r"blk\.9\.ffn_down_exps\.weight"):
        preset_types(read_roster(path), "Q4_K_M")
