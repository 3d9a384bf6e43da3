"""What the files of a recipe look like, to the byte, before anything is written.

The header is the source's own: every key and value is copied as the bytes that stand there (a
vocabulary is never unpacked), in the source's order, then the version of the quantization format
and the file type, then what is added. Tensors stand in llama.cpp's order, by layer and name, so
that a preset's file is byte for byte the one that llama.cpp's quantizer writes. Several parts are
cut as llama.cpp's gguf-split does: all keys in the first part, and a part ends before the tensor
that would make its data larger than asked for; a tensor is never cut. A recipe that fills one part
only makes a plain file. Source: llama.cpp, src/llama-quant.cpp, src/llama-model-loader.h,
tools/gguf-split/gguf-split.cpp.
"""

import hashlib
import json
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.engine.builds import lab_build
from hakaru.errors import Misuse
from hakaru.formats.gguf import Header, Tensor, padded, read_header
from hakaru.formats.header_file import header_tensors, packed_header, packed_key
from hakaru.formats.metadata import MetadataValue
from hakaru.formats.quant_types import BY_NAME
from hakaru.formats.split import MAX_PARTS, numbered_names, part_names
from hakaru.models.model import Model
from hakaru.models.presets import FTYPES, NEEDS_IMPORTANCE
from hakaru.quantization.file_bytes import padded_bytes

QUANTIZATION_VERSION: Final = 2
"""llama.cpp, ggml/include/ggml.h: GGML_QNT_VERSION."""
_REPLACED: Final = {
    "general.quantization_version", "general.file_type", "split.no", "split.count",
    "split.tensors.count",
}  # fmt: skip
_PRESET_OF: Final = {"Q5_K": "Q5_K_M", "Q4_K": "Q4_K_M", "Q3_K": "Q3_K_M", "MXFP4": "MXFP4_MOE"}
"""The preset that stands for a type which is no preset's name."""
_U16, _I32 = 2, 5
"""Numbers of types of values in GGUF."""


class PlannedFile(Struct, frozen=True, kw_only=True):
    """One file of the recipe: its path, all its bytes before the data, and its tensors."""

    path: Path
    header: bytes
    tensors: tuple[Tensor, ...]
    file_bytes: int

    @property
    def part(self) -> Path:
        """Where it is written until it is whole: beside its path and hidden."""
        return self.path.with_name(f".{self.path.name}.part")


class Stored(Struct, frozen=True, kw_only=True):
    """Where a tensor of the source lies."""

    tensor: Tensor
    part: int  # the number of the source's file
    at: int  # the first byte in that file


class Layout(Struct, frozen=True, kw_only=True):
    """The files of a recipe, and where the source keeps each tensor."""

    files: tuple[PlannedFile, ...]
    stored: dict[str, Stored]

    @property
    def file_bytes(self) -> int:
        """The exact bytes of all files together."""
        return sum(f.file_bytes for f in self.files)


def planned_bytes(
    source: Model,
    types: Mapping[str, str],
    *,
    file_type: int | None = None,
    added: Mapping[str, MetadataValue] | None = None,
    split_bytes: int | None = None,
) -> int:
    """The exact bytes of the file (or of all parts) that `write_recipe` writes from the same
    arguments. Nothing is written.

    Raises what `lay_out` raises.
    """
    return lay_out(
        source, types, source.path, file_type=file_type, added=added, split_bytes=split_bytes
    ).file_bytes


def lay_out(
    source: Model,
    types: Mapping[str, str],
    out: Path,
    *,
    file_type: int | None = None,
    added: Mapping[str, MetadataValue] | None = None,
    split_bytes: int | None = None,
) -> Layout:
    """The files of `source` with the types in `types`; a tensor that is not named keeps its own.

    `file_type` is llama.cpp's number of a preset; without it the type of most bytes decides.
    `added` are keys to add or to replace. Raises Misuse for names or types that do not exist,
    ModelUnknown for a type whose blocks do not divide a row.
    """
    if len(part_names(out.name)) > 1 and out != source.path:
        raise Misuse(
            "{path}: is the name of one part of a split model; choose a name without its numbers.",
            path=out,
        )
    headers = [read_header(path) for path in source.parts]
    stored = {
        t.name: Stored(tensor=t, part=i, at=header.data_offset + t.offset)
        for i, header in enumerate(headers)
        for t in header.tensors
    }
    _check_names(source, stored, types)
    ordered = sorted((s.tensor for s in stored.values()), key=_llama_order)
    chosen = {t.name: types.get(t.name, t.type.name) for t in ordered}
    alignment, added = headers[0].alignment, added or {}
    keys = _carried(source.parts[0], headers[0], _REPLACED | added.keys())
    keys.append(packed_key("general.quantization_version", QUANTIZATION_VERSION))
    number = _file_type(ordered, chosen) if file_type is None else file_type
    keys += [] if number is None else [packed_key("general.file_type", number)]
    keys += [packed_key(key, value) for key, value in added.items()]
    groups = _groups(ordered, chosen, alignment, split_bytes)
    names = (out.name,) if len(groups) == 1 else numbered_names(out.name, len(groups))
    files = []
    for i, (name, group) in enumerate(zip(names, groups, strict=True)):
        tensors = header_tensors([(t.name, t.shape) for t in group], chosen, alignment=alignment)
        numbers = _split_keys(i, len(groups), len(ordered)) if len(groups) > 1 else []
        header = packed_header([*(keys if i == 0 else []), *numbers], tensors, alignment)
        size = len(header) + padded(tensors[-1].offset + tensors[-1].n_bytes, alignment)
        files.append(
            PlannedFile(path=out.with_name(name), header=header, tensors=tensors, file_bytes=size)
        )
    return Layout(files=tuple(files), stored=stored)


