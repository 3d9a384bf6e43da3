"""A model, or a file that lies beside models, on this machine's disk: by which name other commands
take it, which files it has, and when it was last used.

Files are compared by device and inode, not by name. So links, the blobs that two tags of Ollama
share and the snapshots of one repository count once.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import HakaruError

Inodes = frozenset[tuple[int, int]]


class OnDisk(Struct, frozen=True, kw_only=True):
    """One model on the disk, in one file or several."""

    name: str  # by which other commands take it; a path where there is no shorter name
    program: str  # whose folder it lies in, such as "ollama"
    path: Path  # of the first file, or the folder of a checkpoint
    files: tuple[Path, ...]  # those with weights that are there
    bytes: int
    used_at: float | None  # seconds since 1970; None: this file system does not keep it
    inodes: Inodes
    problem: HakaruError | None = None  # why it is no whole model, where that is clear at once
    also: tuple[str, ...] = ()  # other names of the same files


class Unread(Struct, frozen=True, kw_only=True):
    """A folder that could not be looked into, or not to its end."""

    path: Path
    reason: str


def on_disk(
    name: str,
    program: str,
    path: Path,
    files: Sequence[Path] = (),
    *,
    problem: HakaruError | None = None,
) -> OnDisk:
    """What lies at `path`, or in the `files` of it that are there."""
    stats = {file: stat for file in files or (path,) if (stat := _stat(file))}
    return OnDisk(
        name=name,
        program=program,
        path=path,
        files=tuple(stats),
        bytes=sum(stat.st_size for stat in stats.values()),
        used_at=max((s.st_atime for s in stats.values()), default=None) if _keeps(path) else None,
        inodes=frozenset((stat.st_dev, stat.st_ino) for stat in stats.values()),
        problem=problem,
    )


def each_once(items: Iterable[OnDisk]) -> list[OnDisk]:
    """The items without those whose files were there before; the first of them takes over the
    names of the others. A name that means other files already gives way to the path.
    """
    kept: list[OnDisk] = []
    places: dict[Inodes, int] = {}
    names: set[str] = set()
    for item in items:
        if (at := places.get(item.inodes)) is not None and item.inodes:
            first = kept[at]
            if item.name not in (first.name, *first.also):
                kept[at] = replace(first, also=(*first.also, item.name))
            continue
        name = str(item.path) if item.name in names else item.name
        names.add(name)
        places[item.inodes] = len(kept)
        kept.append(replace(item, name=name))
    return kept


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except OSError:
        return None


def _keeps(path: Path) -> bool:
    """Whether the file system keeps when a file was last read."""
    try:
        return not os.statvfs(path).f_flag & getattr(os, "ST_NOATIME", 0)
    except OSError:
        return False
