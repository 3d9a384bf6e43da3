"""From hyperparameters to a tensor table: which tensors a converted model file has, and how large they are.

An architecture is a few blocks (`registry`); a block yields the tensors of one layer. The tables are compared with
llama.cpp itself: a header written from them is laid out by its loader, which refuses a missing, an extra or a wrongly
shaped tensor.
"""

from collections.abc import Collection, Iterator

from hakaru.errors import ModelUnknown
from hakaru.models.architectures.registry import ARCHITECTURES
from hakaru.models.architectures.sizes import Dims, Sizes
from hakaru.models.metadata import Metadata

__all__ = ["ARCHITECTURES", "is_loaded", "stays_f32", "tensors_of"]

_F32_MATRICES = (
    "ffn_gate_inp.", "ffn_gate_inp_shexp.", "position_embd.", "token_types.", "ssm_conv1d", "shortconv.conv.",
    "altup_correct_coef.", "altup_predict_coef.", "indexer.proj.",
)  # fmt: skip


def tensors_of(metadata: Metadata, *, n_vocab: int, tied: bool, having: Collection[str] = ()) -> Iterator[tuple[str, Dims]]:
    """Name and shape of every tensor that a converted file of this model has, layer by layer.

    Shapes are in GGML order: the row length first, as in `gguf.Tensor`. `tied`: the output matrix is the embedding.
    `having`: optional tensors, by name without the block (see `Sizes`). Raises ModelUnknown for an architecture without
    an entry, ModelDamaged for metadata that makes no sense. Source: llama.cpp, src/models and conversion.
    """
    architecture = ARCHITECTURES.get(metadata.architecture)
    if architecture is None:
        raise ModelUnknown(
            "{path}: the tensors of architecture '{found}' cannot be derived; known are {known}.",
            path=metadata.where, found=metadata.architecture, known=", ".join(sorted(ARCHITECTURES)),
        )  # fmt: skip
    sizes = Sizes(metadata, n_vocab=n_vocab, tied=tied, having=having)
    for block in architecture.start:
        yield from block(sizes, 0)
    for i in range(sizes.n_layer_all):
        for block in architecture.layer if i < sizes.n_layer else architecture.nextn:
            for name, shape in block(sizes, i):
                yield f"blk.{i}.{name}", shape
    for block in architecture.end:
        yield from block(sizes, 0)


def is_loaded(metadata: Metadata, name: str) -> bool:
    """Whether llama.cpp loads the tensor by default: the blocks for multi-token prediction stay on disk."""
    if not name.startswith("blk."):
        return True
    nextn = metadata.integer(metadata.own("nextn_predict_layers")) or 0
    return int(name.split(".", 2)[1]) < (metadata.integer(metadata.own("block_count")) or 0) - nextn


def stays_f32(name: str, shape: Dims) -> bool:
    """Whether converters keep the tensor in F32 in a 16-bit file: vectors, norms, routers, convolutions, positions.

    Source: llama.cpp, conversion/base.py (prepare_tensors).
    """
    if len(shape) == 1 or not name.endswith(".weight") or name.endswith("_norm.weight"):
        return True
    own = name.split(".", 2)[2] if name.startswith("blk.") else name
    return own.startswith(_F32_MATRICES)
