"""Ollama's store, in place: a manifest names the blobs, and the blob of the model is a GGUF file.

    manifests/<registry>/<namespace>/<name>/<tag>    JSON: layers with media type, digest and size
    blobs/sha256-<digest>

Source: ollama, docs/api and server/modelpath.go. `ollama_stores` knows where the stores are.
Adapters, templates and parameters are left out.
"""

import os
import re
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

from hakaru.errors import ModelDamaged, ModelNotFound
from hakaru.formats.bounded_json import bounded_json
from hakaru.language import say
from hakaru.models.sources.found import Companion, Found
from hakaru.models.sources.ollama_stores import closed_stores, stores
from hakaru.models.sources.reference import OllamaName

MAX_MANIFEST: Final = 2**20
_MODEL, _PROJECTOR = "application/vnd.ollama.image.model", "application/vnd.ollama.image.projector"
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
        raise ModelDamaged(
            "{where}: its file {path} is missing; run: ollama pull {name}",
            where=wanted,
            path=path,
            name=str(wanted).removeprefix("ollama:"),
        )
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
    names = []
    for store in stores():
        root = store / "manifests"
        with suppress(OSError):  # the store of Ollama's service may be closed to this user
            for path in sorted(root.glob("*/*/*/*")):
                name, tag = path.parent.relative_to(root).as_posix(), path.name
                names.append(str(OllamaName(name=name, tag=tag)))
    return names
