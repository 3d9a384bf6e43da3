"""Reading a GGUF header, with hard bounds.

A GGUF file comes from a stranger. This reader takes the header alone (never the weights), checks
every number against the file's size and against fixed limits before using the number, and answers
damage with one sentence. Memory stays below a small multiple of the header's bytes, because nothing
is allocated by a number in the header; time stays bounded, because strings are counted.

The bytes may come from a file (`read_header`) or from anything that can be read forward
(`parse_header`), such as a web server.

Versions 2 and 3 have the same bytes in little-endian files. Left out, and refused by name: version
1 (August 2023), big-endian files and the formats before GGUF, which llama.cpp does not read on the
machines that hakaru runs on.

Source of the format: llama.cpp, docs of ggml, gguf.md, and ggml/src/gguf.cpp for what its reader
refuses.
"""

import errno
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from msgspec import Struct

from hakaru.errors import ModelDamaged, ModelNotFound, ModelUnknown, system_reason
from hakaru.formats.foreign_types import foreign_type, is_bitnet_s
from hakaru.formats.header_cursor import U32, Cursor
from hakaru.formats.header_values import Value, value_at
from hakaru.formats.openings import N_OPENING_BYTES, error_by_opening
from hakaru.formats.quant_types import BY_ID, QuantType
from hakaru.formats.untouched import open_untouched

VERSIONS: Final = (2, 3)
BEFORE_GGUF: Final = {b"lmgg": "GGML", b"fmgg": "GGMF", b"tjgg": "GGJT", b"algg": "GGLA"}
"""The formats before GGUF by their first bytes. Source: llama.cpp of June 2023, llama.h
(LLAMA_FILE_MAGIC_*).
"""
Dims: TypeAlias = tuple[int, ...]
ALIGNMENT: Final = 32
"""Bytes. Tensors begin at multiples of it in the engine's host memory, and in a file without
`general.alignment`.
"""
MAX_NAME: Final = 63  # llama.cpp, ggml.h: GGML_MAX_NAME is 64 with the final zero
MAX_KEYS: Final = 2**16
MAX_TENSORS: Final = 2**18
MAX_DIMENSIONS: Final = 4
MAX_ALIGNMENT: Final = 2**20


class Tensor(Struct, frozen=True, kw_only=True):
    """One row of the tensor table."""

    name: str
    shape: Dims  # in GGML's order: the length of a row comes first
    type: QuantType
    offset: int  # bytes from the begin of the data

    @property
    def n_elements(self) -> int:
        """The number of weights."""
        return math.prod(self.shape)

    @property
    def n_bytes(self) -> int:
        """Bytes of the weights, without the padding behind them."""
        return self.bytes_as(self.type)

    def bytes_as(self, type_: QuantType) -> int:
        """Bytes of the same weights in the type `type_`. Raises ModelUnknown if the blocks of that
        type do not divide the rows.
        """
        return type_.row_bytes(self.shape[0]) * math.prod(self.shape[1:])


class Header(Struct, frozen=True, kw_only=True):
    """The part of a GGUF file before the weights."""

    version: int
    alignment: int
    data_offset: int  # the byte at which the weights begin
    file_bytes: int
    metadata: dict[str, Value]
    tensors: tuple[Tensor, ...]
    key_spans: dict[str, tuple[int, int]]
    """For each metadata key, the first byte of the key and the byte behind its value."""


def read_header(path: Path) -> Header:
    """The header of the GGUF file at `path`.

    Raises ModelNotFound (no such file, a directory), ModelDamaged (no GGUF, truncated, impossible
    numbers) or ModelUnknown (a version or a tensor type that llama.cpp does not read).
    """
    size = _file_bytes(path)
    with open_untouched(path) as file:
        return parse_header(path, size=size, read=file.read)


