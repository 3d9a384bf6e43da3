"""`hakaru rm`: what goes, what else uses it, and what is not ours to remove."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.errors import Offline
from hakaru.places import one_at_a_time
from hakaru.pulling.keeping import pull_lock
from hakaru.pulling.pull import pull
from hakaru.session import Session
from hakaru.testing import write_tiny_llama
from loopback import Loopback, sha256_of

pytestmark = pytest.mark.usefixtures("no_engine")


@pytest.fixture
def pulled(hub: Loopback, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A model in the Hub's cache."""
    file = write_tiny_llama(tmp_path / "x-F16.gguf")
    hub.add_repository("org/x", {"x-F16.gguf": file}, hashes=True)
    assert run(["pull", "hf:org/x", "--json"]) == 0
    return Path(json.loads(capsys.readouterr().out)["path"])


def test_a_model_of_the_hub_goes_with_all_its_names(
    pulled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The blob and the links of every revision; nothing of the repository stays."""
    other = pulled.parents[1] / ("f" * 40)
    other.mkdir()
    (other / pulled.name).symlink_to(pulled.resolve())
    assert run(["rm", "hf:org/x:F16", "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "2 revisions of its repository use it." in out and "2.8 MiB would be freed." in out
    assert pulled.exists()
    assert run(["rm", "hf:org/x:F16", "--yes"]) == 0
    assert "Removed; 2.8 MiB are free again." in capsys.readouterr().out
    assert not pulled.parents[2].exists()


def test_a_file_with_another_hard_link_frees_nothing(
    pulled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And that is said; the other name keeps the file."""
    os.link(pulled.resolve(), tmp_path / "kept.bin")
    assert run(["rm", str(pulled), "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["freed_bytes"] == 0 and "has 1 more names on this disk" in " ".join(told["uses"])
    assert (tmp_path / "kept.bin").stat().st_size > 10**6 and not pulled.exists()


def test_other_files_of_a_repository_stay(pulled: Path) -> None:
    """Also its revision."""
    (pulled.parent / "y.txt").write_text("mine")
    assert run(["rm", "hf:org/x:F16", "--yes"]) == 0
    assert [path.name for path in pulled.parent.iterdir()] == ["y.txt"]


def test_nobody_is_asked_where_nobody_is(pulled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is removed; the command that would is named."""
    assert run(["rm", "hf:org/x:F16"]) == 2
    assert "hakaru rm hf:org/x:F16 --yes" in capsys.readouterr().err
    assert pulled.exists()


def test_a_name_that_is_not_there_has_its_nearest(
    pulled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As `hakaru ls` spells them."""
    assert run(["rm", "hf:org/xx:F16", "--yes"]) == 4
    assert "the nearest names are hf:org/x:F16" in capsys.readouterr().err
    assert run(["rm", "zzz", "--yes"]) == 4
    assert "zzz: there is no such model on this disk. All are" in capsys.readouterr().err
    assert run(["rm", "", "--yes"]) == 2
    assert "the model's name is empty" in capsys.readouterr().err


@pytest.fixture
def begin(
    web: Loopback, monkeypatch: pytest.MonkeyPatch, session_with: Callable[..., Session]
) -> Callable[[str], None]:
    """A pull that breaks off after 32 KiB."""

    def broken_off(address: str) -> None:
        monkeypatch.setattr("hakaru.pulling.transfer.TRIES", 1)
        with pytest.raises(Offline, match="are kept"):
            pull(address, session=session_with(), hear=lambda _: setattr(web, "cuts", 1))

    return broken_off


@pytest.mark.parametrize("place", ["hf:org/x", "/m/x-F16.gguf"])
def test_what_came_of_a_pull_goes_by_its_name(
    web: Loopback,
    tmp_path: Path,
    place: str,
    request: pytest.FixtureRequest,
    begin: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of the Hub, and of a web address with what was noted of its state; `ls` lists both."""
    file = write_tiny_llama(tmp_path / "x-F16.gguf")
    web.files["/m/x-F16.gguf"], web.etags["/m/x-F16.gguf"] = file, ['"one"']
    web.add_repository("org/x", {"x-F16.gguf": file}, hashes=True)
    if place.startswith("hf:"):
        request.getfixturevalue("hub")  # the same server
    address = place if place.startswith("hf:") else f"{web.url}{place}"
    begin(address)
    capsys.readouterr()
    assert run(["ls", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["models"]
    assert [row["bytes"] for row in rows if "not finished" in (row["problem"] or "")] == [2**15]
    assert run(["rm", address, "--yes", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["freed_bytes"] >= 2**15
    assert not any(Path(path).exists() for path in told["paths"])
    assert not [*(tmp_path / "XDG_DATA_HOME").rglob("pulled/*")]
    assert run(["rm", address, "--yes"]) == 4


def test_a_type_takes_only_what_came_of_it(
    hub: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two pulls of one repository that broke off; the repository's name alone takes the rest, also
    what another program began.
    """
    files: dict[str, Path | bytes] = {
        f"x-{type_}.gguf": write_tiny_llama(tmp_path / f"x-{type_}.gguf", seed=seed)
        for seed, type_ in enumerate(("F16", "Q8_0"))
    }
    hub.add_repository("org/x", files, hashes=True)
    monkeypatch.setattr("hakaru.pulling.transfer.TRIES", 1)
    for type_ in ("F16", "Q8_0"):
        with pytest.raises(Offline, match="are kept"):
            pull(f"hf:org/x:{type_}", hear=lambda _: setattr(hub, "cuts", 1))
    blobs = next((tmp_path / "hf").rglob("blobs"))
    (blobs / f"{'a' * 64}.incomplete").write_bytes(b"GGUF")
    parts = {part.name for part in blobs.glob("*.incomplete")}
    assert len(parts) == 3
    assert run(["rm", "hf:org/x:Q4_K_M", "--yes"]) == 4
    assert {part.name for part in blobs.glob("*.incomplete")} == parts
    assert run(["rm", "hf:org/x:Q8_0", "--yes"]) == 0
    gone = parts - {part.name for part in blobs.glob("*.incomplete")}
    assert gone == {f"{sha256_of(files['x-Q8_0.gguf'])}.incomplete"}
    assert run(["rm", "hf:org/x", "--yes"]) == 0
    assert not [*(tmp_path / "hf").rglob("*.incomplete")]


def test_what_is_being_fetched_is_not_removed(
    hub: Loopback, tmp_path: Path, begin: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever fetches it holds its lock."""
    file = write_tiny_llama(tmp_path / "x-F16.gguf")
    hub.add_repository("org/x", {"x-F16.gguf": file}, hashes=True)
    begin("hf:org/x")
    (part,) = (tmp_path / "hf").rglob("*.incomplete")
    with one_at_a_time(pull_lock(part.with_suffix(""))):
        assert run(["rm", "hf:org/x", "--yes"]) == 2
    assert "is being fetched now; stop that first" in capsys.readouterr().err
    assert part.exists()


def test_what_ollama_keeps_is_ollama_s_to_remove(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its records name the blob, perhaps under several tags."""
    store, digest = tmp_path / "ollama", "a" * 64
    manifest = store / "manifests/registry.ollama.ai/library/tiny/latest"
    manifest.parent.mkdir(parents=True)
    kind = "application/vnd.ollama.image.model"
    layer = {"mediaType": kind, "digest": f"sha256:{digest}", "size": 1}
    manifest.write_text(json.dumps({"layers": [layer]}))
    (store / "blobs").mkdir()
    blob = write_tiny_llama(store / "blobs" / f"sha256-{digest}")
    assert run(["rm", "ollama:tiny:latest", "--yes"]) == 2
    assert "remove it with: ollama rm tiny:latest" in capsys.readouterr().err
    assert blob.exists()
