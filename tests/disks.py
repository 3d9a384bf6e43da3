"""A disk with models in all the places where programs keep them."""

import hashlib
import json
import os
from pathlib import Path

import pytest

COMMIT = "c" * 40


def at_home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, in which an empty folder is the current one. Returns the home."""
    home = folder / "home"
    (home / "work").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("LLAMA_CACHE", raising=False)
    monkeypatch.chdir(home / "work")
    return home


def in_hub(
    folder: Path, repo: str, files: dict[str, bytes], *, commit: str = COMMIT, ref: str = "main"
) -> Path:
    """A repository in the Hub's cache below `folder`: blobs, and links to them. Returns the
    snapshot.
    """
    room = folder / "hf" / "hub" / f"models--{repo.replace('/', '--')}"
    snapshot = room / "snapshots" / commit
    for name, content in files.items():
        blob = room / "blobs" / hashlib.sha256(content).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        link = snapshot / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    if ref:
        (room / "refs").mkdir(exist_ok=True)
        (room / "refs" / ref).write_text(commit)
    return snapshot


def in_ollama(folder: Path, name: str, layers: list[tuple[str, bytes]]) -> Path:
    """A model in Ollama's store below `folder`, with its tag as the last part of `name`. Returns
    the blob of the first layer.
    """
    store = folder / "ollama"
    rows = []
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    for kind, content in layers:
        digest = hashlib.sha256(content).hexdigest()
        (store / "blobs" / f"sha256-{digest}").write_bytes(content)
        media = f"application/vnd.ollama.image.{kind}"
        rows.append({"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)})
    manifest = store / "manifests" / "registry.ollama.ai" / "library" / name
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(json.dumps({"layers": rows}))
    return store / "blobs" / str(rows[0]["digest"]).replace(":", "-")
