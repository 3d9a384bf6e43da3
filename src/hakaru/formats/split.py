"""Models split over several GGUF files, `name-00001-of-0000N.gguf`: their names, and their headers
as one.

The first part has the metadata; every part has a header for its own tensors. llama.cpp is given the
first part and finds the others by their names, so the parts must lie in one directory.

Source: llama.cpp, src/llama-model-loader.cpp, src/llama.cpp (llama_split_path), tools/gguf-split.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from hakaru.errors import ModelDamaged, ModelNotFound, ModelUnknown
from hakaru.formats.gguf import Header, read_header, tensor_twice

MAX_PARTS: Final = 4096  # a name such as x-00001-of-99999.gguf is a stranger's claim
_PART: Final = re.compile(r"(?P<stem>.+)-(?P<no>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


def part_names(name: str) -> tuple[str, ...]:
    """The file names of all parts of the model that `name` is a part of, in order; `name` alone if
    it is no part.

    Raises ModelUnknown for an impossible number, such as part 3 of 2.
    """
    part = _PART.fullmatch(name)
    if part is None:
        return (name,)
    no, count = int(part["no"]), int(part["count"])
    if not 1 <= no <= count <= MAX_PARTS:
        raise ModelUnknown(
            "{path}: is no possible part of a split model; check its name.", path=name
        )
    return numbered_names(f"{part['stem']}.gguf", count)


def numbered_names(name: str, count: int) -> tuple[str, ...]:
    """The names of the `count` parts of a model called `name`."""
    stem = name.removesuffix(".gguf")
    return tuple(f"{stem}-{i:05d}-of-{count:05d}.gguf" for i in range(1, count + 1))


def whole_name(name: str) -> str:
    """The model's file name that all parts share: `name` without the numbers of a part."""
    part = _PART.fullmatch(name)
    return f"{part['stem']}.gguf" if part else name


def read_parts(path: Path) -> tuple[tuple[Path, ...], Header]:
    """The paths of all parts of the model at `path` (any part, or the only file), and their joined
    header.

    The joined header has the first part's metadata and offsets, the tensors of all parts, and the
    sum of the files' bytes. Raises what `read_header` raises, ModelNotFound for a missing part and
    ModelDamaged for parts that do not belong together.
    """
    names = part_names(path.name)
    paths = tuple(path.with_name(name) for name in names)
    missing = [part.name for part in paths if not part.exists()]
    if missing and path.exists():
        raise parts_missing(path, missing, len(paths))
    headers = tuple(read_header(part) for part in paths)
    check_parts(paths, headers)
    joined = replace(
        headers[0],
        file_bytes=sum(header.file_bytes for header in headers),
        tensors=tuple(tensor for header in headers for tensor in header.tensors),
    )
    return paths, joined


def parts_missing(path: Path | str, missing: Sequence[str], count: int) -> ModelNotFound:
    """The error for a split file of `count` parts without those that are named."""
    return ModelNotFound(
        "{path}: {n} of its {count} parts are missing, the first of them {name}; fetch them "
        "into the same folder.",
        path=path,
        n=len(missing),
        count=count,
        name=missing[0],
    )


def check_parts(paths: tuple[Path, ...], headers: tuple[Header, ...]) -> None:
    """Raises ModelDamaged or ModelUnknown for parts whose metadata contradict their names, or that
    have a tensor twice.
    """
    names: set[str] = set()
    for i, (path, header) in enumerate(zip(paths, headers, strict=True)):
        _check_number(path, header, "split.count", len(paths) if len(paths) > 1 else None)
        if len(paths) > 1:
            _check_number(path, header, "split.no", i)
        for tensor in header.tensors:
            if tensor.name in names:
                raise tensor_twice(path, tensor.name)
            names.add(tensor.name)
    if len(paths) > 1:
        _check_number(paths[0], headers[0], "split.tensors.count", len(names))


def _check_number(path: Path, header: Header, key: str, expected: int | None) -> None:
    """Raises unless the metadata says the `expected` number; None: the file is no part."""
    number = header.metadata.get(key)
    if expected is None and number not in {None, 0, 1}:
        raise ModelUnknown(
            "{path}: is one part of a model split into {n} files, but its name does not say "
            "which; expected a name such as model-00001-of-0000{n}.gguf: rename the parts.",
            path=path,
            n=number,
        )
    if expected is not None and number != expected:
        raise ModelDamaged(
            "{path}: {key} is {found}, expected {expected}; the parts do not belong together: "
            "fetch them again.",
            path=path,
            key=key,
            found=number,
            expected=expected,
        )
