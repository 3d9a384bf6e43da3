"""Writing a GGUF file that is only its header: metadata and tensor table, then a hole where the
weights would be.

llama.cpp lays such a file out without reading a weight, so that hakaru can dry-run a model that
nobody has downloaded. The file is sparse: a model of 400 GB takes some kilobytes of disk. Left out:
the vocabulary; llama.cpp makes up a vocabulary of the size `vocab_size`, which changes no tensor.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from hakaru.formats.gguf import ALIGNMENT, Dims, Tensor, padded
from hakaru.formats.metadata import MetadataValue
from hakaru.formats.quant_types import BY_NAME, QuantType
from hakaru.places import written_whole

_U32, _I32, _F32, _BOOL, _STRING, _ARRAY, _U64 = 4, 5, 6, 7, 8, 9, 10
_CODES: Final = {_U32: "I", _I32: "i", _F32: "f", _BOOL: "?", _U64: "Q"}
_F32_MATRICES = (
    "ffn_gate_inp.", "ffn_gate_inp_shexp.", "position_embd.", "token_types.", "ssm_conv1d",
    "shortconv.conv.", "altup_correct_coef.", "altup_predict_coef.", "indexer.proj.",
)  # fmt: skip


def header_tensors(
    tensors: Iterable[tuple[str, Dims]],
    type_: str | Mapping[str, str] = "F16",
    *,
    alignment: int = ALIGNMENT,
) -> tuple[Tensor, ...]:
    """The rows of the tensor table, one after another in the file.

    `type_` is the type of every tensor by name, or one type for all tensors but two kinds: those
    that converters keep in F32, and those whose rows do not divide into the type's blocks (F16).
    """
    rows, offset = [], 0
    for name, shape in tensors:
        row_type = _type(name, shape, type_) if isinstance(type_, str) else BY_NAME[type_[name]]
        row = Tensor(name=name, shape=shape, type=row_type, offset=offset)
        rows.append(row)
        offset += padded(row.n_bytes, alignment)
    return tuple(rows)


def write_header_only(
    path: Path,
    metadata: Mapping[str, MetadataValue],
    tensors: Iterable[tuple[str, Dims]],
    type_: str | Mapping[str, str] = "F16",
) -> Path:
    """Write the header of a model to `path`, then a hole as large as its weights. Returns `path`.

    `tensors` as `architectures.tensors_of` yields them. Raises MachineError where the disk refuses.
    """
    rows = header_tensors(tensors, type_)
    header = header_bytes(metadata, rows)
    size = len(header) + (padded(rows[-1].offset + rows[-1].n_bytes) if rows else 0)
    with written_whole(path) as part, part.open("wb") as file:
        file.write(header)
        file.truncate(size)
    return path


def header_bytes(metadata: Mapping[str, MetadataValue], rows: Sequence[Tensor]) -> bytes:
    """All bytes before the weights of a file with this metadata and tensor table, padding
    included.
    """
    return packed_header([packed_key(key, value) for key, value in metadata.items()], rows)


def packed_header(
    keys: Sequence[bytes], rows: Sequence[Tensor], alignment: int = ALIGNMENT
) -> bytes:
    """All bytes before the weights: `keys` as `packed_key` makes them, the tensor table, zeros up
    to the alignment.
    """
    parts = [b"GGUF", struct.pack("<IQQ", 3, len(rows), len(keys)), *keys]
    for row in rows:
        dims = struct.pack(f"<I{len(row.shape)}Q", len(row.shape), *row.shape)
        parts.append(_string(row.name) + dims + struct.pack("<IQ", row.type.id, row.offset))
    header = b"".join(parts)
    return header.ljust(padded(len(header), alignment), b"\0")


def packed_key(key: str, value: MetadataValue) -> bytes:
    """One key and its value as they stand in a header."""
    return _string(key) + _value(value)


def without_vocabulary(
    metadata: Mapping[str, MetadataValue], n_vocab: int
) -> dict[str, MetadataValue]:
    """The metadata with two more keys, with which llama.cpp loads a model that has a size of
    vocabulary, but no tokens.
    """
    key = f"{metadata['general.architecture']}.vocab_size"
    return {**metadata, key: n_vocab, "tokenizer.ggml.model": "no_vocab"}


def _type(name: str, shape: Dims, type_name: str) -> QuantType:
    if stays_f32(name, shape):
        return BY_NAME["F32"]
    type_ = BY_NAME[type_name]
    return BY_NAME["F16"] if shape[0] % type_.block else type_


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("<Q", len(raw)) + raw


def _value(value: MetadataValue) -> bytes:
    if isinstance(value, str | bool | int | float):
        kind = _kind([value])
        return struct.pack("<I", kind) + _packed(kind, [value])
    kind = _kind(value)
    return struct.pack("<IIQ", _ARRAY, kind, len(value)) + _packed(kind, value)


def _kind(values: Sequence[int | float | bool | str]) -> int:
    """The narrowest kind that holds all values, as converters choose it."""
    if all(isinstance(value, bool) for value in values):
        return _BOOL
    if all(isinstance(value, str) for value in values):
        return _STRING
    whole = [value for value in values if isinstance(value, int)]
    if len(whole) < len(values):
        return _F32
    return _I32 if min(whole) < 0 else _U32 if max(whole) < 2**32 else _U64


def _packed(kind: int, values: Sequence[int | float | bool | str]) -> bytes:
    if kind == _STRING:
        return b"".join(_string(str(value)) for value in values)
    return struct.pack(f"<{len(values)}{_CODES[kind]}", *values)


def stays_f32(name: str, shape: Dims) -> bool:
    """True if converters keep the tensor in F32 in a 16-bit file: vectors, norms, routers,
    convolutions, positions.

    Source: llama.cpp, conversion/base.py (prepare_tensors).
    """
    if len(shape) == 1 or not name.endswith(".weight") or name.endswith("_norm.weight"):
        return True
    role = name.split(".", 2)[2] if name.startswith("blk.") else name
    return role.startswith(_F32_MATRICES)
