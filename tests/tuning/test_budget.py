"""Paired ratios, and what a quantized source must not be offered."""

from pathlib import Path

import pytest

from hakaru.hardware.probe import probe_machine
from hakaru.models.model import read_model
from hakaru.tuning.bench import Bench
from hakaru.tuning.budget import Budgeter, paired_ratio
from hakaru.tuning.ledger import Ledger


def test_a_ratio_is_paired_over_windows() -> None:
    """Half the loss in every window is a ratio of one half without doubt; a draw is not below one."""
    theirs = [float(n) for n in range(1, 31)]
    ratio, below = paired_ratio([n / 2 for n in theirs], theirs)
    assert (ratio.value, ratio.low, ratio.high, below) == (0.5, 0.5, 0.5, True)
    mixed = [n * (1.5 if i % 2 else 0.6) for i, n in enumerate(theirs)]
    ratio, below = paired_ratio(mixed, theirs)
    assert ratio.low is not None and ratio.high is not None
    assert ratio.low < 1 < ratio.high
    assert not below


@pytest.mark.engine
def test_a_quantized_source_is_not_offered_its_own_grid(embedded: Path, tmp_path: Path) -> None:
    """The embedded model is Q4_1 with an embedding in Q8_0: neither Q4_1 nor Q5_1 for its layers, and no Q8_0 for the embedding."""

    class Untouched(Bench):
        def windows(self, reference: object, **_: object) -> list[object]:  # type: ignore[override]  # no texts are needed here
            return []

    bench = Untouched(machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite"))
    budgeter = Budgeter(bench, read_model(embedded), "quick")
    offered = {t.name: {"Q8_0": 0.0, "Q5_1": 0.0, "Q4_1": 0.0, "Q4_0": 0.01} for t in budgeter.tensors}
    kept = budgeter.choices(offered)
    assert set(kept["token_embd.weight"]) == {"Q5_1", "Q4_1", "Q4_0"}
    assert set(kept["blk.0.ffn_up.weight"]) == {"Q8_0", "Q4_0"}
