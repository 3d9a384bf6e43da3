"""ggml's own quantizers, through ctypes: any type to and from numbers, on all cores (the calls
release the interpreter).

Weights go through in chunks of rows, from the type of the file to numbers and on to the wanted
type, so that no tensor is ever held in F32. The matrices of a stack (experts) have an importance of
their own each; a chunk stays within one matrix.

Only the child process uses this module. Source: llama.cpp, ggml/include/ggml.h, ggml-backend.h.
"""

from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Final

import numpy as np
import numpy.typing as npt

from hakaru.engine.libllama import c
from hakaru.formats.gguf import Tensor
from hakaru.formats.quant_types import BY_NAME, QuantType
from hakaru.formats.tensor_data import Bytes

Numbers = npt.NDArray[np.float32]
CHUNK: Final = 2**17  # weights that one call quantizes


def needs_importance(type_: QuantType) -> bool:
    """Whether ggml refuses to quantize to the type without importance."""
    return bool(c.ggml_quantize_requires_imatrix(type_.id))


def numbers(rows: Bytes, type_: QuantType) -> Numbers:
    """Rows of bytes of a type as numbers, shape (n_rows, n_columns)."""
    rows = np.ascontiguousarray(rows)
    if type_ is BY_NAME["F32"]:
        return rows.view(np.float32)
    n_columns = rows.shape[1] // type_.block_bytes * type_.block
    out = np.empty((len(rows), n_columns), np.float32)
    c.ggml_get_type_traits(type_.id).contents.to_float(rows.ctypes.data, out.ctypes.data, out.size)
    return out


def quantized(values: Numbers, type_: QuantType, importance: Numbers | None = None) -> Bytes:
    """Rows of numbers as bytes of a type; `importance` is one number per column, for all rows."""
    values = np.ascontiguousarray(values)
    out = np.empty((len(values), type_.row_bytes(values.shape[1])), np.uint8)
    weights = np.ascontiguousarray(importance, np.float32) if importance is not None else None
    address = weights.ctypes.data if weights is not None else None
    c.ggml_quantize_chunk(type_.id, values.ctypes.data, out.ctypes.data, 0, *values.shape, address)
    return out


def requantized(
    rows: Bytes, tensor: Tensor, to: QuantType, importance: Numbers | None, pool: Executor
) -> Bytes:
    """All rows of a tensor in another type. `importance` has shape (n_matrices, n_columns)."""
    out = np.empty((len(rows), to.row_bytes(tensor.shape[0])), np.uint8)

    def convert(chunk: tuple[int, slice]) -> None:
        matrix, some = chunk
        of_matrix = importance[matrix] if importance is not None else None
        out[some] = quantized(numbers(rows[some], tensor.type), to, of_matrix)

    list(pool.map(convert, chunks(tensor)))
    return out


def chunks(tensor: Tensor) -> Iterator[tuple[int, slice]]:
    """The number of the matrix and a run of rows in it, over all rows of the tensor."""
    n_rows = tensor.n_elements // tensor.shape[0]
    per_matrix = tensor.shape[1] if len(tensor.shape) > 1 else 1
    step = max(1, CHUNK // tensor.shape[0])
    for begin in range(0, n_rows, per_matrix):
        for first in range(begin, begin + per_matrix, step):
            yield begin // per_matrix, slice(first, min(first + step, begin + per_matrix))
