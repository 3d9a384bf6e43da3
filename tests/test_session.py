"""What a session tells, and to whom."""

import logging
from pathlib import Path

import pytest

from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.session import Session


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
