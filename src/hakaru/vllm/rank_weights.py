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
from hakaru.models.architectures.record import InVllm
from hakaru.models.model import Model
from hakaru.models.shape import Shape
from hakaru.vllm.parallel import Parallel, n_own_layers, padded_vocab, stages
from hakaru.vllm.served_type import ServedType

MODELLED: Final = frozenset(name for name, record in ARCHITECTURES.items() if record.in_vllm)
"""Architectures whose ranks were held against the classes that vLLM builds."""
_BY_HEADS: Final = ("attn_q.",)
_BY_KV_HEADS: Final = ("attn_k.", "attn_v.")
_BY_ROWS: Final = ("ffn_gate.", "ffn_up.", "ffn_gate_shexp.", "ffn_up_shexp.")
_BY_COLUMNS: Final = ("attn_output.", "ffn_down.", "ffn_down_shexp.")
_EXPERTS: Final = ("ffn_gate_exps.", "ffn_up_exps.", "ffn_down_exps.")
_WHOLE: Final = ("ffn_gate_inp.", "exp_probs_b.")
_NO_WEIGHTS: Final = ("rope_",)
_PLACE: Final = re.compile(r"blk\.(\d+)\.(.+)")
_SCALES_OF_A_LAYER: Final = 16
_MORE_OF_FP8: Final = 8
"""Four numbers in F32 for attention in FP8, used or not; of an FP8 checkpoint the same again in 16
bits. Source: vLLM, model_executor/layers/attention and quantization/kv_cache.py.
"""


def check_modelled(model: Model) -> None:
    """Raises ModelUnknown for a model whose memory on vLLM is not written down."""
    shape = model.shape
    if shape.n_embd_head_k_mla or shape.n_lora_kv:
        what = say("latent attention (MLA)")
    elif shape.record.has_states:
        what = say("recurrent layers")
    elif any(cache.window for cache in shape.caches or ()):
        what = say("windows of attention")
    elif shape.record.in_vllm is None:
        what = say("its layers")
    else:
        return
    raise ModelUnknown(
        "{path}: architecture '{architecture}' ({reason}) is not modelled for vLLM yet; modelled "
        "are {known}.",
        path=model.path,
        architecture=shape.architecture,
        reason=what,
        known=", ".join(sorted(MODELLED)),
    )


def _as_held(shape: Shape) -> InVllm:
    return shape.record.in_vllm or InVllm()


def weights_by_stage(model: Model, served: ServedType, parallel: Parallel) -> tuple[int, ...]:
    """Bytes of one rank of each stage; all ranks of a stage hold as much. Raises ModelUnknown."""
    return with_ends(model, parallel, layer_bytes(model, served, parallel.tp))


def layer_bytes(model: Model, served: ServedType, tp: int) -> tuple[int, ...]:
    """Bytes of each layer on one of `tp` ranks. Raises ModelUnknown."""
    scales = _SCALES_OF_A_LAYER + (_MORE_OF_FP8 if served.width == "fp8" else 0)
    layers = [scales] * n_own_layers(model.shape)
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
        + rotary_bytes(model.shape)
        for n, part in enumerate(parts)
    )


def rotary_bytes(shape: Shape) -> int:
    """The table of the rotations of all positions, which all layers of a rank share, or two rows of
    frequencies in F32.

    Source: vLLM, RotaryEmbeddingBase in model_executor/layers/rotary_embedding/base.py.
    """
    if _as_held(shape).by_transformers:
        return 4 * shape.n_rot
    return 2 * (shape.n_ctx_train or 0) * shape.n_rot


def _ends_bytes(shape: Shape, tp: int, is_tied: bool, is_first: bool, is_last: bool) -> int:
    matrix = 2 * shape.n_embd * padded_vocab(shape.n_vocab) // tp
    if shape.n_expert and _as_held(shape).experts_embed_everywhere:
        return matrix * (1 if is_tied else 2) + 2 * shape.n_embd
    n = is_first + is_last - (is_tied and is_first and is_last)
    return matrix * n + (2 * shape.n_embd if is_last else 0)


def _tensor_bytes(model: Model, served: ServedType, tp: int, name: str, dims: Dims) -> int:
    """Bytes of a layer's tensor on one rank; `dims` has the length of a row first."""
    if name.startswith(_NO_WEIGHTS):
        return 0
    if name.startswith(_EXPERTS):
        n_in, n_out, n_expert = dims
        is_down = name.startswith("ffn_down")
        n_in, n_out = (n_in // tp, n_out) if is_down else (n_in, n_out // tp)
        return n_expert * served.matrix_bytes(n_in, n_out)
    if name.startswith(_WHOLE) or "norm." in name:
        in_f32 = name.startswith("ffn_gate_inp.") and _as_held(model.shape).routers_in_f32
        return (4 if in_f32 or name.startswith("exp_probs_b.") else 2) * math.prod(dims)
    out_parts = _out_parts(model.shape, name, tp)
    if out_parts is None and not name.startswith(_BY_COLUMNS):
        raise ModelUnknown(
            "{path}: tensor {name} is not modelled for vLLM.", path=model.path, name=name
        )
    if len(dims) == 1:  # a bias
        return 2 * (dims[0] * out_parts[0] // out_parts[1] if out_parts else dims[0])
    n_in, n_out = dims
    if out_parts is None:
        return served.matrix_bytes(n_in // tp, n_out)
    return served.matrix_bytes(n_in, n_out * out_parts[0] // out_parts[1])


def _out_parts(shape: Shape, name: str, tp: int) -> tuple[int, int] | None:
    """Which part of a matrix's rows lies on one rank, as a fraction; None for one that is divided
    by its columns.
    """
    if name.startswith((*_BY_HEADS, *_BY_ROWS)):
        return 1, tp
    if name.startswith(_BY_KV_HEADS):
        return kv_heads_of_rank(max(shape.n_head_kv), tp), max(shape.n_head_kv)
    return None


def kv_heads_of_rank(n_head_kv: int, tp: int) -> int:
    """KV heads on each rank: divided, or one where ranks share one."""
    return max(1, n_head_kv // tp)
