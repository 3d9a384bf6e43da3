"""Margin and driver are learned from what really happened."""

from pathlib import Path
from typing import Any

import pytest

from hakaru.planning.placement import MARGIN
from hakaru.tuning.driver import known_driver_bytes, remember_driver
from hakaru.tuning.ledger import Ledger
from hakaru.tuning.trust import PARTS, errors, learned_margin


def row(source: str, *, model: str, total: int = 0, peak: int | None = None, machine: str = "here") -> dict[str, Any]:
    figures: dict[str, Any] = dict.fromkeys(PARTS, total // 4)
    return {"machine": machine, "model": model, "settings": "{}", "architecture": "llama", "source": source,
            "overhead_bytes": 0, "peak_rss_bytes": peak, **figures}  # fmt: skip


def loads(*peaks: int) -> list[dict[str, Any]]:
    """One load each of a model that was predicted to need 1000 bytes."""
    rows = []
    for i, peak in enumerate(peaks):
        rows += [row("dry_run", model=str(i), total=1000), row("measured", model=str(i), total=1000, peak=peak)]
    return rows


def test_the_margin_is_assumed_until_five_loads() -> None:
    """And says so."""
    margin = learned_margin(errors(loads(1010, 1020, 1030, 1040)), "here")
    assert (margin.fraction, margin.n_loads, margin.source) == (MARGIN, 4, "assumed")


def test_the_margin_covers_the_next_load_with_99_percent() -> None:
    """Five excesses of 0, 1, 2, 3, 4 %: mean 2 %, deviation 1.5811 %, t(4, 0.99) 3.7469, so 2 + 3.7469 × 1.5811 × √1.2 =
    8.49 % of the prediction, 7.83 % of the memory.
    """
    margin = learned_margin(errors(loads(1000, 1010, 1020, 1030, 1040)), "here")
    assert margin.source == "measured"
    assert margin.fraction == pytest.approx(0.0849 / 1.0849, abs=2e-4)


def test_predictions_that_are_always_too_high_promise_nothing_more() -> None:
    """A margin is never negative."""
    assert learned_margin(errors(loads(900, 901, 902, 903, 904)), "here").fraction == 0


def test_other_machines_teach_nothing_about_this_one() -> None:
    """Another driver, another allocator."""
    rows = [r | {"machine": "there"} for r in loads(1000, 1010, 1020, 1030, 1040)]
    assert learned_margin(errors(rows), "here").source == "assumed"


def test_errors_stand_side_by_side_by_part() -> None:
    """Our arithmetic less the dry run, and the dry run less the real load; a run without a dry run says nothing."""
    rows = [
        row("computed", model="a", total=1040),
        row("dry_run", model="a", total=1000),
        row("measured", model="a", total=960, peak=1100),
        row("computed", model="b", total=4),
    ]
    (found,) = errors(rows)
    assert found.computed_errors == dict.fromkeys(PARTS, 10)
    assert found.dry_run_errors == dict.fromkeys(PARTS, 10)
    assert found.excess == pytest.approx(0.1)


def test_of_several_loads_the_highest_peak_counts() -> None:
    """A server that was asked right after its start, when its peak was not known, does not hide an earlier full run."""
    rows = [*loads(1100), row("measured", model="0", total=1000, peak=None)]
    (found,) = errors(rows)
    assert found.measured_bytes == 1100


def test_what_the_driver_takes_is_learned_by_the_gpu_s_name(tmp_path: Path) -> None:
    """Two GPUs take 3000 and 2600 bytes, the buffers on them 5000: 300 bytes each are the driver's."""
    ledger = Ledger(tmp_path / "ledger.sqlite")
    remember_driver(ledger, {"L4": [3000, 2600]}, 5000)
    assert known_driver_bytes(ledger, ["L4", "L4", "A100"]) == {"L4": 300}
    remember_driver(ledger, {"L4": [4000]}, 5000)  # a log that says more than NVML teaches nothing
    assert known_driver_bytes(ledger, ["L4"]) == {"L4": 300}
