"""Reading a safetensors header, with hard bounds: names, types, shapes and bytes, never the
weights.

The file begins with the header's length (eight bytes, little-endian). The header is JSON: for every
tensor's name a dtype, a shape, and the first byte and the byte behind the last, counted from the
header's end. The tensors must lie one after the other and fill the file.

Source of the format: the README of huggingface/safetensors. Left out: `__metadata__`, which hakaru
does not need.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from hakaru.errors import ModelDamaged, ModelNotFound, system_reason
from hakaru.formats.bounded_json import bounded_json
from hakaru.formats.openings import N_OPENING_BYTES, error_by_opening
from hakaru.formats.untouched import open_untouched
from hakaru.language import translate
from hakaru.text_files import json_reason

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


class StoredTensor(Struct, frozen=True, kw_only=True):
    """One tensor of a safetensors file."""

    name: str
    dtype: str  # such as "BF16"
    shape: tuple[int, ...]  # in PyTorch's order: the length of a row comes last
    n_bytes: int


class StoredHeader(Struct, frozen=True, kw_only=True):
    """The part of a safetensors file before the weights."""

    data_offset: int  # the byte at which the weights begin
    file_bytes: int
    tensors: tuple[StoredTensor, ...]


def read_stored(path: Path) -> StoredHeader:
    """The header of the safetensors file at `path`. Raises ModelNotFound or ModelDamaged."""
    try:
        size = path.stat().st_size
        with open_untouched(path) as file:
            return parse_stored(path, size=size, read=file.read)
    except FileNotFoundError as error:
        raise ModelNotFound("{path}: there is no such file; check the path.", path=path) from error
    except OSError as error:
        raise ModelNotFound(
            "{path}: cannot be read ({reason}).", path=path, reason=system_reason(error)
        ) from error


def parse_stored(where: Path | str, *, size: int, read: Callable[[int], bytes]) -> StoredHeader:
    """The header of a safetensors file of `size` bytes. `read(n)` gives the file's next bytes, at
    most `n`. Errors name the file as `where`. Raises ModelDamaged, and what `read` raises.
    """
    first = _exactly(8, where, size, read)
    length = int.from_bytes(first, "little")
    if length > min(MAX_HEADER, size - 8):
        opening = first + _exactly(min(N_OPENING_BYTES, size) - 8, where, size, read)
        raise error_by_opening(where, opening) or damaged(
            "a header of {n} bytes, expected at most {limit}",
            where=where,
            n=length,
            limit=min(MAX_HEADER, size - 8),
        )
    rows = _rows(where, _exactly(length, where, size, read))
    spans = sorted(
        (_tensor(where, name, row) for name, row in rows.items() if name != "__metadata__"),
        key=lambda span: span[1:],
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
    """The next `n` bytes. Raises ModelDamaged if the file ends before."""
    raw = bytearray()
    while len(raw) < n:
        piece = read(n - len(raw))
        if not piece:
            raise ModelDamaged(
                "{path}: the header ends at byte {needed} or later, but the file has {size}; the "
                "download is incomplete: fetch it again.",
                path=where,
                needed=n,
                size=size,
            )
        raw += piece
    return bytes(raw)


def _rows(where: Path | str, raw: bytes) -> dict[str, Any]:
    """The header's JSON: the entry of every tensor, by name."""
    try:
        rows = bounded_json(raw)
    except ValueError as error:
        raise damaged("no JSON ({reason})", where=where, reason=json_reason(error)[:120]) from error
    if not isinstance(rows, dict):
        raise damaged("JSON without names", where=where)
    return rows


def _tensor(where: Path | str, name: str, row: Any) -> tuple[StoredTensor, int, int]:
    """The tensor of one entry, its first byte and the byte behind its last."""
    row = row if isinstance(row, dict) else {}
    dtype, shape, offsets = row.get("dtype"), row.get("shape"), row.get("data_offsets")
    if (
        len(name) > MAX_NAME
        or not isinstance(dtype, str)
        or dtype not in BITS
        or not _are_whole_numbers(shape)
        or not _are_whole_numbers(offsets, 2)
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


def _are_whole_numbers(values: Any, length: int | None = None) -> bool:
    return (
        isinstance(values, list)
        and len(values) <= 8
        and length in {None, len(values)}
        and all(type(value) is int and 0 <= value < 2**53 for value in values)
    )


def damaged(finding: str, /, *, where: Path | str, **fields: object) -> ModelDamaged:
    """The error for `finding` in the header of `where`."""
    return ModelDamaged(
        "{path}: damaged header: {finding}; fetch the file again.",
        path=where,
        finding=translate(finding, **fields),
    )
