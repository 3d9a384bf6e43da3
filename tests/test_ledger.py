"""The ledger remembers."""

import json
from pathlib import Path

import pytest

from hakaru.errors import MachineError
from hakaru.ledger import Ledger
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.testing import write_tiny_llama
from hakaru.units import Source


def test_the_ledger_remembers_by_kind_and_inputs(tmp_path: Path) -> None:
    """The order of the inputs does not matter, their values do; a later process finds them."""
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    ledger.remember("quality", {"a": 1, "b": [2]}, {"kld": 0.5})
    ledger.close()
    again = Ledger(path)
    assert again.recall("quality", {"b": [2], "a": 1}) == {"kld": 0.5}
    assert again.recall("quality", {"a": 2, "b": [2]}) is None
    assert again.recall("speed", {"a": 1, "b": [2]}) is None


def test_a_changed_file_has_another_hash(tmp_path: Path) -> None:
    """The remembered hash belongs to size and time."""
    ledger, file = Ledger(tmp_path / "l.sqlite"), tmp_path / "f"
    file.write_bytes(b"one")
    first = ledger.sha256(file)
    assert ledger.sha256(file) == first
    file.write_bytes(b"other")
    assert ledger.sha256(file) != first


def test_a_hash_that_is_remembered_needs_no_reading(tmp_path: Path) -> None:
    """A page asks of large files, and never waits for a hash."""
    ledger = Ledger(tmp_path / "l.sqlite")
    model = read_model(write_tiny_llama(tmp_path / "tiny.gguf"))
    assert ledger.known_model_sha256(model) is None
    sha256 = ledger.model_sha256(model)
    assert ledger.known_model_sha256(model) == sha256
    with model.path.open("ab") as file:
        file.write(b"more")
    assert ledger.known_model_sha256(model) is None


def test_memory_figures_stand_side_by_side(tmp_path: Path) -> None:
    """Computed and measured, with machine, model, engine and settings."""
    ledger = Ledger(tmp_path / "l.sqlite")
    sources: tuple[Source, ...] = ("computed", "measured")
    for source in sources:
        footprint = Footprint(
            weights_bytes=1, kv_cache_bytes=2, compute_bytes=3, output_bytes=4, source=source
        )
        ledger.remember_memory(
            footprint,
            machine="m",
            model="s",
            architecture="llama",
            engine="e",
            settings=ContextSettings(n_ctx=1),
        )
    rows = ledger.memory_rows()
    assert [r["source"] for r in rows] == ["computed", "measured"]
    assert json.loads(rows[0]["settings"])["n_ctx"] == 1


def test_a_damaged_or_unwritable_ledger_is_one_sentence(tmp_path: Path) -> None:
    """It says which file, and what to do."""
    path = tmp_path / "ledger.sqlite"
    path.write_text("this is no database, but long enough to look like a file of one" * 20)
    with pytest.raises(MachineError, match="the ledger is damaged"):
        Ledger(path)
    with pytest.raises(MachineError, match="cannot be used"):
        Ledger(tmp_path / "no such folder" / "ledger.sqlite")