def parse_header(where: Path | str, *, size: int, read: Callable[[int], bytes]) -> Header:
    """The header of a GGUF file of `size` bytes. `read(n)` gives the file's next bytes: at most
    `n`, and none at the end.

    Errors name the file as `where`. Raises ModelDamaged or ModelUnknown, and what `read` raises.
    """
    cursor = Cursor(path=where, size=size, read=read)
    version = _opening(cursor)
    n_tensors = cursor.bounded("Q", MAX_TENSORS, "tensors")
    n_keys = cursor.bounded("Q", MAX_KEYS, "metadata keys")
    metadata: dict[str, Value] = {}
    key_spans: dict[str, tuple[int, int]] = {}
    kinds: dict[str, int] = {}
    for _ in range(n_keys):
        begin, key = cursor.position, cursor.string()
        if key in metadata or not key:
            raise cursor.damaged("the metadata key '{key}' stands twice or is empty", key=key[:80])
        kinds[key] = cursor.number("I")
        metadata[key] = value_at(cursor, kinds[key])
        key_spans[key] = (begin, cursor.position)
    alignment = metadata.get("general.alignment", ALIGNMENT)
    if (
        type(alignment) is not int
        or not 0 < alignment <= MAX_ALIGNMENT
        or alignment & (alignment - 1)
    ):
        raise cursor.damaged("an alignment of {found}, expected a power of two", found=alignment)
    if kinds.get("general.alignment", U32) != U32:
        raise cursor.damaged("an alignment that is no 32-bit number, which llama.cpp refuses")
    tensors = tuple(_tensor(cursor, metadata) for _ in range(n_tensors))
    data_offset = padded(cursor.position, alignment)
    _check_layout(where, tensors, alignment, size, data_offset)
    return Header(
        version=version,
        alignment=alignment,
        data_offset=data_offset,
        file_bytes=size,
        metadata=metadata,
        tensors=tensors,
        key_spans=key_spans,
    )


def first_keys(
    where: Path | str, *, size: int, read: Callable[[int], bytes]
) -> tuple[dict[str, Value], int]:
    """The metadata before the tokenizer's keys, and the number of tensors: a few kilobytes that say
    what a file is.

    Converters write the general keys first. Raises what `parse_header` raises.
    """
    cursor = Cursor(path=where, size=size, read=read)
    _opening(cursor)
    n_tensors = cursor.bounded("Q", MAX_TENSORS, "tensors")
    metadata: dict[str, Value] = {}
    for _ in range(cursor.bounded("Q", MAX_KEYS, "metadata keys")):
        key = cursor.string()
        if key.startswith("tokenizer."):
            break
        metadata[key] = value_at(cursor, cursor.number("I"))
    return metadata, n_tensors


def _opening(cursor: Cursor) -> int:
    """The file's version. Raises ModelDamaged or ModelUnknown, with the way out, for a file that is
    no GGUF file or that llama.cpp does not read.
    """
    magic = cursor.take(4)
    if magic in BEFORE_GGUF:
        raise ModelUnknown(
            "{path}: a file in the format {format}, older than GGUF (whisper.cpp still uses it), "
            "which llama.cpp no longer reads; fetch "
            "the model as GGUF, or convert it with llama.cpp's convert_llama_ggml_to_gguf.py.",
            path=cursor.path,
            format=BEFORE_GGUF[magic],
        )
    if magic not in {b"GGUF", b"FUGG"}:
        opening = magic + cursor.take(min(N_OPENING_BYTES, cursor.size) - 4)
        raise error_by_opening(cursor.path, opening) or ModelDamaged(
            "{path}: not a GGUF file: it begins with {found}, expected 'GGUF'; check the path "
            "or fetch the file again.",
            path=cursor.path,
            found=magic,
        )
    version = cursor.number("I")
    if magic == b"FUGG" or not version & 0xFFFF:
        raise ModelUnknown(
            "{path}: a big-endian GGUF file (for processors such as s390x), which llama.cpp reads "
            "only there; fetch the little-endian file, or turn this one around: pip install gguf, "
            "then gguf-convert-endian {path} little",
            path=cursor.path,
        )
    if version == 1:
        raise ModelUnknown(
            "{path}: GGUF version 1 (August 2023), which llama.cpp no longer reads; expected 2 or "
            "3: fetch a newer file of the model, or convert it again from the original.",
            path=cursor.path,
        )
    if version not in VERSIONS:
        raise ModelUnknown(
            "{path}: GGUF version {found}, expected 2 or 3; the file is newer than this hakaru "
            "and its llama.cpp, or damaged.",
            path=cursor.path,
            found=version,
        )
    return version


