"""Which model file a folder or a repository means: split files are one choice, companions are none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from hakaru.errors import ModelNotFound
from hakaru.language import say
from hakaru.models.split import part_names, whole_name
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


def choices(files: Mapping[str, int | None]) -> tuple[Choice, ...]:
    """The models among `files` (path to bytes): every GGUF file that is no companion, the parts of a split one together."""
    found: dict[str, Choice] = {}
    for path in sorted(files):
        folder, _, name = path.rpartition("/")
        if not name.lower().endswith(".gguf") or is_companion(name):
            continue
        prefix = f"{folder}/" if folder else ""
        parts = tuple(prefix + part for part in part_names(name))
        sizes = [files.get(part) for part in parts]
        known = [n for n in sizes if n is not None]
        found.setdefault(parts[0], Choice(parts=parts, bytes=sum(known) if len(known) == len(parts) else None))
    return tuple(found.values())


def is_companion(name: str) -> bool:
    """Whether a GGUF file is no language model by its name: a projector, an importance matrix."""
    return "mmproj" in name.lower() or "imatrix" in name.lower()


def projector(files: Mapping[str, int | None]) -> str | None:
    """The vision projector among `files`: F16 before BF16 before the first by name."""
    found = sorted(f for f in files if f.lower().endswith(".gguf") and "mmproj" in f.lower())
    ranked = sorted(found, key=lambda f: (not _names_type(f, "f16"), not _names_type(f, "bf16")))
    return next(iter(ranked), None)


def choose(where: str, found: tuple[Choice, ...], wanted: str | None) -> Choice:
    """The one choice that `wanted` means: a path, a file name or a type such as Q4_K_M, in any case; without it the only one.

    Raises ModelNotFound, which lists the choices with their sizes.
    """
    meant = matching(found, wanted) if wanted else found
    if len(meant) == 1:
        return meant[0]
    listed = say(", ").join(_described(c) for c in (meant or found))
    if not found:
        raise ModelNotFound("{where}: there is no GGUF model; name a folder or a repository that has one.", where=where)
    if not meant:
        raise ModelNotFound(
            "{where}: nothing there is named '{wanted}'; there is: {listed}.", where=where, wanted=wanted, listed=listed
        )
    raise ModelNotFound(
        "{where}: has {n} models that may be meant; name one of them: {listed}.", where=where, n=len(meant), listed=listed
    )


def matching(found: tuple[Choice, ...], wanted: str) -> tuple[Choice, ...]:
    """Those of `found` that `wanted` names by path or file name; else those whose name holds it as a type."""
    exact = [c for c in found if any(wanted.lower() in {p.lower(), p.rpartition("/")[2].lower()} for p in c.parts)]
    return tuple(exact or [c for c in found if _names_type(whole_name(c.name), wanted)])


def _names_type(path: str, tag: str) -> bool:
    """Whether `tag` stands in the path as a word of its own: Q4_K is not in Q4_K_M."""
    return re.search(rf"(?<![^\W_]){re.escape(tag.lower())}(?![\w])", path.lower().removesuffix(".gguf")) is not None


def _described(choice: Choice) -> str:
    return f"{choice.name} ({format_bytes(choice.bytes)})" if choice.bytes is not None else choice.name
