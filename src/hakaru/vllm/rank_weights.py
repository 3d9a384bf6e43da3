"""Bytes of the weights of each rank, from the shapes of a model's tensors. Pure.

A matrix that makes heads or feed-forward values is divided by its rows, one that reads them by its
columns; keys and values that are fewer than the ranks are repeated. Embedding and output matrix are
divided by the vocabulary. Norms, routers and the biases of what is summed lie on every rank. Every
stage has its layers; the first has the embedding, the last the output.

Tensors have llama.cpp's names here, and the sizes are those of vLLM's own classes, which
`tests/vllm` builds from the same numbers without memory, rank by rank.
"""

import math
import re
from collections.abc import Sequence
from typing import Final

from hakaru.errors import ModelUnknown
from hakaru.formats.gguf import Dims
from hakaru.language import say
from hakaru.models.architectures import ARCHITECTURES
from hakaru.models.architectures.record import ENDS
from hakaru.models.model import Model
from hakaru.models.shape import Shape
from hakaru.vllm.mixers import convolved, held_as, mamba_2_in
from hakaru.vllm.parallel import Parallel, kv_heads_of_rank, n_own_layers, padded_vocab, stages
from hakaru.vllm.served_type import ServedType

MODELLED: Final = frozenset(name for name, record in ARCHITECTURES.items() if record.in_vllm)
"""Architectures whose ranks were held against the classes that vLLM builds."""
_BY_HEADS: Final = ("attn_q.", "attn_q_b.", "attn_sinks.", "attn_gate.", "attn_qkv.")
_BY_KV_HEADS: Final = ("attn_k.", "attn_v.")
_BY_ROWS: Final = (
    "ffn_gate.", "ffn_up.", "ffn_gate_shexp.", "ffn_up_shexp.", "ssm_a", "ssm_d", "ssm_alpha.",
    "ssm_ba.", "ssm_beta.", "shortconv.in_proj.",
)  # fmt: skip
_BY_COLUMNS: Final = (
    "attn_output.", "ffn_down.", "ffn_down_shexp.", "ssm_out.", "shortconv.out_proj.",
)  # fmt: skip
_CONVOLUTIONS: Final = ("ssm_conv1d.", "shortconv.conv.")
_LATENT: Final = ("attn_k_b.", "attn_v_b.")
_EXPERTS: Final = ("ffn_gate_exps.", "ffn_up_exps.", "ffn_down_exps.")
_ROUTERS: Final = ("ffn_gate_inp.", "exp_probs_b.", "ffn_gate_inp_shexp.")
_ON_EVERY_RANK: Final = ("attn_q_a.", "attn_kv_a_mqa.", "ffn_latent_down.", "ffn_latent_up.")
_NO_WEIGHTS: Final = ("rope_",)
_PLACE: Final = re.compile(r"blk\.(\d+)\.(.+)")
_SCALES_OF_A_LAYER: Final = 16
_MORE_OF_FP8: Final = 8
"""Four numbers in F32 for attention in FP8, used or not; of an FP8 checkpoint the same again in 16
bits, but for latent attention. Source: vLLM, model_executor/layers/attention and
quantization/kv_cache.py.
"""


def check_modelled(model: Model, served: ServedType | None = None) -> None:
    """Raises ModelUnknown for a model whose memory on vLLM is not written down, or not in the type
    in which it is to be served.
    """
    shape = model.shape
    record = shape.record.in_vllm
    if record is None:
        raise ModelUnknown(
            "{path}: architecture '{architecture}' ({reason}) is not modelled for vLLM yet; "
            "modelled are {known}.",
            path=model.path,
            architecture=shape.architecture,
            reason=_unlike(shape),
            known=", ".join(sorted(MODELLED)),
        )
    if served and served.name not in record.types:
        raise ModelUnknown(
            "{path}: architecture '{architecture}' was not compared with vLLM in '{type}'; name "
            "one of {known}.",
            path=model.path,
            architecture=shape.architecture,
            type=served.name,
            known=", ".join(record.types),
        )


def _unlike(shape: Shape) -> str:
    """What sets the layers apart from those of other models."""
    if shape.n_embd_head_k_mla or shape.n_lora_kv:
        return say("latent attention (MLA)")
    if shape.record.has_states:
        return say("recurrent layers")
    if any(cache.window for cache in shape.caches or ()):
        return say("windows of attention")
    return say("its layers")


def weights_by_stage(model: Model, served: ServedType, parallel: Parallel) -> tuple[int, ...]:
    """Bytes of one rank of each stage; all ranks of a stage hold as much. Raises ModelUnknown."""
    return with_ends(model, parallel, layer_bytes(model, served, parallel.tp))


def layer_bytes(model: Model, served: ServedType, tp: int) -> tuple[int, ...]:
    """Bytes of each layer on one of `tp` ranks. Raises ModelUnknown."""
    more = _MORE_OF_FP8 if served.width == "fp8" and not model.shape.n_lora_kv else 0
    scales = _SCALES_OF_A_LAYER + more
    caches = (model.shape.caches or ())[: n_own_layers(model.shape)]
    factors = 2 * mamba_2_in(model.shape, tp) if held_as(model.shape).scales_mixers else 0
    layers = [(scales if c.k else 0) + (factors if c.state else 0) for c in caches]
    for tensor in model.tensors:
        if (place := _PLACE.match(tensor.name)) and int(place[1]) < len(layers):
            layers[int(place[1])] += _tensor_bytes(model, served, tp, place[2], tensor.shape)
    return tuple(layers)


