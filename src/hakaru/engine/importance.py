"""What the lab child can be asked: the importance of every column of every matrix, from the model's
own activations.

While the model reads windows of text, every matrix product is looked at after it is computed: its
second operand is what flows into the columns of the weight. Experts are counted apart, by the
tokens that were sent to them. Left out: the rows of an embedding, which are looked up and not
multiplied; a tied embedding is the output matrix as well, and is counted as that. Source:
llama.cpp, tools/imatrix/imatrix.cpp (collect_imatrix).
"""

import ctypes
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from hakaru.engine import libllama, weights
from hakaru.engine.capi import EvalCallback, GgmlTensor
from hakaru.engine.files import Steps
from hakaru.engine.libllama import c
from hakaru.engine.logits import Batch, Plan
from hakaru.formats.imatrix import Activations, Imatrix, write_imatrix
from hakaru.formats.tensor_data import TensorData

F32, I32 = 0, 26
_DTYPES: Final = {F32: np.dtype(np.float32), I32: np.dtype(np.int32)}


def importance(request: dict[str, Any]) -> Steps:
    """Read the windows and write the importance data to `out`."""
    windows = request["windows"]
    longest = max(len(w["tokens"]) for w in windows)
    collector = Collector(TensorData(Path(request["path"])).tensors)
    with weights.model(Path(request["path"])) as model:
        plan = Plan(windows, n_vocab=libllama.n_vocab(model))
        with plan.context(model, on_node=collector.on_node) as ctx:
            batch, done = Batch(plan.n_tokens), 0
            for some in plan.batches:
                batch.decode_windows(ctx, some)
                if collector.failure:
                    raise collector.failure
                done += len(some)
                yield (done, len(windows))
    entries = {
        name: Activations(
            sums=sums.astype(np.float32), counts=collector.counts[name].astype(np.float32)
        )
        for name, sums in collector.sums.items()
    }
    if any(not np.isfinite(e.sums).all() for e in entries.values()):
        raise libllama.NotNumbers(request["path"])
    imatrix = Imatrix(
        entries=entries,
        datasets=tuple(request["datasets"]),
        chunk_count=len(windows),
        chunk_size=longest,
    )
    write_imatrix(Path(request["out"]), imatrix)
    return {}


class Collector:
    """Sums of squared inputs by weight, filled by `on_node` while llama.cpp computes."""

    def __init__(self, names: Collection[str]) -> None:
        self.sums: dict[str, npt.NDArray[np.float64]] = {}
        self.counts: dict[str, npt.NDArray[np.int64]] = {}
        self.failure: Exception | None = None
        self._names = names
        self.on_node = EvalCallback(self._look)

    def _look(self, address: int, ask: bool, user_data: object) -> bool:
        node = GgmlTensor.from_address(address)
        op = c.ggml_op_name(node.op)
        if op not in {b"MUL_MAT", b"MUL_MAT_ID"}:
            return False
        weight = weights.weight_of(node.src[0])
        name = weight.name.decode(errors="replace") if weight is not None else ""
        inputs = GgmlTensor.from_address(node.src[1])
        if (
            name not in self._names
            or inputs.type != F32
            or weight is None
            or weight.ne[0] != inputs.ne[0]
        ):
            return False
        if not ask:
            try:  # an exception cannot leave through C
                experts = (
                    array_of(GgmlTensor.from_address(node.src[2])) if op == b"MUL_MAT_ID" else None
                )
                self._add(name, weight, array_of(inputs), experts)
            except Exception as error:
                self.failure = error
        return True

    def _add(
        self,
        name: str,
        weight: GgmlTensor,
        inputs: npt.NDArray[Any],
        experts: npt.NDArray[Any] | None,
    ) -> None:
        """`inputs` has shape (…, n_columns), of experts (n_tokens, n_used or 1, n_columns)."""
        n_matrices, n_columns = weight.ne[2] * weight.ne[3], weight.ne[0]
        n_counts = n_matrices if experts is not None else 1
        sums = self.sums.setdefault(name, np.zeros(n_matrices * n_columns)).reshape(
            n_matrices, n_columns
        )
        counts = self.counts.setdefault(name, np.zeros(n_counts, np.int64))
        if experts is not None:
            inputs, experts = inputs[0], experts[0, 0]
            tokens, slots = np.indices(experts.shape)
            for expert in np.unique(experts):
                sent = experts == expert
                sums[expert] += _squares(inputs[tokens[sent], slots[sent] % inputs.shape[1]])
                counts[expert] += int(sent.sum())
        else:
            for i in np.ndindex(inputs.shape[:2]):
                sums[i[0] % weight.ne[3] * weight.ne[2] + i[1] % weight.ne[2]] += _squares(
                    inputs[i]
                )
            counts += inputs.size // n_columns // n_matrices


def array_of(tensor: GgmlTensor) -> npt.NDArray[Any]:
    """A computed tensor of F32 or I32, shape in numpy's order (four dimensions); valid until the
    next node is computed.
    """
    dtype = _DTYPES[tensor.type]
    shape, strides = tuple(tensor.ne)[::-1], tuple(tensor.nb)[::-1]
    span = sum((n - 1) * step for n, step in zip(shape, strides, strict=True)) + dtype.itemsize
    if tensor.buffer and not c.ggml_backend_buffer_is_host(tensor.buffer):
        held = (ctypes.c_char * span)()
        c.ggml_backend_tensor_get(ctypes.addressof(tensor), held, 0, span)
    else:
        held = (ctypes.c_char * span).from_address(tensor.data)
    return np.ndarray(shape, dtype, held, 0, strides)


def _squares(rows: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """The squares summed over the rows of one batch; the sums over batches are kept in float64."""
    sums: npt.NDArray[np.float32] = np.einsum("ij,ij->j", rows, rows)
    return sums
