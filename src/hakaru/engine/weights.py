"""The weights of a loaded model, found and exchanged: what a model would do if some of its tensors
had another type.

A weight is found by evaluation: llama.cpp shows every node of the graph before it is computed
(`cb_eval`), and the tensors from which it reads, or of which those are views, carry the names that
stand in the file. A weight is exchanged by giving its tensor the type, the strides and the memory
of a quantized copy. The graph is built anew for every decode, so from then on llama.cpp computes
exactly as if it had loaded a file with that tensor: with the kernels of that type, from any source,
quantized or not. The loaded bytes are never written, so putting back the old type and address
restores the model exactly.

A tensor is not found where llama.cpp does not compute with it (`missing`): blocks for multi-token
prediction, tables that only long contexts use; or where it computes with a copy (a weight in host
memory, used by a GPU). Source: llama.cpp, ggml/src/ggml-backend.cpp
(ggml_backend_sched_compute_splits).
"""

import ctypes
import os
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from msgspec import Struct

from hakaru.engine import ggml, libllama
from hakaru.engine.capi import EvalCallback, GgmlTensor, Token
from hakaru.engine.libllama import c
from hakaru.errors import MachineError
from hakaru.formats.quant_types import BY_NAME, QuantType
from hakaru.formats.tensor_data import Bytes, TensorData
from hakaru.places import written_whole

USAGE_WEIGHTS: Final = 1  # ggml-backend.h: GGML_BACKEND_BUFFER_USAGE_WEIGHTS
KEPT_BYTES: Final = 2**30
"""Quantized copies that are kept for another probe."""


@contextmanager
def model(path: Path) -> Iterator[Any]:
    """A loaded model whose weights lie in memory as they lie in the file: nothing is packed for
    faster kernels.
    """
    # a graph that is used again would keep views of the old weights
    os.environ["LLAMA_GRAPH_REUSE_DISABLE"] = "1"
    with libllama.model(path, use_extra_bufts=False) as loaded:
        yield loaded


def weight_of(address: int | None) -> GgmlTensor | None:
    """The tensor at `address`, or the one of which it is a view."""
    if not address:
        return None
    tensor = GgmlTensor.from_address(address)
    return GgmlTensor.from_address(tensor.view_src) if tensor.view_src else tensor


class _Place(Struct, kw_only=True):
    """Where a tensor's bytes are: what is exchanged."""

    type: int
    nb: tuple[int, ...]
    buffer: int
    data: int

    def give(self, tensor: GgmlTensor) -> None:
        tensor.type, tensor.buffer, tensor.data = self.type, self.buffer, self.data
        tensor.nb[:] = self.nb


class KeptFiles(Struct, frozen=True, kw_only=True):
    """Quantized copies as files, used again by later probes and by whoever writes the model: in
    `folder`, by tensor and type under the name in `names`. A file of another length than the copy's
    is none.
    """

    folder: Path
    names: Mapping[str, Mapping[str, str]]

    def read(self, name: str, type_: QuantType, n_bytes: int) -> Bytes | None:
        """The copy, or None where there is none."""
        path = self._path(name, type_)
        try:
            raw = np.fromfile(path, dtype=np.uint8) if path else None
            if path:
                os.utime(path)
        except OSError:
            return None
        return raw if raw is not None and raw.nbytes == n_bytes else None

    def keep(self, name: str, type_: QuantType, raw: Bytes) -> None:
        """Keep the copy, whole or not at all. A disk that refuses is no reason to fail."""
        path = self._path(name, type_)
        if path:
            with suppress(MachineError), written_whole(path) as part:
                part.write_bytes(raw.data)

    def _path(self, name: str, type_: QuantType) -> Path | None:
        key = self.names.get(name, {}).get(type_.name)
        return self.folder / key if key else None