def has_weights(path: Path) -> bool:
    """True if the file at `path` holds its weights. False for a stand-in, which ends in a hole that
    takes no disk.

    Looks at the last MiB, or at the second half of a small file. Source: lseek(2), SEEK_DATA.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        try:
            os.lseek(file.fileno(), max(0, size - min(2**20, size // 2) - 1), os.SEEK_DATA)
        except OSError as error:
            return error.errno != errno.ENXIO
    return True


def padded(n: int, alignment: int = ALIGNMENT) -> int:
    """`n` rounded up to a multiple of `alignment`."""
    return -(-n // alignment) * alignment


def _tensor(cursor: Cursor, metadata: Mapping[str, Value]) -> Tensor:
    """The next row of the tensor table. Raises ModelDamaged or ModelUnknown."""
    name_bytes = cursor.bounded("Q", MAX_NAME, "bytes in a tensor name")
    name = cursor.take(name_bytes).decode("utf-8", errors="replace")
    n_dimensions = cursor.bounded("I", MAX_DIMENSIONS, "dimensions")
    shape = tuple(cursor.number("Q") for _ in range(n_dimensions))
    type_id = cursor.number("I")
    offset = cursor.number("Q")
    shape = shape or (1,)  # a scalar: ggml counts the dimensions that are not stated as 1
    if not name or any(not 0 < n < 2**48 for n in shape):
        raise cursor.damaged("tensor {name} has the shape {shape}", name=name, shape=shape)
    type_ = BY_ID.get(type_id)
    is_bitnet = is_bitnet_s(
        type_id, metadata.get("general.architecture"), metadata.get("general.file_type")
    )
    if type_ is None or is_bitnet:
        raise foreign_type(cursor.path, name, type_id, is_bitnet=is_bitnet)
    if shape[0] % type_.block:
        raise cursor.damaged(
            "tensor {name} has rows of {n} weights in blocks of {block}",
            name=name,
            n=shape[0],
            block=type_.block,
        )
    return Tensor(name=name, shape=shape, type=type_, offset=offset)


def tensor_twice(path: Path | str, name: str) -> ModelDamaged:
    """The error for a name that two tensors have."""
    return ModelDamaged(
        "{path}: tensor {name} stands twice; fetch the file again.", path=path, name=name
    )


def _check_layout(
    path: Path | str, tensors: tuple[Tensor, ...], alignment: int, size: int, data_offset: int
) -> None:
    """Raises ModelDamaged unless the tensors lie within the file, in the table's order and without
    gaps. llama.cpp refuses every other file. A `path` that is text is that of a file elsewhere,
    which does not grow when it is fetched.
    """
    expected, names = 0, set[str]()
    for tensor in tensors:
        if tensor.name in names:
            raise tensor_twice(path, tensor.name)
        names.add(tensor.name)
        end = tensor.offset + tensor.n_bytes
        if data_offset + end > size and isinstance(path, str):
            raise ModelDamaged(
                "{path}: tensor {name} ends at byte {end:,} but the file there has {size:,}: it "
                "was cut off before it came there; name another file or repository.",
                path=path,
                name=tensor.name,
                end=data_offset + end,
                size=size,
            )
        if data_offset + end > size:
            raise ModelDamaged(
                "{path}: tensor {name} ends at byte {end:,} but the file has {size:,}; "
                "the download is incomplete: fetch it again.",
                path=path,
                name=tensor.name,
                end=data_offset + end,
                size=size,
            )
        if tensor.offset != expected:
            raise ModelDamaged(
                "{path}: tensor {name} begins at byte {offset} of the data, expected {expected}: "
                "llama.cpp takes tensors only in the table's order and without gaps; fetch the "
                "file again, or write it again with llama.cpp's tools.",
                path=path,
                name=tensor.name,
                offset=tensor.offset,
                expected=expected,
            )
        expected = padded(end, alignment)


def _file_bytes(path: Path) -> int:
    """The size of the file at `path`, which can be opened and is not empty."""
    try:
        if path.is_dir():
            raise ModelNotFound(
                "{path}: is a directory, expected a GGUF file; name the file in it.", path=path
            )
        if path.exists() and not path.is_file():
            raise ModelNotFound(
                "{path}: is no regular file (a pipe or a device), expected a GGUF file.", path=path
            )
        size = path.stat().st_size
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        raise ModelNotFound("{path}: there is no such file; check the path.", path=path) from error
    except OSError as error:
        raise ModelNotFound(
            "{path}: cannot be read ({reason}).", path=path, reason=system_reason(error)
        ) from error
    if size == 0:
        raise ModelDamaged("{path}: the file is empty; fetch it again.", path=path)
    return size
