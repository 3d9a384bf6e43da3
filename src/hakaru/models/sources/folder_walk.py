"""What lies in a plain folder: GGUF files, the parts of a split model as one, checkpoints of
Hugging Face, and downloads that did not finish.

Links are followed, each folder is looked into once. Hidden folders are left out.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct, field

from hakaru.errors import HakaruError, ModelDamaged
from hakaru.formats.pieces import cut_up, joining
from hakaru.formats.split import part_names
from hakaru.language import say
from hakaru.models.sources.checkpoint import CONFIG, LARGEST_CONFIG
from hakaru.models.sources.on_disk import OnDisk, Unread, on_disk
from hakaru.models.sources.shards import INDEXES, refuse_other_folders, weight_files

MOST_NAMES: Final = 100_000
"""Names in one folder and all below it. A disk that holds more is not walked to its end."""
ADAPTER_CONFIG: Final = "adapter_config.json"
_UNFINISHED: Final = re.compile(
    r"^downloading_.+\.part$|\.gguf\b.*\.(part|incomplete|crdownload|downloadinprogress|tmp)$",
    re.IGNORECASE,
)
"""Names of downloads that go on or broke off: LM Studio's, browsers', llama.cpp's, ours."""

Namer = Callable[[str, Path], str]
"""How other commands name the file of that relative name at that path."""


def by_path(_relative: str, path: Path) -> str:
    """A file is named by its path."""
    return str(path)


class Walk(Struct):
    """A walk through folders: what it could not look into, and how many names it has seen."""

    unread: list[Unread] = field(default_factory=list)
    n_names: int = 0
    seen: set[tuple[int, int]] = field(default_factory=set)

    def folders(self, root: Path, depth: int) -> Iterator[tuple[Path, dict[str, Path]]]:
        """Each folder from `root` down to `depth` folders below it, with its files by name."""
        try:
            stat = root.stat()
            entries = sorted(os.scandir(root), key=lambda entry: entry.name)
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.unread.append(Unread(path=root, reason=reason or str(error)))
            return
        if (stat.st_dev, stat.st_ino) in self.seen:
            return
        self.seen.add((stat.st_dev, stat.st_ino))
        self.n_names += len(entries)
        below = [Path(e.path) for e in entries if _is_folder(e) and not _is_left_out(e.name)]
        yield root, {e.name: Path(e.path) for e in entries if not _is_folder(e)}
        for path in below if depth else ():
            if self.n_names > MOST_NAMES:
                reason = say("more than {n:,} names; name a folder in it", n=MOST_NAMES)
                self.unread.append(Unread(path=root, reason=reason))
                return
            yield from self.folders(path, depth - 1)


def in_folder(walk: Walk, root: Path, depth: int, program: str) -> Iterator[OnDisk]:
    """All that lies in `root` and in the folders down to `depth` below it."""
    for folder, files in walk.folders(root, depth):
        ggufs = list(gguf_files(files, program, by_path))
        yield from ggufs
        if not ggufs and (item := checkpoint_in(folder, files, program, str(folder))):
            yield item


def gguf_files(files: Mapping[str, Path], program: str, namer: Namer) -> Iterator[OnDisk]:
    """The GGUF files among `files` of one folder: a split model once, under its first part."""
    groups: dict[str, list[Path]] = {}
    for name, path in sorted(files.items()):
        if _UNFINISHED.search(name):
            yield unfinished(path, program)
        elif name.lower().endswith(".gguf"):
            base = path.name
            try:
                first = name.removesuffix(base) + part_names(base)[0]
            except HakaruError as error:
                yield on_disk(namer(name, path), program, path, problem=error)
                continue
            groups.setdefault(first if first in files else name, []).append(path)
    for name, parts in groups.items():
        yield on_disk(namer(name, parts[0]), program, parts[0], parts)
    for whole, pieces in cut_up(files).items():
        paths = [files[piece] for piece in pieces]
        to_join = joining(paths[0].with_name(Path(whole).name), whole, pieces)
        yield on_disk(namer(pieces[0], paths[0]), program, paths[0], paths, problem=to_join)


def checkpoint_in(
    folder: Path, files: Mapping[str, Path], program: str, name: str
) -> OnDisk | None:
    """The checkpoint of Hugging Face in `folder`, or the adapter; None where there is neither."""
    weights = [n for n in files if n.endswith((".safetensors", ".bin")) and "/" not in n]
    if not weights or not {CONFIG, ADAPTER_CONFIG} & files.keys():
        return None

    def read(wanted: str) -> bytes | None:
        if wanted not in files:
            return None
        with files[wanted].open("rb") as file:
            return file.read(LARGEST_CONFIG if wanted not in INDEXES else 4 * LARGEST_CONFIG)

    try:
        sizes = dict.fromkeys(files)
        refuse_other_folders(folder, sizes, read)
        weights = list(weight_files(folder, sizes, read).names)
    except OSError as error:
        damage = ModelDamaged(
            "{path}: cannot be read ({reason}).", path=folder, reason=error.strerror
        )
        return on_disk(name, program, folder, [files[n] for n in weights], problem=damage)
    except HakaruError as error:
        return on_disk(name, program, folder, [files[n] for n in weights], problem=error)
    return on_disk(name, program, folder, [files[n] for n in weights if n in files])


def unfinished(path: Path, program: str) -> OnDisk:
    """A download that goes on, or that broke off."""
    error = ModelDamaged(
        "{path}: a download that is not finished; fetch the model again with the program that "
        "began it, or remove the file.",
        path=path,
    )
    return on_disk(str(path), program, path, problem=error)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_left_out(name: str) -> bool:
    return name.startswith((".", "models--", "datasets--", "spaces--"))
