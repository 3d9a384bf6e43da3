"""Ollama's store, in place: a manifest names the blobs, and the blob of the model is a GGUF file.

    manifests/<registry>/<namespace>/<name>/<tag>    JSON: layers with media type, digest and size
    blobs/sha256-<digest>

Source: ollama, docs/api and server/modelpath.go. `ollama_stores` knows where the stores are.
Templates and parameters are left out.
"""

import os
import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from hakaru.errors import ModelDamaged, ModelNotFound
from hakaru.formats.bounded_json import bounded_json
from hakaru.language import say
from hakaru.models.sources.folder_walk import Walk, unfinished
from hakaru.models.sources.found import Companion, Found
from hakaru.models.sources.ollama_stores import closed_stores, stores
from hakaru.models.sources.on_disk import OnDisk, on_disk
from hakaru.models.sources.reference import OllamaName

MAX_MANIFEST: Final = 2**20
DEPTH: Final = 3  # folders above a manifest: registry, namespace, name
_MODEL, _PROJECTOR, _ADAPTER = (
    f"application/vnd.ollama.image.{kind}" for kind in ("model", "projector", "adapter")
)
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})")


def find_in_ollama(wanted: OllamaName) -> Found:
    """The model of that name. Raises ModelNotFound, with similar names, or ModelDamaged."""
    for store in stores():
        manifest = store / "manifests" / wanted.name / wanted.tag
        if os.access(manifest, os.R_OK) and manifest.is_file():
            return _found_in(store, manifest, wanted)
    names = _names()
    near = get_close_matches(str(wanted), names, n=5, cutoff=0.4) or names[:5]
    if not names and (closed := closed_stores()):
        raise ModelNotFound(
            "{where}: Ollama's store {store} may not be read by this user; join its group (sudo "
            "usermod -aG ollama $USER, then log in again), or set OLLAMA_MODELS to another store.",
            where=wanted,
            store=closed[0],
        )
    raise ModelNotFound(
        "{where}: Ollama has no such model on this machine; there is: {listed}.",
        where=wanted,
        listed=say(", ").join(near) or say("nothing"),
    )


def _found_in(store: Path, manifest: Path, wanted: OllamaName) -> Found:
    layers = _layers(manifest)
    models = [blob for kind, blob, _ in layers if kind == _MODEL]
    if not models:
        raise ModelNotFound(
            "{where}: has no model on this machine (it may run in Ollama's cloud); name another "
            "one.",
            where=wanted,
        )
    path = store / "blobs" / models[0]
    if not os.access(path, os.R_OK):
        raise _blob_missing(wanted, path)
    companions = tuple(
        Companion(role="mmproj", name=blob, bytes=size, path=store / "blobs" / blob)
        for kind, blob, size in layers
        if kind == _PROJECTOR
    )
    return Found(
        path=path,
        origin=str(wanted),
        complete=True,
        companions=companions,
        version=models[0].removeprefix("sha256-"),
    )


def _layers(manifest: Path) -> list[tuple[str, str, int | None]]:
    """Media type, blob's name and bytes of every layer."""
    try:
        with manifest.open("rb") as file:
            rows: Any = bounded_json(file.read(MAX_MANIFEST))["layers"]
        return [
            (
                str(row["mediaType"]),
                _blob(row["digest"]),
                row["size"] if type(row.get("size")) is int else None,
            )
            for row in rows
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ModelDamaged(
            "{path}: is no manifest of Ollama; fetch the model again with ollama pull.",
            path=manifest,
        ) from error


def _blob(digest: str) -> str:
    """The name of the blob with this digest. Raises ValueError."""
    match = _DIGEST.fullmatch(digest)
    if match is None:
        raise ValueError(digest)
    return f"sha256-{match[1]}"


def _names() -> list[str]:
    """Every model of every store, as a person would name it."""
    return [str(name) for store in stores() for _, name in _manifests(Walk(), store)]


def _manifests(walk: Walk, store: Path) -> Iterator[tuple[Path, OllamaName]]:
    """The manifests of a store, with the names that they give."""
    root = store / "manifests"
    for folder, files in walk.folders(root, DEPTH):
        name = folder.relative_to(root)
        for tag, path in files.items() if len(name.parts) == DEPTH else ():
            yield path, OllamaName(name=name.as_posix(), tag=tag)


def in_store(walk: Walk, store: Path, program: str, *, is_used: bool) -> Iterator[OnDisk]:
    """All that lies in the `store`: its models, projectors and adapters, and the downloads that are
    not finished. A model that runs in Ollama's cloud is not on this disk. `is_used`: other commands
    look for `ollama:` names there.
    """
    for manifest, name in _manifests(walk, store):
        try:
            layers = _layers(manifest)
        except (ModelDamaged, OSError) as error:
            problem = error if isinstance(error, ModelDamaged) else _closed(manifest, error)
            yield on_disk(str(name), program, manifest, problem=problem)
            continue
        for kind, blob, _ in layers:
            path = store / "blobs" / blob
            if kind == _MODEL:
                missing = None if path.is_file() else _blob_missing(name, path)
                label = str(name) if is_used else str(path)
                yield on_disk(label, program, path, problem=missing)
            elif kind in (_PROJECTOR, _ADAPTER) and path.is_file():
                yield on_disk(str(path), program, path)
    for path in sorted((store / "blobs").glob("*-partial")):
        yield unfinished(path, program)


def _closed(path: Path, error: OSError) -> ModelDamaged:
    return ModelDamaged("{path}: cannot be read ({reason}).", path=path, reason=error.strerror)


def _blob_missing(name: OllamaName, path: Path) -> ModelDamaged:
    return ModelDamaged(
        "{where}: its file {path} is missing; run: ollama pull {name}",
        where=name,
        path=path,
        name=str(name).removeprefix("ollama:"),
    )
