"""A recipe, tensor by tensor: where a tensor lies in the source, where it goes, and in which type.

Also: which types ggml does not write, and which it does not write without importance data.
"""

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from hakaru.engine.builds import lab_build
from hakaru.engine.jobs import TensorJob
from hakaru.errors import Misuse
from hakaru.formats.gguf import Tensor
from hakaru.formats.quant_types import BY_ID
from hakaru.models.model import Model
from hakaru.quantization.blobs import blob_key
from hakaru.quantization.importance_file import Vectors
from hakaru.quantization.layout import Layout, PlannedFile, Stored

NOT_WRITTEN: Final = {"Q8_1", "Q8_K", "I8", "I16", "I32", "I64", "F64"}
"""Types that ggml does not quantize to: helpers of its arithmetic, and plain numbers."""
ALWAYS_NEED_IMPORTANCE: Final = {"IQ2_XXS", "IQ2_XS", "IQ1_S"}
"""llama.cpp, ggml/src/ggml.c: ggml_quantize_requires_imatrix; ggml aborts without."""
NEED_IMPORTANCE: Final = ALWAYS_NEED_IMPORTANCE | {"IQ3_XXS", "IQ2_S", "IQ1_M"}
"""llama.cpp, src/llama-quant.cpp: tensor_requires_imatrix; embeddings and output are exempt where
ggml allows it.
"""
_EXEMPT: Final = {"token_embd.weight", "per_layer_token_embd.weight", "output.weight"}


class TensorTask(Struct, frozen=True, kw_only=True):
    """One tensor of one file."""

    job: TensorJob  # what the engine is asked for
    tensor: Tensor
    file: PlannedFile
    blob: str | None  # the name under which the tensor's bytes may be kept


def needing_importance(layout: Layout) -> dict[str, int]:
    """The tensors that are quantized now, with the number of their importances: the length of a row
    for each matrix of a stack.
    """
    return {
        t.name: t.shape[0] * (t.n_elements // _per_vector(t))
        for file in layout.files
        for t in file.tensors
        if t.type.is_quantized and t.type is not layout.stored[t.name].tensor.type
    }


def _per_vector(tensor: Tensor) -> int:
    """Weights that share one vector of importances: a matrix."""
    return tensor.shape[0] * (tensor.shape[1] if len(tensor.shape) > 1 else 1)


def tasks_of(layout: Layout, vectors: Vectors, source_sha256: str | None) -> list[TensorTask]:
    """A task for every tensor, in the order of the files. Without `source_sha256` none is kept as a
    blob.
    """
    tasks, engine = [], lab_build()
    for target, file in enumerate(layout.files):
        for tensor in file.tensors:
            stored = layout.stored[tensor.name]
            changed = tensor.type is not stored.tensor.type
            blob = None
            if source_sha256 and changed:
                blob = blob_key(
                    source_sha256,
                    tensor.name,
                    tensor.type.name,
                    vectors.digests.get(tensor.name),
                    engine,
                )
            job = TensorJob(
                name=tensor.name,
                type_id=stored.tensor.type.id,
                wanted_id=tensor.type.id,
                n_elements=tensor.n_elements,
                unit=_unit(stored, tensor),
                source=stored.part,
                at=stored.at,
                target=target,
                to=len(file.header) + tensor.offset,
                importance_at=vectors.offsets.get(tensor.name),
                per_vector=_per_vector(tensor),
            )
            tasks.append(TensorTask(job=job, tensor=tensor, file=file, blob=blob))
    return tasks


def _unit(stored: Stored, tensor: Tensor) -> int:
    """Weights that the engine keeps together: a row of a tensor that is quantized, a block of the
    source of one that is copied or widened.
    """
    changed = tensor.type is not stored.tensor.type
    return tensor.shape[0] if changed and tensor.type.is_quantized else stored.tensor.type.block


def needs_importance(tensor: str, type_: str) -> bool:
    """Whether a tensor is not written in this type without importance data."""
    return type_ in (ALWAYS_NEED_IMPORTANCE if tensor in _EXEMPT else NEED_IMPORTANCE)


def check_types(source: Model, tasks: Sequence[TensorTask]) -> None:
    """Raises Misuse for what ggml would refuse by aborting, or would do badly in silence."""
    for task in tasks:
        name, wanted, stored = task.job.name, task.tensor.type, BY_ID[task.job.type_id]
        if wanted is stored:
            continue
        if wanted.name in NOT_WRITTEN or stored.name in NOT_WRITTEN:
            raise Misuse(
                "{path}: {name} cannot be turned from {found} into {type}; choose another type.",
                path=source.path,
                name=name,
                found=stored.name,
                type=wanted.name,
            )
        if needs_importance(name, wanted.name) and task.job.importance_at is None:
            raise Misuse(
                "{path}: {type} needs importance data, and there is none for {name}; choose "
                "another type or give the data.",
                path=source.path,
                name=name,
                type=wanted.name,
            )
