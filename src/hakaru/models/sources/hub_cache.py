"""What lies in a cache of the Hugging Face Hub.

    models--org--repo/refs/<name>                  the commit of a branch
    models--org--repo/snapshots/<commit>/<files>   links to blobs
    models--org--repo/blobs/<digest>.incomplete    a download that is not finished

Source: huggingface_hub, "Understand caching". Data sets and spaces are left out.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from hakaru.errors import HakaruError
from hakaru.models.sources.choice import Choice, choices, matching
from hakaru.models.sources.folder_walk import (
    Namer,
    Walk,
    by_path,
    checkpoint_in,
    gguf_files,
    unfinished,
)
from hakaru.models.sources.hub_rooms import ROOM
from hakaru.models.sources.model_folders import ALL_LEVELS
from hakaru.models.sources.on_disk import OnDisk
from hakaru.models.sources.reference import HubFile, parse_reference

_TYPE: Final = re.compile(
    r"(?<![a-z0-9])(?:ud-)?(?:i?q\d\w*|tq\d\w*|[bf]p?16|f32|mxfp4\w*|nvfp4)(?![a-z0-9])",
    re.IGNORECASE,
)
"""A type in the name of a file."""


def in_hub_cache(walk: Walk, root: Path, program: str, *, is_used: bool) -> Iterator[OnDisk]:
    """All that lies in the cache `root`. `is_used`: other commands look for `hf:` names there."""
    for room in sorted(root.glob(f"{ROOM}*")):
        repo = "/".join(room.name.removeprefix(ROOM).split("--"))
        commits = _commits(room)
        for folder, revision in commits.items():
            yield from _in_snapshot(walk, folder, program, repo if is_used else None, revision)
        for path in sorted((room / "blobs").glob("*.incomplete")):
            yield unfinished(path, program)


def _in_snapshot(
    walk: Walk, folder: Path, program: str, repo: str | None, revision: str | None
) -> Iterator[OnDisk]:
    files = {
        path.relative_to(folder).as_posix(): path
        for _, inside in walk.folders(folder, ALL_LEVELS)
        for path in inside.values()
    }
    whole = HubFile(repo=repo, revision=revision, file=None) if repo else None
    models = choices(dict.fromkeys(files), dict.fromkeys(files))
    ggufs = list(gguf_files(files, program, _namer(whole, models) if whole else by_path))
    yield from ggufs
    if not ggufs:
        name = str(whole) if whole and _means(whole) else str(folder)
        if item := checkpoint_in(folder, files, program, name):
            yield item


def _namer(whole: HubFile, models: tuple[Choice, ...]) -> Namer:
    """Names such as `hf:org/repo:Q4_K_M`, as short as they mean one file of the repository."""

    def name(relative: str, path: Path) -> str:
        types = [match[0] for match in _TYPE.finditer(path.stem)]
        for wanted in (*types[-1:], relative):
            meant = HubFile(repo=whole.repo, revision=whole.revision, file=wanted)
            found = matching(models, wanted)
            if len(found) == 1 and found[0].name == relative and _means(meant):
                return str(meant)
        return str(path)

    return name


def _means(wanted: HubFile) -> bool:
    """Whether the name, when it is typed, is read as it was meant."""
    try:
        return parse_reference(str(wanted)) == wanted
    except HakaruError:
        return False


def _commits(room: Path) -> dict[Path, str | None]:
    """The snapshots of a repository, the main branch first, each with the name of its revision;
    None for the main branch.
    """
    refs: dict[str, str] = {}
    with suppress(OSError):
        for path in sorted((room / "refs").rglob("*"), key=lambda path: path.name != "main"):
            with suppress(OSError, ValueError):
                commit = path.read_text(encoding="utf-8").strip()
                refs.setdefault(commit, path.relative_to(room / "refs").as_posix())
    folders = sorted((room / "snapshots").glob("*"), key=lambda path: refs.get(path.name) != "main")
    return {
        folder: None if (name := refs.get(folder.name, folder.name)) == "main" else name
        for folder in folders
    }
