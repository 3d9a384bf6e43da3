"""A model file that is not the one that was served before is not loaded."""

import json
import os
from pathlib import Path
from typing import NoReturn

import pytest

from hakaru import trust
from hakaru.cli import run
from hakaru.engine.mode import Mode
from hakaru.errors import MachineError, ModelDamaged
from hakaru.ledger import Ledger, sha256_of
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.places import data_dir
from hakaru.serving.serve_at import serve_at
from hakaru.serving.trusted_files import check_trusted
from hakaru.session import Session
from hakaru.testing import write_tiny_llama


def never(path: Path) -> NoReturn:
    """A `read` for files that need not be read."""
    raise AssertionError(path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file that was served."""
    path = tmp_path / "m.gguf"
    path.write_text("weights")
    assert trust.check([path], never) == [path]
    trust.accept([path], sha256_of)
    return path


def changed_unseen(path: Path) -> None:
    """Other content of the same size at the same time, as somebody writes it who hides it."""
    before = path.stat()
    path.write_text("WEIGHTS")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_that_nobody_touched_is_not_read_again(file: Path) -> None:
    """Only its state on the disk is looked at."""
    assert trust.check([file], never) == []


def test_a_touched_file_is_read_once(file: Path) -> None:
    """Copied back or touched, but the same: it stays trusted, since the same day."""
    day = trust.trusted()[file].since
    os.utime(file)
    read: list[Path] = []

    def counted(path: Path) -> str:
        read.append(path)
        return sha256_of(path)

    assert trust.check([file], counted) == trust.check([file], counted) == []
    assert read == [file]
    assert trust.trusted()[file].since == day


def test_another_file_of_the_same_size_and_time_is_refused(file: Path) -> None:
    """With both hashes and the command that accepts it."""
    old = trust.trusted()[file].sha256
    changed_unseen(file)
    with pytest.raises(ModelDamaged, match="not the file that was served before") as refused:
        trust.check([file], sha256_of)
    for word in (old, sha256_of(file), f"hakaru trust {file}", trust.trusted()[file].since):
        assert word in str(refused.value)
    trust.accept([file], sha256_of)
    assert trust.check([file], never) == []


def test_a_link_that_leads_elsewhere_is_another_file(file: Path, tmp_path: Path) -> None:
    """A file is trusted by the name under which it is served."""
    other = tmp_path / "other.gguf"
    other.write_text("something else")
    file.unlink()
    file.symlink_to(other)
    with pytest.raises(ModelDamaged):
        trust.check([file], sha256_of)


def test_a_list_that_cannot_be_read_does_not_let_everything_pass(file: Path) -> None:
    """An error that says what to do."""
    (data_dir() / "trusted-files.json").write_text("{", encoding="utf-8")
    with pytest.raises(MachineError, match=r"trusted-files.json: is no list .* remove it"):
        trust.check([file], never)


def test_a_file_that_changes_while_it_is_read_is_not_trusted(tmp_path: Path) -> None:
    """Its hash would be of neither state."""
    path = tmp_path / "m.gguf"
    path.write_text("a")

    def read(path: Path) -> str:
        path.write_text("ab")
        return "0"

    assert trust.accept([path], read) == {}
    assert trust.trusted() == {}


def test_what_hakaru_writes_itself_is_trusted_anew(file: Path) -> None:
    """Built, pulled or removed: that name is forgotten."""
    trust.let_go([file, file.with_name("never-served")])
    assert trust.check([file], never) == [file]


def test_a_hash_that_the_ledger_has_is_not_computed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of everything that was pulled: its hash was held against the Hub's."""
    path = tmp_path / "m.gguf"
    path.write_text("weights")
    with pytest.MonkeyPatch.context() as patch:
        ledger = Ledger(tmp_path / "ledger.sqlite")
        sha256 = ledger.sha256(path)
        patch.setattr("hakaru.serving.trusted_files.sha256_of", never)
        patch.setattr("threading.Thread.start", lambda thread: thread.run())
        check_trusted([path], ledger)()
    assert trust.trusted()[path].sha256 == sha256


def test_nothing_of_a_changed_model_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Serving refuses it, `hakaru trust` accepts it, and lists it."""
    path = write_tiny_llama(tmp_path / "tiny.gguf")
    assert run(["trust", str(path)]) == 0
    before = capsys.readouterr().out.split()
    assert before == [sha256_of(path), str(path)]
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    session, model = Session.here(keeps=False), read_model(path)
    with (
        pytest.raises(ModelDamaged, match="Nothing was loaded"),
        serve_at(model, ContextSettings(n_ctx=256), Mode(), session),
    ):
        pass
    assert run(["trust", str(path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["schema"] == "hakaru.trust/1"
    assert shown["files"][str(path)]["sha256"] == sha256_of(path)
    assert trust.check([path], never) == []
    assert run(["trust"]) == 0
    assert capsys.readouterr().out.split() == [sha256_of(path), str(path)]
