"""From hyperparameters to a tensor table: which tensors a converted model file has, and how large
they are.

A record's `tensors` are a few blocks; a block yields the tensors of one layer. The tables are
compared with llama.cpp itself: a header written from them is laid out by its loader, which refuses
a missing, an extra or a wrongly shaped tensor.
"""

from collections.abc import Collection, Iterable, Iterator

from hakaru.errors import ModelUnknown
from hakaru.formats.gguf import ALIGNMENT, Dims, Tensor, padded
from hakaru.formats.metadata import Metadata
from hakaru.language import listed
from hakaru.models.architectures.families import ARCHITECTURES, architecture
from hakaru.models.architectures.parts.sizes import Sizes


def tensors_of(
    metadata: Metadata, *, n_vocab: int, tied: bool, having: Collection[str] = ()
) -> Iterator[tuple[str, Dims]]:
    """Name and shape of every tensor that a converted file of this model has, layer by layer.

    Shapes are in GGML's order: the length of a row comes first. `tied`: the output matrix is the
    embedding. `having`: optional tensors, by name without the block (see `Sizes`). Raises
    ModelUnknown for an architecture without a table, ModelDamaged for metadata that makes no sense.
    Source: llama.cpp, src/models and conversion.
    """
    table = architecture(metadata.architecture).tensors
    if table is None:
        raise ModelUnknown(
            "{path}: the tensors of architecture '{found}' cannot be derived; known are {known}.",
            path=metadata.where,
            found=metadata.architecture,
            known=listed(sorted(r.name for r in ARCHITECTURES.values() if r.tensors)),
        )
    sizes = Sizes(metadata, n_vocab=n_vocab, tied=tied, having=having)
    for block in table.start:
        yield from block(sizes, 0)
    for i in range(sizes.n_layer_all):
        for block in table.layer if i < sizes.n_layer else table.nextn:
            for name, shape in block(sizes, i):
                yield f"blk.{i}.{name}", shape
    for block in table.end:
        yield from block(sizes, 0)


def is_loaded(metadata: Metadata, name: str) -> bool:
    """True if llama.cpp loads the tensor by default. Blocks for multi-token prediction stay on
    disk.

    Source: llama.cpp, TENSOR_SKIP in src/models.
    """
    if not name.startswith("blk."):
        return True
    _, block, role = name.split(".", 2)
    nextn = metadata.integer(metadata.arch_key("nextn_predict_layers")) or 0
    if int(block) < (metadata.integer(metadata.arch_key("block_count")) or 0) - nextn:
        return True
    table = architecture(metadata.architecture).tensors
    return table is not None and role.startswith(table.nextn_loaded)


def loaded(metadata: Metadata, tensors: Iterable[Tensor]) -> Iterator[Tensor]:
    """The tensors that llama.cpp gives a place in its buffers, in the order of the file.

    A tied embedding comes twice for architectures whose loader asks for the output matrix before
    the embedding (Gemma 3n and 4): one device then has two copies, unless the file is mapped.
    """
    some_stay = bool(metadata.integer(metadata.arch_key("nextn_predict_layers")))
    placed = [t for t in tensors if not some_stay or is_loaded(metadata, t.name)]
    tied = all(tensor.name != "output.weight" for tensor in placed)
    twice = tied and architecture(metadata.architecture).output_first
    for tensor in placed:
        yield tensor
        if twice and tensor.name == "token_embd.weight":
            yield tensor


def buffer_bytes(tensors: Iterable[Tensor], *, alignment: int = ALIGNMENT) -> int:
    """Bytes of the buffer that holds `tensors`. Every tensor begins at a multiple of the alignment,
    which is 32 in host memory.
    """
    return sum(padded(tensor.n_bytes, alignment) for tensor in tensors)