def with_ends(model: Model, parallel: Parallel, layers: Sequence[int]) -> tuple[int, ...]:
    """Bytes of one rank of each stage, from those of the layers on it."""
    is_tied = all(tensor.name != "output.weight" for tensor in model.tensors)
    parts = stages(len(layers), parallel.pp)
    return tuple(
        sum(layers[part.start : part.stop])
        + _ends_bytes(model.shape, parallel.tp, is_tied, n == 0, n == len(parts) - 1)
        + rotary_bytes(model.shape, part)
        + (2 if held_as(model.shape).scales_embedding else 0)
        for n, part in enumerate(parts)
    )


def rotary_bytes(shape: Shape, part: range) -> int:
    """The table of the rotations of all positions, which the layers of a rank share, or two rows of
    frequencies in F32.

    Source: vLLM, RotaryEmbeddingBase in model_executor/layers/rotary_embedding/base.py.
    """
    if held_as(shape).by_transformers:
        return 4 * shape.n_rot
    n, rotations = (shape.n_ctx_train or 0) * shape.n_rot, held_as(shape).rotations
    windows = {bool(cache.window) for cache in (shape.caches or ())[part.start : part.stop]}
    match rotations:
        case "none":
            return 0
        case "32 bits":
            return 4 * n
        case "by window":
            return 2 * n * len(windows)
    return 2 * n


def _ends_bytes(shape: Shape, tp: int, is_tied: bool, is_first: bool, is_last: bool) -> int:
    matrix = 2 * shape.n_embd * padded_vocab(shape.n_vocab) // tp
    held = held_as(shape)
    of_all = held.on_every_stage_of_mixtures and shape.n_expert
    everywhere = ENDS if of_all else held.on_every_stage
    has_output = is_last or "output" in everywhere
    has_embedding = is_first or "embedding" in everywhere or (is_tied and has_output)
    n = has_embedding + (has_output and not is_tied)
    return matrix * n + (2 * shape.n_embd if is_last or "norm" in everywhere else 0)


def _tensor_bytes(model: Model, served: ServedType, tp: int, name: str, dims: Dims) -> int:
    """Bytes of a layer's tensor on one rank; `dims` has the length of a row first."""
    shape = model.shape
    if name.startswith(_NO_WEIGHTS):
        return 0
    if name.startswith(_EXPERTS):
        return _experts_bytes(served, tp, name, dims)
    if name.startswith(_ROUTERS):
        in_f32 = name.startswith("ffn_gate_inp.") and held_as(shape).routers_in_f32
        return (4 if in_f32 or name.startswith("exp_probs_b.") else 2) * math.prod(dims)
    if "norm" in name:
        divides = name.startswith("ssm_norm") and held_as(shape).recurrent == "mamba 2"
        return 2 * math.prod(dims) // (tp if divides else 1)
    if name.startswith(_CONVOLUTIONS):
        return 2 * convolved(shape, tp) * (1 if name.endswith("bias") else dims[0])
    if name.startswith(_LATENT):
        return _latent_bytes(served, tp, name, dims)
    if len(dims) == 1 or dims[0] == 1:
        return _vector_bytes(model, tp, name, math.prod(dims))
    n_in, n_out = dims
    if name.startswith(_BY_COLUMNS):
        return served.matrix_bytes(n_in // tp, n_out)
    return served.matrix_bytes(n_in, _rows(model, tp, name, n_out))


def _rows(model: Model, tp: int, name: str, n_out: int) -> int:
    """Rows of a matrix on one rank."""
    shape = model.shape
    if name.startswith((*_BY_HEADS, *_BY_ROWS)):
        return n_out // tp
    if name.startswith(_BY_KV_HEADS):
        heads = max(shape.n_head_kv)
        return n_out * kv_heads_of_rank(heads, tp) // heads
    if name.startswith("ssm_in."):
        return mamba_2_in(shape, tp)
    if name.startswith(_ON_EVERY_RANK):
        return n_out
    raise ModelUnknown(
        "{path}: tensor {name} is not modelled for vLLM.", path=model.path, name=name
    )


def _vector_bytes(model: Model, tp: int, name: str, n: int) -> int:
    """A bias, or a number for each head; the decay of a state is in F32."""
    if name.startswith(_BY_COLUMNS):
        return 2 * n
    return (4 if name.startswith("ssm_a") else 2) * _rows(model, tp, name, n)


def _latent_bytes(served: ServedType, tp: int, name: str, dims: Dims) -> int:
    """A half of the matrix from the latent vector to the heads; quantized, it is kept in 16 bits,
    too, for decoding. Source: vLLM, split_kv_b_proj in layers/attention/mla_attention.py.
    """
    n_in, n_out, n_head = dims if name.startswith("attn_v_b.") else (dims[1], dims[0], dims[2])
    rows = n_out * n_head // tp
    copy = 0 if served.width == "16 bits" else 2 * n_in * rows
    return served.matrix_bytes(n_in, rows) + copy


def _experts_bytes(served: ServedType, tp: int, name: str, dims: Dims) -> int:
    """Of all experts; each is divided as a feed-forward part is. A bias may stand beside them."""
    is_down = name.startswith("ffn_down")
    if name.endswith("bias"):
        n_out, n_expert = dims
        return 2 * n_expert * served.padded_expert(n_out, tp, is_inner=not is_down)
    n_in, n_out, n_expert = dims
    n_in = served.padded_expert(n_in, tp, is_inner=is_down)
    n_out = served.padded_expert(n_out, tp, is_inner=not is_down)
    return n_expert * served.expert_bytes(n_in, n_out)
