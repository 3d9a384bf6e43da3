"""Margin and driver are learned from what really happened."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hakaru.hardware.machine import Device
from hakaru.hardware.named_machine import parse_hardware
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.footprint import DeviceBuffers, Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.models.sources.find import find_model
from hakaru.planning.fit_at import fit_at
from hakaru.planning.learned import (
    PARTS,
    Kind,
    Margin,
    errors,
    kind_of,
    known_driver_bytes,
    learned_margin,
    remember_driver,
)
from hakaru.planning.shares import MARGIN
from hakaru.units import Source

HERE = Kind(machine="here", backend="cpu", architecture="llama", alone=True)


def row(
    source: str, *, model: str, total: int = 0, peak: int | None = None, machine: str = "here"
) -> dict[str, Any]:
    figures: dict[str, Any] = dict.fromkeys(PARTS, total // 4)
    return {"machine": machine, "model": model, "settings": "{}", "architecture": "llama",
        "source": source,
            "overhead_bytes": 0, "peak_rss_bytes": peak, **figures}  # fmt: skip


def loads(*peaks: int) -> list[dict[str, Any]]:
    """One load each of a model that was predicted to need 1000 bytes."""
    rows = []
    for i, peak in enumerate(peaks):
        rows += [
            row("dry_run", model=str(i), total=1000),
            row("measured", model=str(i), total=1000, peak=peak),
        ]
    return rows


def test_the_margin_is_assumed_until_five_loads() -> None:
    """And says so."""
    margin = learned_margin(errors(loads(1010, 1020, 1030, 1040)), HERE)
    assert (margin.fraction, margin.n_loads, margin.source) == (MARGIN, 4, "assumed")


def test_the_margin_covers_the_next_load_with_99_percent() -> None:
    """Five excesses of 0, 1, 2, 3, 4%: mean 2%, deviation 1.5811%, t(4, 0.99) 3.7469, so 2 +
    3.7469 × 1.5811 × √1.2 = 8.49% of the prediction, 7.83% of the memory.
    """
    margin = learned_margin(errors(loads(1000, 1010, 1020, 1030, 1040)), HERE)
    assert margin.source == "measured"
    assert margin.fraction == pytest.approx(0.0849 / 1.0849, abs=2e-4)


def test_predictions_that_are_always_too_high_promise_nothing_more() -> None:
    """A margin is never negative."""
    assert learned_margin(errors(loads(900, 901, 902, 903, 904)), HERE).fraction == 0


def test_other_machines_teach_nothing_about_this_one() -> None:
    """Another driver, another allocator."""
    rows = [r | {"machine": "there"} for r in loads(1000, 1010, 1020, 1030, 1040)]
    assert learned_margin(errors(rows), HERE).source == "assumed"


FIVE = (1000, 1010, 1020, 1030, 1040)


@pytest.mark.parametrize(
    "kind",
    [
        replace(HERE, architecture="qwen3"),
        replace(HERE, backend="CUDA"),
        replace(HERE, machine=None),
        replace(HERE, machine="there"),
        replace(HERE, alone=False),
    ],
)
def test_a_margin_holds_for_the_kind_of_load_that_taught_it(kind: Kind) -> None:
    """Five loads of Llama on this machine's processor: nothing for another architecture, for a
    card, for a named machine, for another one; and where there are accelerators, a row of before
    backends were told may be of any.
    """
    margin = learned_margin(errors(loads(*FIVE)), kind)
    assert (margin.fraction, margin.source) == (MARGIN, "assumed")


def test_four_loads_of_a_kind_and_one_of_another_teach_nothing() -> None:
    """Each kind counts its own."""
    rows = loads(*FIVE)
    rows[-2:] = [r | {"architecture": "qwen3"} for r in rows[-2:]]
    assert learned_margin(errors(rows), HERE).n_loads == 4
    assert learned_margin(errors(rows), HERE).source == "assumed"


def test_loads_on_accelerators_never_make_the_margin_smaller() -> None:
    """Most of such a model lies outside the process's resident memory, which is then far below the
    prediction: no reason for 0.0%.
    """
    rows = [r | {"backend": "CUDA"} for r in loads(200, 201, 202, 203, 204)]
    for kind in (replace(HERE, backend="CUDA", alone=False), replace(HERE, alone=False)):
        margin = learned_margin(errors(rows), kind)
        assert (margin.fraction, margin.source) == (MARGIN, "assumed")


def test_rows_that_tell_the_backend_teach_it_beside_a_card() -> None:
    """A machine with a GPU that the engine does not use: its processor's loads count."""
    rows = [r | {"backend": "cpu"} for r in loads(*FIVE)]
    assert learned_margin(errors(rows), replace(HERE, alone=False)).source == "measured"