def how_made(
    source: Model,
    types: Mapping[str, str],
    *,
    source_sha256: str | None = None,
    importance_sha256: str | None = None,
    texts: Mapping[str, str] | None = None,
) -> dict[str, MetadataValue]:
    """Keys that tell how a file was made: the recipe and its hash, the source, the engine, and the
    hash of every text by name.

    No time and no path stands among them: the same recipe gives the same file.
    """
    recipe = json.dumps(dict(sorted(types.items()))).encode()
    made: dict[str, MetadataValue] = {
        "hakaru.recipe.schema": "hakaru.recipe/1",
        "hakaru.recipe.sha256": hashlib.sha256(recipe).hexdigest(),
        "hakaru.recipe.engine": lab_build(),
        "hakaru.recipe.source.name": source.name,
    }
    if source_sha256:
        made["hakaru.recipe.source.sha256"] = source_sha256
    if importance_sha256:
        made["hakaru.recipe.importance.sha256"] = importance_sha256
    return made | {
        f"hakaru.recipe.text.{name}": sha256 for name, sha256 in sorted((texts or {}).items())
    }


def _check_names(source: Model, stored: Mapping[str, Stored], types: Mapping[str, str]) -> None:
    for name, type_ in types.items():
        if name not in stored:
            raise Misuse(
                "{path}: the recipe names the tensor {name}, which the model does not have.",
                path=source.path,
                name=name,
            )
        if type_ not in BY_NAME:
            raise Misuse(
                "{path}: the recipe gives {name} the type '{type}', which does not exist.",
                path=source.path,
                name=name,
                type=type_,
            )


def _carried(path: Path, header: Header, without: Iterable[str]) -> list[bytes]:
    """The keys of the source's header with their values, as the bytes that stand there."""
    with path.open("rb") as file:
        raw = file.read(header.data_offset)
    return [
        raw[begin:end] for key, (begin, end) in header.key_spans.items() if key not in set(without)
    ]


def _file_type(tensors: Iterable[Tensor], chosen: Mapping[str, str]) -> int | None:
    """The number of the preset that is made of the type with most bytes; None if there is no such
    preset.
    """
    totals: dict[str, int] = {}
    for tensor in tensors:
        type_ = chosen[tensor.name]
        totals[type_] = totals.get(type_, 0) + tensor.bytes_as(BY_NAME[type_])
    most = max(totals, key=lambda name: totals[name])
    return (FTYPES | NEEDS_IMPORTANCE).get(_PRESET_OF.get(most, most))


def _llama_order(tensor: Tensor) -> tuple[int, str]:
    """The key of llama.cpp's order; tensors outside the layers come first."""
    layer = re.match(r"blk\.(\d{1,9})", tensor.name)
    return int(layer[1]) if layer else -1, tensor.name


def _groups(
    ordered: Sequence[Tensor], chosen: Mapping[str, str], alignment: int, split_bytes: int | None
) -> list[list[Tensor]]:
    """The tensors of each part. Raises Misuse for more parts than llama.cpp reads."""
    groups: list[list[Tensor]] = [[]]
    data_bytes = 0  # of the last group
    for tensor in ordered:
        n_bytes = padded_bytes(tensor, chosen[tensor.name], alignment)
        if split_bytes is not None and groups[-1] and data_bytes + n_bytes > split_bytes:
            groups.append([])
            data_bytes = 0
        groups[-1].append(tensor)
        data_bytes += n_bytes
    if len(groups) > MAX_PARTS:
        raise Misuse(
            "parts of {found} bytes would be {n} files, expected at most {limit}; choose larger "
            "parts.",
            found=split_bytes,
            n=len(groups),
            limit=MAX_PARTS,
        )
    return groups


def _split_keys(no: int, count: int, n_tensors: int) -> list[bytes]:
    """The own keys of part `no`, in gguf-split's order and types, on which llama.cpp insists."""
    rows = (
        ("split.no", _U16, "<IH", no),
        ("split.tensors.count", _I32, "<Ii", n_tensors),
        ("split.count", _U16, "<IH", count),
    )
    return [
        struct.pack("<Q", len(key)) + key.encode() + struct.pack(form, kind, value)
        for key, kind, form, value in rows
    ]
