"""What is on the disk is judged as `fit` judges it, without an engine."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from disks import at_home
from hakaru.engine.lab import Lab
from hakaru.errors import ModelNotFound
from hakaru.hardware.machine import Device, Memory
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import known_models
from hakaru.planning.at_hand import _uses_gpu, at_hand
from hakaru.planning.fit import fit
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_header, write_header_only, write_tiny_llama


class NoEngine(Lab):
    """Nothing may be asked of it."""

    def dry_run(self, path: Path, settings: ContextSettings) -> object:  # type: ignore[override]  # it never answers
        raise AssertionError(path)


CARD = Device(name="NVIDIA L4", vendor="nvidia", total_bytes=24 * 2**30, free_bytes=22 * 2**30)


def session_at(folder: Path, devices: tuple[Device, ...], ram: int) -> Session:
    machine = replace(
        probe_machine(), devices=devices, memory=Memory(total_bytes=ram, available_bytes=ram)
    )
    ledger = Ledger(folder / "ledger.sqlite")
    return Session(machine=machine, ledger=ledger, lab=NoEngine())


@pytest.mark.parametrize("devices", [(), (CARD,), (CARD, CARD)], ids=["none", "one", "two"])
def test_the_verdict_is_that_of_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, devices: tuple[Device, ...]
) -> None:
    """By the byte, for models that fit, that hardly fit and that do not; with the header that was
    kept as with the file.
    """
    work = at_home(tmp_path, monkeypatch) / "work"
    for known in known_models()[:12]:
        write_header(
            work / f"{known.id}.gguf",
            known.metadata(),
            n_vocab=known.n_vocab,
            tied=known.tied,
            having=known.having,
        )
    session = session_at(tmp_path, devices, 16 * 2**30)
    first, again = (at_hand(session, [work]) for _ in range(2))
    assert first.as_json() == again.as_json()
    verdicts = set()
    for row in again.models:
        if row.fit is None:
            continue
        answer = fit(row.item.path, source="computed", session=session)
        assert row.fit.placement == answer.placement
        assert row.fit.settings == answer.settings
        verdicts.add(answer.verdict)
    assert {"fits", "does_not_fit"} <= verdicts


def test_the_engine_decides_whether_a_gpu_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As its dry runs here last said; without any, there is one or not."""
    monkeypatch.setattr("hakaru.planning.at_hand.lab_build", lambda: "build")
    rows: list[dict[str, object]] = [
        {"machine": "m", "engine": "build", "backend": "cuda"},
        {"machine": "m", "engine": "build", "backend": "cpu"},
        {"machine": "m", "engine": "other", "backend": "cuda"},
        {"machine": "m", "engine": "build", "backend": None},
    ]
    assert not _uses_gpu(rows, "m", has_gpu=True)
    assert _uses_gpu(rows[:1], "m", has_gpu=True)
    assert _uses_gpu(rows, "n", has_gpu=True)
    assert not _uses_gpu(rows, "n", has_gpu=False)


def test_words_and_folders_choose(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words stand in names, types, architectures and classes, in two languages; a file that was
    used before is found wherever it lies; a folder that is named is the only one.
    """
    work = at_home(tmp_path, monkeypatch) / "work"
    far = tmp_path / "far"
    far.mkdir()
    write_tiny_llama(work / "tiny.gguf")
    write_tiny_llama(work / "llm-jp-x.gguf", seed=2)
    hashed = write_tiny_llama(far / "used.gguf", seed=3)
    session = session_at(tmp_path, (), 2**34)
    session.ledger.sha256(hashed)

    def names(*words: str, folders: tuple[Path, ...] = ()) -> set[str]:
        return {row.item.path.name for row in at_hand(session, folders, words).models}

    mine = {"tiny.gguf", "llm-jp-x.gguf", "used.gguf"}
    assert names() >= mine and names("F16", "llama") == mine
    assert names("ＴＩＮＹ.gguf") == {"tiny.gguf"}
    assert names("日本語", "小規模") == names("japanese", "small") == {"llm-jp-x.gguf"}
    assert names("nothing-like-it") == set()
    assert names(folders=(far,)) == {"used.gguf"}
    with pytest.raises(ModelNotFound, match="there is no such folder"):
        at_hand(session, [tmp_path / "nowhere"])
    hashed.unlink()
    assert names() >= mine - {"used.gguf"} and "used.gguf" not in names()


def test_an_architecture_without_arithmetic_has_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is listed all the same."""
    work = at_home(tmp_path, monkeypatch) / "work"
    write_header_only(work / "m.gguf", tiny_shape(architecture="llama-embed"))
    (row,) = at_hand(session_at(tmp_path, (), 2**34), [work]).models
    assert row.fit is None and row.is_whole and row.as_json()["verdict"] is None