def test_the_kind_of_a_load_here() -> None:
    """What the engine's dry run puts on an accelerator names the backend; without a dry run a
    machine with one may use it.
    """
    alone = replace(probe_machine(), devices=())
    gpu = Device(name="GPU", vendor="nvidia", total_bytes=2**30, free_bytes=None)
    beside = replace(alone, devices=(gpu,))
    card = DeviceBuffers(name="CUDA0", weights_bytes=1, kv_cache_bytes=1, compute_bytes=1)
    host = Footprint(
        weights_bytes=1, kv_cache_bytes=1, compute_bytes=1, output_bytes=1, source="dry_run"
    )
    assert kind_of(alone, "llama", None).backend == kind_of(alone, "llama", host).backend == "cpu"
    assert kind_of(beside, "llama", replace(host, accelerators=(card,))).backend == "CUDA"
    assert kind_of(beside, "llama", None).backend == ""
    assert kind_of(alone, "llama", host, named=True).machine is None


def test_a_ledger_of_before_backends_goes_on(tmp_path: Path) -> None:
    """Its rows are read, with no backend, and new ones are written beside them."""
    path = tmp_path / "ledger.sqlite"
    old = sqlite3.connect(path)
    old.execute(
        "CREATE TABLE footprints (at TEXT NOT NULL, machine TEXT NOT NULL, model TEXT NOT NULL, "
        "architecture TEXT NOT NULL, engine TEXT NOT NULL, settings TEXT NOT NULL, source TEXT NOT "
        "NULL, weights_bytes INTEGER, kv_cache_bytes INTEGER, compute_bytes INTEGER, output_bytes "
        "INTEGER, overhead_bytes INTEGER, peak_rss_bytes INTEGER)"
    )
    old.execute(
        "INSERT INTO footprints VALUES ('2026', 'here', 'm', 'llama', 'e', '{}', 'measured', 1, "
        "2, 3, 4, 0, 11)"
    )
    old.commit()
    old.close()
    ledger = Ledger(path)
    footprint = Footprint(
        weights_bytes=1, kv_cache_bytes=2, compute_bytes=3, output_bytes=4, source="measured"
    )
    ledger.remember_memory(
        footprint,
        machine="here",
        model="m",
        architecture="llama",
        engine="e",
        settings=ContextSettings(n_ctx=1),
        backend="cpu",
    )
    assert [(r["backend"], r["output_bytes"]) for r in ledger.memory_rows()] == [
        (None, 4),
        ("cpu", 4),
    ]
    assert len(Ledger(path).memory_rows()) == 2


def test_errors_stand_side_by_side_by_part() -> None:
    """Our arithmetic less the dry run, and the dry run less the real load; a run without a dry run
    says nothing.
    """
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
    """A server that was asked right after its start, when its peak was not known, does not hide an
    earlier full run.
    """
    rows = [*loads(1100), row("measured", model="0", total=1000, peak=None)]
    (found,) = errors(rows)
    assert found.measured_bytes == 1100


def test_what_the_driver_takes_is_learned_by_the_gpu_s_name(tmp_path: Path) -> None:
    """Two GPUs take 3000 and 2600 bytes, the buffers on them 5000: 300 bytes each are the
    driver's.
    """
    ledger = Ledger(tmp_path / "ledger.sqlite")
    remember_driver(ledger, {"L4": [3000, 2600]}, 5000)
    assert known_driver_bytes(ledger, ["L4", "L4", "A100"]) == {"L4": 300}
    remember_driver(ledger, {"L4": [4000]}, 5000)  # a log that says more than NVML teaches nothing
    assert known_driver_bytes(ledger, ["L4"]) == {"L4": 300}


class NoEngine:
    """Nobody asks it."""

    def dry_run(self, path: Path, settings: ContextSettings) -> Footprint:
        raise AssertionError


def test_fit_says_whose_loads_its_margin_rests_on(tmp_path: Path) -> None:
    """Five loads of Qwen3 models on this machine's processor, always below the prediction: here
    0.0%, from five loads of such models; for Llama here, and for two L4 that are only named, 3% as
    before.
    """
    machine = replace(probe_machine(), devices=())
    ledger = Ledger(tmp_path / "ledger.sqlite")
    for i in range(5):
        seen: tuple[tuple[Source, int | None], ...] = (("dry_run", None), ("measured", 3))
        for source, peak in seen:
            footprint = Footprint(
                weights_bytes=1, kv_cache_bytes=1, compute_bytes=1, output_bytes=1, source=source
            )
            ledger.remember_memory(
                footprint,
                machine=machine.fingerprint,
                model=str(i),
                architecture="qwen3",
                engine="e",
                settings=ContextSettings(n_ctx=256),
                peak_rss_bytes=peak,
                backend="cpu",
            )

    def margin(name: str, hardware: str | None) -> Margin:
        model = read_model(find_model(name).path)
        place = parse_hardware(hardware) if hardware else None
        return fit_at(
            model,
            ContextSettings(n_ctx=4096),
            machine=machine,
            ledger=ledger,
            engine=NoEngine(),
            hardware=place,
            source="computed",
        ).margin

    here = margin("qwen3-0.6b", None)
    assert (here.fraction, here.n_loads, here.source) == (0, 5, "measured")
    assert "5 real loads of 'qwen3' models on this machine's processor" in here.sentence()
    assert margin("llama-3.2-1b-instruct", None).fraction == MARGIN
    named = margin("qwen3-32b", "2x L4")
    assert (named.fraction, named.n_loads, named.source) == (MARGIN, 0, "assumed")
    assert "only named" in named.sentence()
