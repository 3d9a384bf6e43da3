"""Which model file a folder or a repository means: split files are one choice, companions are none.

What a file is, is told by its header (`kinds`); where that was not read, its name is taken at its
word.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hakaru.errors import HakaruError, ModelNotFound
from hakaru.formats.gguf import first_keys, read_header
from hakaru.formats.pieces import cut_up, joining
from hakaru.formats.split import part_names, whole_name
from hakaru.language import say
from hakaru.models.kinds import DRAFT, PROJECTOR, likely_role, role_of
from hakaru.models.sources.found import Companion
from hakaru.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One model among files: its parts in order and their bytes together (None if unknown)."""

    parts: tuple[str, ...]
    bytes: int | None

    @property
    def name(self) -> str:
        """What a person calls it: the first part's path."""
        return self.parts[0]


Roles = Mapping[str, str | None]
"""What files are beside a model (see `kinds`), or None for a model, by path; of a split one the
first part's.
"""


def choices(files: Mapping[str, int | None], roles: Roles | None = None) -> tuple[Choice, ...]:
    """The models among `files` (path to bytes): every GGUF file that is nothing else, the parts of
    a split one together.

    `roles` are what headers told; the name tells of all others.
    """
    found: dict[str, Choice] = {}
    for path in sorted(files):
        folder, _, name = path.rpartition("/")
        if not name.lower().endswith(".gguf") or role(path, roles):
            continue
        prefix = f"{folder}/" if folder else ""
        parts = tuple(prefix + part for part in part_names(name))
        sizes = [files.get(part) for part in parts]
        known = [n for n in sizes if n is not None]
        found.setdefault(
            parts[0], Choice(parts=parts, bytes=sum(known) if len(known) == len(parts) else None)
        )
    return tuple(found.values())


def roles_of_files(files: Mapping[str, Path]) -> dict[str, str | None]:
    """What the GGUF files among `files` are beside a model, by their headers; those that cannot be
    read are left out.
    """
    found = {}
    for name, path in files.items():
        if name.lower().endswith(".gguf"):
            with suppress(HakaruError, OSError):
                found[name] = _role_of_file(path)
    return found


def _role_of_file(path: Path) -> str | None:
    """By the first keys, where they suffice: a vocabulary is long, and a folder has many files."""
    with path.open("rb") as file:
        keys, n_tensors = first_keys(path, size=path.stat().st_size, read=file.read)
    if (
        n_tensors
        and "general.architecture" in keys
        and not any(key.endswith(".nextn_predict_layers") for key in keys)
    ):
        return role_of(keys, n_tensors)
    header = read_header(path)
    return role_of(header.metadata, len(header.tensors), {t.name for t in header.tensors})


def role(path: str, roles: Roles | None) -> str | None:
    """What the GGUF file at `path` is beside a model, by its header if that is among `roles`, else
    by its name.
    """
    folder, _, name = path.rpartition("/")
    first = (f"{folder}/" if folder else "") + part_names(name)[0]
    return roles[first] if roles is not None and first in roles else likely_role(name)


def projector(files: Mapping[str, int | None], roles: Roles | None = None) -> str | None:
    """The vision projector among `files`: F16 before BF16 before the first by name."""
    found = sorted(f for f in files if f.lower().endswith(".gguf") and role(f, roles) == PROJECTOR)
    ranked = sorted(found, key=lambda f: (not _names_type(f, "f16"), not _names_type(f, "bf16")))
    return next(iter(ranked), None)


def companions_of(
    files: Mapping[str, int | None], roles: Roles | None, paths: Mapping[str, Path] | None = None
) -> tuple[Companion, ...]:
    """What lies beside a model to be loaded with it: the projector, then draft heads."""
    eyes = projector(files, roles)
    drafts = sorted(f for f in files if f.lower().endswith(".gguf") and role(f, roles) == DRAFT)
    return tuple(
        Companion(
            role=PROJECTOR if name == eyes else DRAFT,
            name=name,
            bytes=files[name],
            path=(paths or {}).get(name),
        )
        for name in [*([eyes] if eyes else []), *drafts]
    )


def choose(
    where: str,
    found: tuple[Choice, ...],
    wanted: str | None,
    files: Mapping[str, int | None] | None = None,
    roles: Roles | None = None,
) -> Choice:
    """The one choice that `wanted` means: a path, a file name or a type such as Q4_K_M, in any
    case; without it the only one.

    `files` are all that lie there, `roles` what headers told of them: where no model is meant, what
    lies there instead is told, such as the pieces of a cut file. Raises ModelNotFound, which lists
    the choices with their sizes.
    """
    meant = matching(found, wanted) if wanted else found
    if len(meant) == 1:
        return meant[0]
    if not meant:
        _refuse_pieces(where, files or {}, wanted)
    listed = say(", ").join(_described(c) for c in (meant or found))
    others = [
        f"{f} ({r})"
        for f in sorted(files or {})
        if f.lower().endswith(".gguf") and (r := role(f, roles))
    ]
    if not found and others:
        raise ModelNotFound(
            "{where}: there is no GGUF model, only {listed}; name a folder or a repository that "
            "has one.",
            where=where,
            listed=say(", ").join(others[:20]),
        )
    if not found:
        raise ModelNotFound(
            "{where}: there is no GGUF model; name a folder or a repository that has one.",
            where=where,
        )
    if not meant:
        raise ModelNotFound(
            "{where}: nothing there is named '{wanted}'; there is: {listed}.",
            where=where,
            wanted=wanted,
            listed=listed,
        )
    raise ModelNotFound(
        "{where}: has {n} models that may be meant; name one of them: {listed}.",
        where=where,
        n=len(meant),
        listed=listed,
    )


def named_file(files: Mapping[str, int | None], wanted: str) -> Choice | None:
    """The GGUF file of exactly that path or name, whatever it is."""
    for path in sorted(files):
        if path.lower().endswith(".gguf") and wanted.lower() in {
            path.lower(),
            path.rpartition("/")[2].lower(),
        }:
            folder, _, name = path.rpartition("/")
            return Choice(
                parts=tuple((f"{folder}/" if folder else "") + part for part in part_names(name)),
                bytes=files[path],
            )
    return None


def _refuse_pieces(where: str, files: Mapping[str, int | None], wanted: str | None) -> None:
    """Raises ModelUnknown or ModelNotFound if what is meant lies there in pieces."""
    pieces = cut_up(files)
    whole = tuple(Choice(parts=(name,), bytes=None) for name in pieces)
    named = tuple(c for c in whole if wanted in pieces[c.name]) if wanted else whole
    for choice in named or (matching(whole, wanted) if wanted else ()):
        raise joining(where, choice.name, pieces[choice.name])


def matching(found: tuple[Choice, ...], wanted: str) -> tuple[Choice, ...]:
    """Those of `found` that `wanted` names by path or file name; else those whose name holds it as
    a type.
    """
    exact = [
        c
        for c in found
        if any(wanted.lower() in {p.lower(), p.rpartition("/")[2].lower()} for p in c.parts)
    ]
    return tuple(exact or [c for c in found if _names_type(whole_name(c.name), wanted)])


def _names_type(path: str, tag: str) -> bool:
    """Whether `tag` stands in the path as a word of its own: Q4_K is not in Q4_K_M."""
    return (
        re.search(
            rf"(?<![^\W_]){re.escape(tag.lower())}(?![\w])", path.lower().removesuffix(".gguf")
        )
        is not None
    )


def _described(choice: Choice) -> str:
    return (
        f"{choice.name} ({format_bytes(choice.bytes)})" if choice.bytes is not None else choice.name
    )
