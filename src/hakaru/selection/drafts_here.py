"""Draft models for the rows of `choose` that lie on this machine, in folders that keep the names of
repositories: the Hub's cache and LM Studio's.

They are found by the names of repositories and files alone, since `choose` answers at once: no
header is read. So the vocabulary of a draft is taken for a row's where both are models of one maker
and one architecture with the same number of tokens; token by token `tune` compares them. Drafts in
other folders are left out here, and not by `tune`.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from hakaru.memory.compute import is_known
from hakaru.models.catalogue import KnownModel
from hakaru.models.sources.hub_rooms import ROOM, room_name
from hakaru.planning.extras import LARGEST_DRAFT
from hakaru.selection.catalogue_sizes import BELOW_FOUR_BITS, sized, types_of
from hakaru.selection.conditions import does
from hakaru.selection.contender import Contender


class DraftHere(Struct, frozen=True, kw_only=True):
    """A whole file of a model of the catalogue that may draft for others."""

    model: KnownModel
    type: str
    path: Path

    @property
    def bytes(self) -> int:
        """Of its weights."""
        return sized(self.model, self.type).load.total_bytes


def drafts_in(
    cache: Path, models: Iterable[KnownModel], *, lm_studio: Iterable[Path] = ()
) -> tuple[DraftHere, ...]:
    """Those in a cache of the Hub, and in LM Studio's folders, whose repository is one of a
    model's.
    """
    folders = _by_repo(cache, lm_studio)
    if not folders:
        return ()
    return tuple(
        DraftHere(model=model, type=type_, path=path)
        for model in models
        for repo in model.gguf_repos
        if (found := folders.get(room_name(repo).lower()))
        and is_known(model.shape)
        and does(model, "chat")
        for folder in found
        for path, type_ in _files(folder, types_of(model))
    )


def _by_repo(cache: Path, lm_studio: Iterable[Path]) -> dict[str, list[Path]]:
    """The folders with files of a repository, by its name in the Hub's cache, in small letters."""
    folders: dict[str, list[Path]] = {}
    for path in sorted(cache.glob(f"{ROOM}*/snapshots/*/")):
        folders.setdefault(path.parents[1].name.lower(), []).append(path)
    for path in sorted(path for root in lm_studio for path in root.glob("*/*/")):
        folders.setdefault(room_name(f"{path.parent.name}/{path.name}").lower(), []).append(path)
    return folders


def _files(folder: Path, types: Sequence[str]) -> Iterator[tuple[Path, str]]:
    """Whole files in one piece whose names end with one of the types. A file of somebody's own mix
    ("UD-Q4_K_M") has another size and is left out.
    """
    for path in sorted(folder.glob("*.gguf")):
        name, _, type_ = path.stem.upper().replace(".", "-").rpartition("-")
        if type_ in types and not name.endswith("UD") and path.is_file():
            yield path, type_


def draft_for(row: Contender, drafts: Sequence[DraftHere]) -> DraftHere | None:
    """The draft for a row: the smallest model; of its types the smallest of four bits or more, else
    the largest.
    """
    fitting = [draft for draft in drafts if _may_draft(draft, row)]
    if not fitting:
        return None
    least = min(draft.model.n_params for draft in fitting)
    smallest = [draft for draft in fitting if draft.model.n_params == least]
    exact = [draft for draft in smallest if draft.type not in BELOW_FOUR_BITS]
    if exact:
        return min(exact, key=lambda draft: draft.bytes)
    return max(smallest, key=lambda draft: draft.bytes)


def _may_draft(draft: DraftHere, row: Contender) -> bool:
    return (
        draft.model.n_vocab == row.model.n_vocab
        and _family(draft.model) == _family(row.model)
        and draft.bytes <= LARGEST_DRAFT * row.sized.load.total_bytes
    )


def _family(model: KnownModel) -> tuple[str, str]:
    """Who made a model, and its architecture, with or without experts."""
    maker = (model.base_repo or model.hf_repo).partition("/")[0].lower()
    return maker, model.architecture.removesuffix("moe")
