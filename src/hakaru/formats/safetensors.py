"""Reading a safetensors header, with hard bounds: names, types, shapes and bytes, never the
weights.

The file begins with the header's length (eight bytes, little-endian), then JSON: name to dtype,
shape and the bytes' begin and end, counted from the header's end. The tensors must lie there one
after the other and fill the file.

Source of the format: the README of huggingface/safetensors. Left out: its `__metadata__`, which
nobody here needs.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hakaru.errors import ModelDamaged, ModelNotFound
from hakaru.formats.bounded_json import bounded_json
from hakaru.formats.openings import LONGEST, told_by_opening
from hakaru.language import translate

MAX_HEADER: Final = 2**25
MAX_NAME: Final = 2**10

BITS: Final = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U16": 16, "I16": 16, "F16": 16,
    "BF16": 16, "U32": 32, "I32": 32, "F32": 32, "U64": 64, "I64": 64, "F64": 64, "C64": 64,
}  # fmt: skip
"""Bits per element of every dtype. Source: huggingface/safetensors, safetensors/src/tensor.rs
(Dtype::bitsize).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredTensor:
    """One tensor of a safetensors file. `shape` is in PyTorch's order: the row length comes
    last.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    n_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredHeader:
    """What stands before the weights: `data_offset` is where they begin."""

    data_offset: int
    file_bytes: int
    tensors: tuple[StoredTensor, ...]


def read_stored(path: Path) -> StoredHeader:
    """The header of the safetensors file at `path`. Raises ModelNotFound or ModelDamaged."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            return parse_stored(path, size=size, read=file.read)
    except FileNotFoundError as error:
        raise ModelNotFound("{path}: there is no such file; check the path.", path=path) from error
    except OSError as error:
        raise ModelNotFound(
            "{path}: cannot be read ({reason}).", path=path, reason=error.strerror
        ) from error


def parse_stored(where: Path | str, *, size: int, read: Callable[[int], bytes]) -> StoredHeader:
    """The header of a safetensors file of `size` bytes, of which `read(n)` gives the next, at most
    `n`. `where` stands in the sentences. Raises ModelDamaged, and what `read` raises.
    """
    first = _exactly(8, where, size, read)
    length = int.from_bytes(first, "little")
    if length > min(MAX_HEADER, size - 8):
        told = told_by_opening(where, first + _exactly(min(LONGEST, size) - 8, where, size, read))
        raise told or damaged(
            "a header of {n} bytes, expected at most {limit}",
            where=where,
            n=length,
            limit=min(MAX_HEADER, size - 8),
        )
    rows = _rows(where, _exactly(length, where, size, read))
    spans = sorted(
        (_tensor(where, name, row) for name, row in rows.items() if name != "__metadata__"),
        key=lambda s: (s[1], s[2]),
    )
    end = 0
    for tensor, begin, stop in spans:
        if begin != end:
            raise damaged(
                "tensor {name} begins at byte {found}, expected {expected}",
                where=where,
                name=tensor.name,
                found=begin,
                expected=end,
            )
        end = stop
    if 8 + length + end != size:
        raise ModelDamaged(
            "{path}: the tensors end at byte {end:,} but the file has {size:,}; the download is "
            "incomplete: fetch it again.",
            path=where,
            end=8 + length + end,
            size=size,
        )
    return StoredHeader(
        data_offset=8 + length, file_bytes=size, tensors=tuple(tensor for tensor, _, _ in spans)
    )


def _exactly(n: int, where: Path | str, size: int, read: Callable[[int], bytes]) -> bytes:
    pieces, held = list[bytes](), 0
    while held < n:
        piece = read(n - held)
        if not piece:
            raise ModelDamaged(
                "{path}: the header ends at byte {needed} or later, but the file has {size}; the "
                "download is incomplete: fetch it again.",
                path=where,
                needed=n,
                size=size,
            )
        pieces.append(piece)
        held += len(piece)
    return b"".join(pieces)


def _rows(where: Path | str, raw: bytes) -> dict[str, Any]:
    try:
        rows = bounded_json(raw)
    except ValueError as error:
        raise damaged("no JSON ({reason})", where=where, reason=str(error)[:120]) from error
    if not isinstance(rows, dict):
        raise damaged("JSON without names", where=where)
    return rows


def _tensor(where: Path | str, name: str, row: Any) -> tuple[StoredTensor, int, int]:
    row = row if isinstance(row, dict) else {}
    dtype, shape, offsets = row.get("dtype"), row.get("shape"), row.get("data_offsets")
    if (
        len(name) > MAX_NAME
        or not isinstance(dtype, str)
        or dtype not in BITS
        or not _whole(shape)
        or not _whole(offsets, 2)
    ):
        raise damaged(
            "tensor {name} has dtype {dtype}, shape {shape}, bytes {bytes}",
            where=where,
            name=name[:80],
            dtype=str(dtype)[:20],
            shape=str(shape)[:80],
            bytes=str(offsets)[:80],
        )
    begin, end = offsets
    bits = math.prod(shape) * BITS[dtype]
    if end - begin != bits // 8 or bits % 8:
        raise damaged(
            "tensor {name} takes {found} bytes, expected {expected}",
            where=where,
            name=name[:80],
            found=end - begin,
            expected=bits // 8,
        )
    return StoredTensor(name=name, dtype=dtype, shape=tuple(shape), n_bytes=end - begin), begin, end


def _whole(values: Any, length: int | None = None) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= 8
        and length in {None, len(values)}
        and all(type(v) is int and 0 <= v < 2**53 for v in values)
    )


def damaged(finding: str, /, *, where: Path | str, **fields: object) -> ModelDamaged:
    """The error for `finding` in the header of `where`."""
    return ModelDamaged(
        "{path}: damaged header: {finding}; fetch the file again.",
        path=where,
        finding=translate(finding, **fields),
    )
