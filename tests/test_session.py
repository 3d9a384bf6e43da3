"""What a session tells, and to whom."""

import logging
from pathlib import Path

import pytest

from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.session import Session, last_step


def test_what_nobody_listens_to_is_silent_but_a_warning_is_logged(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A program that imports hakaru sees nothing on its screen; its log has the warnings."""
    session = Session(machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite"))
    session.watch("reading", 1, 2)
    session.note("the model is large")
    with caplog.at_level(logging.WARNING):
        session.warn("the GPU is not used")
    assert caplog.record_tuples == [("hakaru", logging.WARNING, "the GPU is not used")]
    assert "the model is large" not in "".join(capfd.readouterr())


def test_what_is_left_of_the_last_step_is_left_of_the_whole(tmp_path: Path) -> None:
    """By its pace, once a part was done. What follows it at the same pace counts, too."""
    now, told, seen = [10.0], list[tuple[float, float]](), list[tuple[str, int, int]]()
    session = Session(
        machine=probe_machine(),
        ledger=Ledger(tmp_path / "ledger.sqlite"),
        watch=lambda *step: seen.append(step),
        foresee=lambda *seconds: told.append(seconds),
    )
    last = last_step(session, may_end_early=True, n_behind=3, clock=lambda: now[0])
    last.watch("reading", 5, 20)
    assert (told, seen) == ([], [("reading", 5, 20)])
    now[0] = 20.0
    last.watch("reading", 10, 20)
    assert told == [(6.0, 26.0)]
    last.watch("the floor", 0, 3)
    now[0] = 21.0
    last.watch("the floor", 1, 3)
    assert told[-1] == (0.0, 2.0)
    exact = last_step(session, clock=lambda: now[0])
    exact.watch("building", 0, 4)
    now[0] = 31.0
    exact.watch("building", 1, 4)
    assert told[-1] == (30.0, 30.0)
