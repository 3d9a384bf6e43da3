"""Ollama's store is found wherever a package or a service puts it."""

import os
from pathlib import Path

import pytest
from test_sources import write_ollama

from hakaru.errors import ModelNotFound
from hakaru.models.sources import ollama_stores
from hakaru.models.sources.find import find_model
from hakaru.models.sources.ollama_stores import stores


@pytest.fixture
def no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose homes and units lie in a temporary folder."""
    monkeypatch.delenv("OLLAMA_MODELS")
    monkeypatch.setenv("HOME", str(tmp_path / "home/me"))
    monkeypatch.setattr(
        ollama_stores, "_HOMES", tuple(f"{tmp_path}{home}" for home in ollama_stores._HOMES)
    )
    monkeypatch.setattr(ollama_stores, "UNIT_FOLDERS", (tmp_path / "etc/systemd/system",))
    return tmp_path


@pytest.mark.parametrize(
    "place",
    [
        "home/me/.ollama/models",
        "usr/share/ollama/.ollama/models",
        "var/lib/ollama",
        "var/lib/ollama/models",
        "var/lib/ollama/.ollama/models",
        "var/snap/ollama/common/models",
        "home/me/.var/app/com.jeffser.Alpaca/data/.ollama/models",
    ],
)
def test_a_store_is_found_where_packages_put_it(
    no_environment: Path, tiny: Path, place: str
) -> None:
    """The official script, Arch, NixOS, the snap, a flatpak."""
    write_ollama(
        no_environment / place,
        "registry.ollama.ai/library/tiny/latest",
        [("model", tiny.read_bytes())],
    )
    assert find_model("ollama:tiny").path.parent == no_environment / place / "blobs"


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("ollama.service.d/override.conf", 'Environment="OLLAMA_MODELS={}"'),
        (
            "ollama.service.d/10-disk.conf",
            'Environment="OLLAMA_HOST=0.0.0.0" "OLLAMA_MODELS={}" "OLLAMA_DEBUG=1"',
        ),
        ("ollama.service", "Environment=HOME=/var/lib/ollama OLLAMA_MODELS={}"),
    ],
)
def test_a_store_that_the_service_was_given_is_found(
    no_environment: Path, tiny: Path, name: str, line: str
) -> None:
    """A larger disk, set in the unit or a drop-in, which a person's shell does not see."""
    store = no_environment / "mnt/big disk" if '"' in line else no_environment / "mnt/big"
    write_ollama(store, "registry.ollama.ai/library/tiny/latest", [("model", tiny.read_bytes())])
    unit = no_environment / "etc/systemd/system" / name
    unit.parent.mkdir(parents=True)
    unit.write_text(f"[Service]\n{line.format(store)}\n")
    assert find_model("ollama:tiny").path.parent == store / "blobs"


def test_the_environment_names_the_only_store(tmp_path: Path) -> None:
    """As it does for Ollama itself."""
    assert stores() == (tmp_path / "ollama",)


def test_a_store_that_may_not_be_read_is_said_so(
    no_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service's home is closed on some systems: the way in is to join its group."""
    store = no_environment / "var/lib/ollama"
    (store / "manifests").mkdir(parents=True)
    scandir = os.scandir

    def closed(path: str | os.PathLike[str] = ".") -> object:
        if str(path).startswith(str(store)):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", closed)
    with pytest.raises(ModelNotFound, match="may not be read by this user; join its group"):
        find_model("ollama:tiny")
