"""What is on this disk: each folder is read by its layout, so that a store of Ollama or a cache of
the Hub is also understood where a person keeps a copy of it.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hakaru.models.sources.folder_walk import Walk, in_folder
from hakaru.models.sources.hub_cache import in_hub_cache
from hakaru.models.sources.hub_rooms import ROOM
from hakaru.models.sources.model_folders import LEDGER, ModelFolder, hub_cache
from hakaru.models.sources.ollama import in_store
from hakaru.models.sources.ollama_stores import stores
from hakaru.models.sources.on_disk import OnDisk, Unread, each_once, on_disk


def look_around(
    folders: Iterable[ModelFolder], files: Iterable[Path] = ()
) -> tuple[list[OnDisk], list[Unread]]:
    """All that lies in the `folders`, and those of `files` that are there; each once. Also the
    folders that could not be looked into. Only names are read, and small files that describe a
    store.
    """
    walk = Walk()
    items = [item for folder in folders for item in _in(folder, walk)]
    items += [
        on_disk(str(path), LEDGER, path)
        for path in files
        if path.suffix.lower() == ".gguf" and path.is_file()
    ]
    return each_once(items), walk.unread


def _in(folder: ModelFolder, walk: Walk) -> Iterator[OnDisk]:
    path, program = folder.path, folder.program
    if os.path.isdir(path / "manifests") and os.path.isdir(path / "blobs"):
        yield from in_store(walk, path, program, is_used=path in stores())
        return
    yield from in_folder(walk, path, folder.depth, program)
    if any(path.glob(f"{ROOM}*")):
        yield from in_hub_cache(walk, path, program, is_used=path == hub_cache())
