"""Public load logs: what engines said on machines that nobody here owns, beside our figures."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from figures.logs import Log, read_logs

LOGS = list(read_logs())


@pytest.mark.parametrize(
    "log", LOGS, ids=lambda log: f"{log.row['model']}-{log.row['n_ctx']}-{log.row['engine']}"
)
def test_cache_and_states_are_those_of_the_log(log: Log) -> None:
    """To the digits that the log prints, whatever the engine."""
    assert all(log.is_met(part) for part in ("kv", "states") if log.said[part] is not None)


def test_compute_is_met_or_explained() -> None:
    """Of engines that lay graphs out as the pinned one does: to the log's digits, but for one that
    docs/memory-benchmark.md names.
    """
    off = [
        log
        for log in LOGS
        if not log.row.get("older")
        and log.said["compute"] is not None
        and not log.is_met("compute")
    ]
    assert sorted(log.row["model"] for log in off) == ["qwen3-8b"]


def test_no_log_of_such_an_engine_contradicts_a_fits() -> None:
    """A device with exactly the log's buffers and the driver is never promised to be enough."""
    assert not [log.row for log in LOGS if log.contradicts_fits() and not log.row.get("older")]


def test_there_are_logs_of_every_backend_and_kind() -> None:
    """At least 25, of cards, of the processor and of Metal; of caches in Q8_0 with their copies; of
    two cards; with states.
    """
    assert len(LOGS) >= 25
    assert {"cuda", "vulkan", "metal", "cpu"} <= {log.row["backend"] for log in LOGS}
    assert sum(log.row["cache_type"] == "q8_0" for log in LOGS) >= 8
    assert all(log.row["source"] and log.row["engine"] for log in LOGS)
