"""The models in a folder or a repository: the parts of a split model are one choice, companions are
no choice.

The header tells the role of a file (`kinds`); where the header was not read, the name tells it.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from hakaru.errors import HakaruError, ModelNotFound
from hakaru.formats.gguf import first_keys, read_header
from hakaru.formats.pieces import cut_up, joining
from hakaru.formats.split import part_names, whole_name
from hakaru.formats.untouched import open_untouched
from hakaru.language import say
from hakaru.models.kinds import DRAFT, PROJECTOR, likely_role, role_of
from hakaru.models.sources.found import Companion
from hakaru.units import format_bytes


class Choice(Struct, frozen=True, kw_only=True):
    """One model among files."""

    parts: tuple[str, ...]  # paths, in order
    bytes: int | None  # of all parts; None: unknown

    @property
    def name(self) -> str:
        """The path of the first part, by which a person names the model."""
        return self.parts[0]


Roles = Mapping[str, str | None]
"""Roles of files beside a model (see `kinds`), or None for a model, by path. A split model stands
under the path of its first part.
"""


def choices(files: Mapping[str, int | None], roles: Roles | None = None) -> tuple[Choice, ...]:
    """The models among `files` (path to bytes): GGUF files without a role beside a model.

    `roles` are those that headers told; the role of any other file is told by its name.
    """
    models: dict[str, Choice] = {}
    for path in sorted(files):
        folder, _, name = path.rpartition("/")
        if not name.lower().endswith(".gguf") or role(path, roles):
            continue
        prefix = f"{folder}/" if folder else ""
        parts = tuple(prefix + part for part in part_names(name))
        sizes = [size for part in parts if (size := files.get(part)) is not None]
        n_bytes = sum(sizes) if len(sizes) == len(parts) else None
        models.setdefault(parts[0], Choice(parts=parts, bytes=n_bytes))
    return tuple(models.values())


def roles_of_files(files: Mapping[str, Path]) -> dict[str, str | None]:
    """The roles of the GGUF files among `files`, by their headers; files that cannot be read are
    left out.
    """
    roles = {}
    for name, path in files.items():
        if name.lower().endswith(".gguf"):
            with suppress(HakaruError, OSError):
                roles[name] = role_of_file(path)
    return roles


def role_of_file(path: Path) -> str | None:
    """The role of one file. The first keys often suffice; reading them alone saves the time for a
    long vocabulary.
    """
    with open_untouched(path) as file:
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
    """The role of the GGUF file at `path`: as in `roles`, or if it is not there, by its name."""
    folder, _, name = path.rpartition("/")
    first = (f"{folder}/" if folder else "") + part_names(name)[0]
    return roles[first] if roles is not None and first in roles else likely_role(name)


def projector(files: Mapping[str, int | None], roles: Roles | None = None) -> str | None:
    """The vision projector among `files`: one in F16, else one in BF16, else the first by name."""
    projectors = _in_role(files, roles, PROJECTOR)
    return min(
        projectors,
        key=lambda name: (not names_type(name, "f16"), not names_type(name, "bf16")),
        default=None,
    )


def _in_role(files: Mapping[str, int | None], roles: Roles | None, wanted: str) -> list[str]:
    ggufs = (name for name in sorted(files) if name.lower().endswith(".gguf"))
    return [name for name in ggufs if role(name, roles) == wanted]


def companions_of(
    files: Mapping[str, int | None], roles: Roles | None, paths: Mapping[str, Path] | None = None
) -> tuple[Companion, ...]:
    """The files beside a model that are loaded with it: the projector, then draft heads."""
    eyes = projector(files, roles)
    drafts = _in_role(files, roles, DRAFT)
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
    """The choice among `found` that `wanted` means: a path, a file name or a type such as Q4_K_M.
    If `wanted` is None, the only choice.

    `files` are all files there and `roles` their roles: they tell what is there in the place of a
    model, such as the pieces of a cut file. Raises ModelNotFound, which lists the choices with
    their sizes.
    """
    meant = matching(found, wanted) if wanted else found
    if len(meant) == 1:
        return meant[0]
    if not meant:
        _refuse_pieces(where, files or {}, wanted)
    listed = say(", ").join(described(choice) for choice in (meant or found))
    others = [
        f"{name} ({name_role})"
        for name in sorted(files or {})
        if name.lower().endswith(".gguf") and (name_role := role(name, roles))
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
    """The GGUF file of exactly that path or name, in whatever role."""
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
    """Raises ModelUnknown or ModelNotFound if the wanted file was cut into pieces."""
    pieces = cut_up(files)
    whole = tuple(Choice(parts=(name,), bytes=None) for name in pieces)
    named = tuple(file for file in whole if wanted in pieces[file.name]) if wanted else whole
    for choice in named or (matching(whole, wanted) if wanted else ()):
        raise joining(where, choice.name, pieces[choice.name])


def matching(found: tuple[Choice, ...], wanted: str) -> tuple[Choice, ...]:
    """The choices of `found` that `wanted` names by path or file name; without such a choice, those
    whose name has `wanted` as a type.
    """
    exact = [
        choice
        for choice in found
        if any(
            wanted.lower() in {part.lower(), part.rpartition("/")[2].lower()}
            for part in choice.parts
        )
    ]
    return tuple(exact or [c for c in found if names_type(whole_name(c.name), wanted)])


def names_type(path: str, tag: str) -> bool:
    """True if `tag` is a whole word of the path: Q4_K is none of Q4_K_M."""
    word = rf"(?<![^\W_]){re.escape(tag.lower())}(?![\w])"
    return re.search(word, path.lower().removesuffix(".gguf")) is not None


def described(choice: Choice) -> str:
    size = "" if choice.bytes is None else f" ({format_bytes(choice.bytes)})"
    return choice.name + size