class Weights:
    """The weights of one loaded model. `importance` gives the importance of a tensor by name, or
    None. `kept` are copies in files.

    A tensor that was not found may be named in an exchange all the same: it plays no part.
    """

    def __init__(
        self,
        loaded: Any,
        data: TensorData,
        pool: Executor,
        importance: Callable[[str], ggml.Numbers | None],
        kept: KeptFiles | None = None,
    ) -> None:
        self._data, self._pool, self._importance, self._kept = data, pool, importance, kept
        self._found: dict[str, dict[int, GgmlTensor]] = {}
        self._copies: OrderedDict[tuple[str, str], list[_Place]] = OrderedDict()
        self._find(loaded)

    @property
    def missing(self) -> list[str]:
        """The tensors of the file that were not found."""
        return [name for name in self._data.tensors if name not in self._found]

    @contextmanager
    def exchanged(self, types: Mapping[str, str]) -> Iterator[None]:
        """The model with these tensors in these types; one that has its type already stays as it
        is, as it would in a file. Leaving the block restores the model exactly. Raises
        libllama.Refused.
        """
        before = []
        try:
            for name, type_ in types.items():
                if name in self._data.tensors and self._data.tensors[name].type.name == type_:
                    continue
                for tensor, place in zip(
                    self._found.get(name, {}).values(),
                    self._copy(name, BY_NAME[type_]),
                    strict=True,
                ):
                    before.append((tensor, _place(tensor)))
                    place.give(tensor)
            yield
        finally:
            for tensor, place in before:
                place.give(tensor)
            self._forget_copies()

    def close(self) -> None:
        """Free all copies."""
        self._forget_copies(keep=0)

    def _find(self, loaded: Any) -> None:
        """Decode one token and look at every node."""

        def look(address: int, ask: bool, user_data: object) -> bool:
            for source in GgmlTensor.from_address(address).src:
                tensor = weight_of(source)
                name = (
                    tensor.name.decode(errors="replace")
                    if tensor is not None and tensor.buffer
                    else ""
                )
                if tensor is not None and name in self._data.tensors:
                    self._found.setdefault(name, {})[ctypes.addressof(tensor)] = tensor
            return False

        with libllama.context(loaded, n_ctx=32, n_ubatch=32, on_node=EvalCallback(look)) as ctx:
            token = (Token * 1)(0)
            if c.llama_decode(ctx, c.llama_batch_get_one(token, 1)) != 0:
                raise libllama.Refused("decode")

    def _copy(self, name: str, type_: QuantType) -> list[_Place]:
        """The tensor's places in another type: kept from before, or made now."""
        key = name, type_.name
        if name not in self._found:
            return []
        if key not in self._copies:
            raw = self._raw(name, type_)
            self._copies[key] = [_placed(t, type_, raw) for t in self._found[name].values()]
        self._copies.move_to_end(key)
        return self._copies[key]

    def _raw(self, name: str, type_: QuantType) -> Bytes:
        """The tensor's bytes in another type: from a kept file, or quantized now. Raises
        libllama.Refused.
        """
        tensor = self._data.tensors[name]
        raw = self._kept.read(name, type_, tensor.bytes_as(type_)) if self._kept else None
        if raw is not None:
            return raw
        importance = self._importance(name)
        if importance is None and ggml.needs_importance(type_):
            raise libllama.Refused(f"quantize {name} to {type_.name} without importance data in")
        raw = ggml.requantized(self._data.rows(name), tensor, type_, importance, self._pool)
        if self._kept:
            self._kept.keep(name, type_, raw)
        return raw

    def _forget_copies(self, keep: int = KEPT_BYTES) -> None:
        """Free the copies that were not used for longest, until the others take at most `keep`
        bytes.
        """
        sizes = {
            key: self._data.tensors[key[0]].bytes_as(BY_NAME[key[1]]) * len(p)
            for key, p in self._copies.items()
        }
        total = sum(sizes.values())
        while total > keep:
            key, places = self._copies.popitem(last=False)
            total -= sizes[key]
            for place in places:
                c.ggml_backend_buffer_free(place.buffer)


def _place(tensor: GgmlTensor) -> _Place:
    return _Place(type=tensor.type, nb=tuple(tensor.nb), buffer=tensor.buffer, data=tensor.data)


def _placed(tensor: GgmlTensor, type_: QuantType, raw: Bytes) -> _Place:
    """The bytes in a buffer of their own on the tensor's device; the tensor itself is as before."""
    before, address = _place(tensor), ctypes.addressof(tensor)
    row = type_.row_bytes(tensor.ne[0])
    tensor.type, tensor.nb[:] = (
        type_.id,
        (type_.block_bytes, row, row * tensor.ne[1], row * tensor.ne[1] * tensor.ne[2]),
    )
    try:
        device = c.ggml_backend_buffer_get_type(before.buffer)
        buffer = c.ggml_backend_buft_alloc_buffer(
            device, c.ggml_backend_buft_get_alloc_size(device, address)
        )
        if not buffer:
            raise libllama.Refused("find memory for a copy of a tensor of")
        c.ggml_backend_buffer_set_usage(buffer, USAGE_WEIGHTS)
        tensor.buffer, tensor.data = buffer, c.ggml_backend_buffer_get_base(buffer)
        c.ggml_backend_buffer_init_tensor(buffer, address)
        c.ggml_backend_tensor_set(address, raw.ctypes.data, 0, raw.nbytes)
        return _place(tensor)
    finally:
        before.give(tensor)
