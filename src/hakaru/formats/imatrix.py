"""Importance data: for every matrix the squared activations that go into its columns, summed over
tokens.

A column into which large numbers flow must be quantized with the least error. The format is
llama.cpp's own, so that hakaru reads files by others, and others read hakaru's files: GGUF with two
F32 tensors per matrix, `NAME.in_sum2` and `NAME.counts`. A stack of experts has a count for every
expert, since every expert sees other tokens. Files of the older format (`.dat`) are read, too.

An imatrix comes from a stranger: sizes are checked before anything is allocated, and every number
must be finite and not negative.

Source: llama.cpp, tools/imatrix/imatrix.cpp, common/imatrix-loader.cpp.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from hakaru.errors import Misuse, ModelDamaged, ModelNotFound, system_reason
from hakaru.formats.gguf import MAX_TENSORS, Tensor, read_header
from hakaru.formats.header_cursor import MAX_STRING
from hakaru.formats.header_file import header_bytes, header_tensors
from hakaru.formats.header_values import Array
from hakaru.formats.metadata import Metadata, MetadataValue
from hakaru.formats.tensor_data import TensorData
from hakaru.language import translate
from hakaru.places import written_whole

Numbers = npt.NDArray[np.float32]
SUMS, COUNTS = ".in_sum2", ".counts"
MAX_BYTES: Final = 2**31
MAX_SUM: Final = 1e30
"""Sums over all texts that exist stay far below; beyond, sums of these sums overflow F32."""


class Activations(Struct, frozen=True, kw_only=True):
    """The importance data of one tensor."""

    sums: Numbers  # squared inputs summed over tokens, the columns of matrix after matrix
    counts: Numbers  # numbers of tokens: one for all matrices, or one for each


class Imatrix(Struct, frozen=True, kw_only=True):
    """Importance data of a model."""

    entries: Mapping[str, Activations]  # by the tensor's name
    datasets: tuple[str, ...] = ()  # the names of the texts
    chunk_count: int = 0  # windows that were read
    chunk_size: int = 0  # tokens of a window

    def importance(self, tensor: Tensor) -> Numbers | None:
        """Mean squared activation per column, shape (n_matrices, n_columns); None for a tensor
        without data.

        An expert that saw no token gets the average of the other experts.
        """
        data = self._by_matrix(tensor)
        if data is None:
            return None
        sums, counts = data
        used = counts > 0
        means = sums / np.maximum(counts, 1).astype(np.float64)[:, None]
        means[~used] = means[used].mean(axis=0)
        return means.astype(np.float32)

    def vectors(self, tensors: Iterable[Tensor]) -> dict[str, Numbers]:
        """The importance of every tensor that has data, by name."""
        vectors = {tensor.name: self.importance(tensor) for tensor in tensors}
        return {name: vector for name, vector in vectors.items() if vector is not None}

    def shares(self, tensor: Tensor) -> Numbers | None:
        """The number of tokens that each matrix of the tensor saw, at least one; None for a tensor
        without data.
        """
        data = self._by_matrix(tensor)
        return None if data is None else np.maximum(data[1], 1)

    def _by_matrix(self, tensor: Tensor) -> tuple[Numbers, Numbers] | None:
        """Sums, shape (n_matrices, n_columns), and counts, shape (n_matrices,); None for a tensor
        without data.
        """
        entry = self.entries.get(tensor.name)
        if entry is None or not entry.counts.any():
            return None
        sums = entry.sums.reshape(-1, tensor.shape[0])
        counts = entry.counts
        return sums, np.broadcast_to(counts, len(sums)) if len(counts) == 1 else counts

    def check(self, where: Path | str, model: Path | str, tensors: Iterable[Tensor]) -> None:
        """Raises Misuse if this is not the importance data of the `model` with these `tensors`."""
        by_name = {tensor.name: tensor for tensor in tensors}
        common = {name: entry for name, entry in self.entries.items() if name in by_name}
        if 2 * len(common) < len(self.entries):
            raise Misuse(
                "{path}: importance data of another model: {n} of its {count} tensors are in "
                "{model}; name the file that was made with this model.",
                path=where,
                n=len(common),
                count=len(self.entries),
                model=model,
            )
        for name, entry in common.items():
            tensor = by_name[name]
            n_matrices = math.prod(tensor.shape[2:])
            expected = tensor.shape[0] * n_matrices
            if len(entry.sums) != expected or len(entry.counts) not in {1, n_matrices}:
                raise Misuse(
                    "{path}: importance data of another model: {name} has {found} matrices and "
                    "columns, expected {expected} as in "
                    "{model}; name the file that was made with this model.",
                    path=where,
                    name=name,
                    found=f"{len(entry.counts)} × {len(entry.sums) // len(entry.counts)}",
                    expected=f"{n_matrices} × {tensor.shape[0]}",
                    model=model,
                )


def write_imatrix(path: Path, imatrix: Imatrix) -> Path:
    """Write the importance data to `path` in llama.cpp's format, whole or not at all. Raises
    MachineError.
    """
    metadata: dict[str, MetadataValue] = {
        "general.type": "imatrix",
        "imatrix.datasets": list(imatrix.datasets or ("-",)),
        "imatrix.chunk_count": imatrix.chunk_count,
        "imatrix.chunk_size": imatrix.chunk_size,
    }
    arrays = {}
    for name, entry in sorted(imatrix.entries.items()):
        arrays[name + SUMS] = entry.sums.reshape(len(entry.counts), -1)
        arrays[name + COUNTS] = entry.counts.reshape(-1, 1)
    shapes = ((name, array.shape[::-1]) for name, array in arrays.items())
    rows = header_tensors(shapes, dict.fromkeys(arrays, "F32"))
    with written_whole(path) as part, part.open("wb") as file:
        file.write(header := header_bytes(metadata, rows))
        for row in rows:
            file.write(bytes(len(header) + row.offset - file.tell()))
            file.write(np.ascontiguousarray(arrays[row.name], "<f4").tobytes())
        file.write(bytes(-file.tell() % 32))
    return path


def read_imatrix(path: Path) -> Imatrix:
    """The importance data in the file at `path`, GGUF or the older format.

    Raises ModelNotFound, ModelDamaged (truncated, impossible numbers, no importance data).
    """
    if path.exists() and not path.is_file():
        raise ModelNotFound(
            "{path}: is no regular file (a pipe or a device), expected importance data.", path=path
        )
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size > MAX_BYTES:
                raise damaged("{n} bytes, expected at most {limit}", path, n=size, limit=MAX_BYTES)
            if file.read(4) != b"GGUF":
                file.seek(0)
                return _read_legacy(path, file, size)
    except OSError as error:
        raise ModelNotFound(
            "{path}: cannot be read ({reason}).", path=path, reason=system_reason(error)
        ) from error
    return _read_gguf(path)


def damaged(finding: str, path: Path, /, **fields: object) -> ModelDamaged:
    """The error for `finding` in the file at `path`."""
    return ModelDamaged(
        "{path}: no usable importance data: {finding}; make it again.",
        path=path,
        finding=translate(finding, **fields),
    )


def _read_gguf(path: Path) -> Imatrix:
    header = read_header(path)
    data, entries = TensorData(path), {}
    for name in [t.name.removesuffix(SUMS) for t in header.tensors if t.name.endswith(SUMS)]:
        numbers = []
        for tensor in (data.tensors[name + SUMS], data.tensors.get(name + COUNTS)):
            if tensor is None or tensor.type.name != "F32":
                raise damaged("{name} lacks its sums or counts in F32", path, name=name)
            numbers.append(np.array(data.rows(tensor.name).view("<f4"), np.float32).ravel())
        entries[name] = _entry(path, name, *numbers)
    if not entries:
        raise damaged("no tensor of it ends in {suffix}", path, suffix=SUMS)
    meta, datasets = Metadata(path, header.metadata), header.metadata.get("imatrix.datasets")
    names = datasets.values if isinstance(datasets, Array) else None
    return Imatrix(
        entries=entries,
        datasets=tuple(str(name) for name in names or ()),
        chunk_count=meta.integer("imatrix.chunk_count") or 0,
        chunk_size=meta.integer("imatrix.chunk_size") or 0,
    )


def _read_legacy(path: Path, file: IO[bytes], size: int) -> Imatrix:
    """The older format: entries of a name, a number of calls and the sums; then the number of
    windows and the name of the text.
    """

    def number(limit: int) -> int:
        value = int.from_bytes(take(4), "little", signed=True)
        if not 0 <= value <= limit:
            raise damaged(
                "{n} {what}, expected at most {limit}", path, n=value, what="entries", limit=limit
            )
        return value

    def take(n_bytes: int) -> bytes:
        if file.tell() + n_bytes > size:
            raise damaged("it ends at byte {size} within an entry", path, size=size)
        return file.read(n_bytes)

    def text() -> str:
        return take(number(MAX_STRING)).decode("utf-8", errors="replace")

    entries = {}
    for _ in range(number(MAX_TENSORS)):
        name = text()
        counts = np.array([max(1, number(2**31 - 1))], np.float32)
        sums = np.frombuffer(take(4 * number(MAX_BYTES // 4)), "<f4").astype(np.float32)
        entries[name] = _entry(path, name, sums, counts)
    if not entries:
        raise damaged("it has no entry", path)
    chunk_count = number(2**31 - 1) if file.tell() < size else 0
    dataset = text() if file.tell() < size else ""
    return Imatrix(entries=entries, datasets=(dataset,) if dataset else (), chunk_count=chunk_count)


def _entry(path: Path, name: str, sums: Numbers, counts: Numbers) -> Activations:
    """The data of one tensor. Raises ModelDamaged for numbers that are no sums of squares."""
    for values in (sums, counts):
        if not len(values) or not (values >= 0).all() or values.max() > MAX_SUM:
            raise damaged("{name} holds what is no sum of squares", path, name=name)
    if len(sums) % len(counts):
        raise damaged(
            "{name} has {n} columns for {count} matrices",
            path,
            name=name,
            n=len(sums),
            count=len(counts),
        )
    return Activations(sums=sums, counts=counts)
