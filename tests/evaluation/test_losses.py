"""Losses are read once: what the ledger has is told by the hash of a file that may be gone."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from hakaru.engine.lab import Lab
from hakaru.evaluation import losses
from hakaru.evaluation.tiers import TIERS
from hakaru.evaluation.windows import Window
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.settings import F16_CACHE
from hakaru.models.model import read_model
from hakaru.session import Session
from hakaru.testing import write_tiny_llama

TIER = TIERS["balanced"]
WINDOWS = [Window(domain="code", tokens=tuple(range(i, i + 20)), first=4) for i in range(40)]


class FakeLab:
    """Reads as many windows as `enough` wants; every one loses `kld` per token."""

    def __init__(self, kld: float) -> None:
        self.kld, self.n_read = kld, 0

    def compare(
        self, reference: Path, candidates: list[Path], windows: list[Any], **options: Any
    ) -> list[list[dict[str, Any]]]:
        rows: list[dict[str, Any]] = []
        for n_read in range(1, len(windows) + 1):
            self.n_read += 1
            rows.append(
                {
                    "n": 15.0, "kld": 15 * self.kld, "klds": [self.kld] * 15, "agreed": 15.0,
                    "nll_reference": 30.0 + n_read, "nll_candidate": 30.0 + n_read,
                }
            )  # fmt: skip
            if options["enough"]([rows]):
                break
        return [rows for _ in candidates]


@pytest.mark.parametrize("kld", [0.001, 3.0])
def test_what_was_tested_is_known_without_the_file(tmp_path: Path, kld: float) -> None:
    """The same verdict on the same windows, and nothing is read; before that nothing is known."""
    lab = FakeLab(kld)
    session = Session(
        machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite"), lab=cast("Lab", lab)
    )
    reference = read_model(write_tiny_llama(tmp_path / "reference.gguf"))
    candidate = read_model(write_tiny_llama(tmp_path / "candidate.gguf", seed=1))
    sha256 = session.ledger.model_sha256(candidate)

    def known() -> losses.Tested | None:
        return losses.known_test(session, sha256, reference, WINDOWS, TIER, cache=F16_CACHE)

    assert known() is None
    told = losses.tested(session, candidate, reference, WINDOWS, TIER)
    n_read = lab.n_read
    candidate.path.unlink()
    assert known() == told
    assert (told.judgement.verdict, lab.n_read) == ("pass" if kld < 1 else "fail", n_read)


def test_a_few_windows_settle_nothing(tmp_path: Path) -> None:
    """Rows of a reading that was broken off are read on."""
    session = Session(
        machine=probe_machine(),
        ledger=Ledger(tmp_path / "ledger.sqlite"),
        lab=cast("Lab", FakeLab(0.001)),
    )
    reference = read_model(write_tiny_llama(tmp_path / "reference.gguf"))
    candidate = read_model(write_tiny_llama(tmp_path / "candidate.gguf", seed=1))
    sha256 = session.ledger.model_sha256(candidate)
    losses.divergences(session, {sha256: candidate.path}, reference, WINDOWS, n=12)
    assert len(losses.known_rows(session, sha256, reference, WINDOWS, F16_CACHE)) == 12
    assert losses.known_test(session, sha256, reference, WINDOWS, TIER, cache=F16_CACHE) is None


def test_what_was_read_before_an_interruption_is_kept(tmp_path: Path) -> None:
    """The next reading begins behind it, and comes to the same."""
    lab = FakeLab(0.001)
    session = Session(
        machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite"), lab=cast("Lab", lab)
    )
    reference = read_model(write_tiny_llama(tmp_path / "reference.gguf"))
    candidate = read_model(write_tiny_llama(tmp_path / "candidate.gguf", seed=1))
    files = {session.ledger.model_sha256(candidate): candidate.path}

    def interrupted_at_5(rows: Sequence[losses.Row]) -> bool:
        if len(rows) == 5:
            raise KeyboardInterrupt
        return False

    read = partial(losses.divergences, session, files, reference, WINDOWS, n=12)
    with pytest.raises(KeyboardInterrupt):
        read(enough=interrupted_at_5)
    assert len(read().popitem()[1]) == 12
    assert lab.n_read == 12
