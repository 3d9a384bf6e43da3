"""What `hakaru bench` measures, and that predictions rest on it afterwards."""

from itertools import count
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.errors import ModelNotFound
from hakaru.evaluation import calibrating
from hakaru.evaluation.bench import bench
from hakaru.evaluation.calibrating import Timed, calibrate
from hakaru.planning.timed_here import timed_files
from hakaru.session import Session


def test_bench_wants_a_model_or_a_machine(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither, or both, is told in one sentence."""
    for words in (["bench"], ["bench", "a.gguf", "--calibrate"]):
        assert run(words) == 2
        assert "name a model to time it, or give --calibrate alone" in capsys.readouterr().err


@pytest.mark.engine
@pytest.mark.alone
def test_a_model_is_measured_beside_its_prediction(tiny: Path) -> None:
    """The first time nothing is known of the processor; the second time the first is known."""
    session = Session.here()
    first = bench(tiny, session=session)
    if not first.speed.is_contended:
        second = bench(tiny, depth=300, session=session)
        assert first.predicted.decode is None
        assert second.predicted.decode
        assert second.predicted.decode.basis.n_timed == 1
        assert second.deep


@pytest.mark.engine
@pytest.mark.alone
def test_zeros_are_served_and_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A type is timed and remembered as its pace, the first one behind a long prompt, too; no type
    is begun after a minute; and the margin of memory learns nothing from models of zeros.
    """
    monkeypatch.setattr(calibrating, "embedded_model", _none)
    monkeypatch.setattr(calibrating, "FEW_LAYERS", 1)
    session = Session.here()
    heard: list[Timed] = []
    seconds = count(0, 40)
    calibrated = calibrate(session, heard.append, clock=lambda: float(next(seconds)))
    assert [one.name for one in heard] == ["zeros in Q4_K"]
    kept = timed_files(session.ledger, session.machine)
    assert len(kept) == 2 * sum(not one.speed.is_contended for one in heard)
    assert [bool(file.depth) for file in kept] == [False, True][: len(kept)]
    assert (calibrated.machine is not None) == bool(kept)
    assert "measured" not in {row["source"] for row in session.ledger.memory_rows()}


def _none() -> Path:
    raise ModelNotFound("the embedded model is not installed")
