"""What older versions of hakaru stored is found again: nobody measures anew because code moved."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest

from hakaru.engine.lab import Lab
from hakaru.ledger import Ledger
from hakaru.models.model import Model, read_model
from hakaru.quantization.study.study import Study
from hakaru.session import Session
from hakaru.testing import write_tiny_llama
from old_ledger import MACHINE, QUESTIONS, ROWS, NoEngine, give_hash, pin_builds, write_old_ledger


def answer(kind: str, ledger: Ledger, model: Model) -> object:
    """What a person is answered without an engine, or the sentence of the engine that is
    missing.
    """
    give_hash(ledger.path, model.path)
    session = Session(machine=MACHINE, ledger=ledger, lab=cast("Lab", NoEngine()))
    with closing(ledger):
        try:
            return QUESTIONS[kind](session, model, Study(session, model, "quick", glance=True))
        except AssertionError as missing:
            return str(missing)


@pytest.mark.parametrize("kind", QUESTIONS)
def test_a_row_of_then_is_found(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row answers; without it the engine would be asked, or the answer would be another one."""
    pin_builds(monkeypatch)
    model = read_model(write_tiny_llama(tmp_path / "model.gguf"))
    for name, left_out in (("old.sqlite", None), ("without.sqlite", kind)):
        write_old_ledger(tmp_path / name, left_out=left_out)
    told = answer(kind, Ledger(tmp_path / "old.sqlite"), model)
    assert "the engine was asked" not in str(told)
    assert told != answer(kind, Ledger(tmp_path / "without.sqlite"), model)
    assert rows(tmp_path / "old.sqlite") == stored(), "no key but those of then was written"


def test_every_kind_of_then_is_asked_for() -> None:
    """The questions are of as many kinds as the rows; the types of a preset (`plan`) are computed
    today, and not kept.
    """
    assert {row["kind"] for row in stored()} == set(QUESTIONS) | {"plan"}


def test_footprints_of_then_are_read(tmp_path: Path) -> None:
    """Computed, dry-run and measured memory, from which the margin is learned."""
    write_old_ledger(tmp_path / "old.sqlite")
    with closing(Ledger(tmp_path / "old.sqlite")) as ledger:
        footprints = ledger.memory_rows()
    assert {row["source"] for row in footprints} == {"computed", "dry_run", "measured"}
    assert footprints == json.loads(ROWS.read_text(encoding="utf-8"))["tables"]["footprints"]


def rows(path: Path) -> list[dict[str, Any]]:
    """The measurements in a ledger's file."""
    with closing(sqlite3.connect(path)) as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute("SELECT * FROM measurements")]


def stored() -> list[dict[str, Any]]:
    """The measurements of then."""
    found: list[dict[str, Any]] = json.loads(ROWS.read_text(encoding="utf-8"))["tables"][
        "measurements"
    ]
    return found
