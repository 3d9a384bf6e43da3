"""Our arithmetic beside what engines said when people really loaded models: rows of public load
logs.

`load_logs.json` has the figures as the logs print them, with the settings and where they stand. A
log of an engine that lays graphs out as the pinned one does can be met to its last digit; one that
is `older` kept masks in F32 beside their F16 copies, and its compute buffers are only told. None of
these engines took micro-batches that mix tokens and images yet, so their figures are compared with
a graph without (`mixed`). `all_outputs`: logits for every token of a micro-batch, as engines
reserved them until 2026 and programs that embed llama.cpp still do. No row needs a GPU or a
download.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from hakaru.memory.compute import compute_bytes, device_compute
from hakaru.memory.footprint import kv_cache_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.planning.placement import GPU_CONTEXT_BYTES
from hakaru.planning.shares import judge

MIB: Final = 2**20
FILE: Final = Path(__file__).with_name("load_logs.json")
PARTS: Final = ("kv", "states", "compute", "host")


class Log(Struct, frozen=True, kw_only=True):
    """One load: its settings, and by part what the log says and what we compute, in MiB; None where
    one says nothing.
    """

    row: dict[str, Any]
    said: dict[str, float | None]
    ours: dict[str, float | None]

    def error(self, part: str) -> float | None:
        """Ours less the log's."""
        said, ours = self.said[part], self.ours[part]
        return None if said is None or ours is None else ours - said

    def is_met(self, part: str) -> bool:
        """Whether the difference is within what the log rounds to."""
        error = self.error(part)
        return error is not None and abs(error) <= self.row["rounded_to_mib"]

    def contradicts_fits(self) -> bool:
        """Whether we say `fits` to a device with exactly as much memory as the log's buffers on it
        and the driver took.
        """
        parts = [p for p in ("kv", "states", "compute") if self.said[p] is not None]
        weights = self.row.get("weights_mib") or 0.0
        said, ours = (
            weights + sum(figures[p] or 0.0 for p in parts) for figures in (self.said, self.ours)
        )
        driver = 0 if self.row["backend"] == "cpu" else GPU_CONTEXT_BYTES
        return bool(parts) and judge(int(ours * MIB) + driver, int(said * MIB) + driver) == "fits"

    def as_json(self) -> dict[str, Any]:
        """The row for `--json`."""
        return {**self.row, "ours_mib": self.ours, "contradicts_fits": self.contradicts_fits()}


def read_logs() -> Iterator[Log]:
    """All rows with our figures for them."""
    models = {m.id: m for m in known_models()}
    for row in json.loads(FILE.read_text(encoding="utf-8")):
        said = {part: row.get(f"{part}_mib") for part in PARTS} | {
            "compute": max(row.get("compute_mib", []), default=None)
        }
        yield Log(row=row, said=said, ours=_ours(models[row["model"]], row))


def _ours(model: KnownModel, row: dict[str, Any]) -> dict[str, float | None]:
    settings = ContextSettings(
        n_ctx=row["n_ctx"], n_ubatch=row["n_ubatch"], n_parallel=row["n_parallel"],
        kv_unified=row["kv_unified"], type_k=row["cache_type"], type_v=row["cache_type"],
        n_outputs_max=row["n_ubatch"] if row["all_outputs"] else None,
    )  # fmt: skip
    states = 4 * sum(c.state for c in model.shape.caches or ()) * settings.n_parallel
    kv = kv_cache_bytes(model.shape, settings) - states
    host: float | None = None
    if row["backend"] == "cpu":
        compute = compute_bytes(model.shape, settings, mixed=False) or 0
    else:
        n = len(row.get("compute_mib", [0]))
        found = device_compute(
            model.shape,
            settings,
            n_devices=n,
            backend=row["backend"],
            flash=row.get("flash_attention"),
            mixed=False,
        )
        assert found
        compute, host = max(found.of(i, n) for i in range(n)), found.host_bytes / MIB
    return {
        "kv": kv / MIB,
        "states": row["copies_of_states"] * states / MIB,
        "compute": compute / MIB,
        "host": host,
    }


def report() -> list[dict[str, Any]]:
    """Print a line per row, what differs and why, and the summary; return all rows."""
    logs = list(read_logs())
    print(
        "The log's MiB, and ours less the log's (`=`: within the log's digits). Compute: of the "
        "fullest device.\n"
    )
    print(
        f"{'model':<30}{'device':<24}{'tokens':>8} "
        f"{'KV':<6}{'KV MiB':>10}{'':>7}{'states':>9}{'':>6}{'compute':>10}{'':>9}  engine"
    )
    for log in logs:
        print(_line(log))
    _summary(logs)
    return [log.as_json() for log in logs]


def _line(log: Log) -> str:
    row = log.row
    cells = "".join(
        f"{_figure(log.said[part]):>{width}}{_difference(log, part):>{room}}"
        for part, width, room in (("kv", 10, 7), ("states", 9, 6), ("compute", 10, 9))
    )
    why = "".join(f"; {row[key]}" for key in ("older", "note") if key in row)
    head = (
        f"{row['model'][:28]:<30}{row['device'][:22]:<24}{row['n_ctx']:>8,} {row['cache_type']:<6}"
    )
    return f"{head}{cells}  {row['engine']}{why}"


def _figure(mib: float | None) -> str:
    return "-" if mib is None else f"{mib:,.2f}"


def _difference(log: Log, part: str) -> str:
    error = log.error(part)
    return "" if error is None else "=" if log.is_met(part) else f"{error:+.2f}"


def _summary(logs: Sequence[Log]) -> None:
    print()
    for part in ("kv", "states", "compute"):
        there = [log for log in logs if log.said[part] is not None]
        same = [log for log in there if part != "compute" or not log.row.get("older")]
        met = sum(log.is_met(part) for log in same)
        older = (
            f"; {len(there) - len(same)} more of older engines, told but not met"
            if len(there) > len(same)
            else ""
        )
        print(f"{part:<9}{met}/{len(same)} within the log's digits{older}")
    wrong = [log for log in logs if log.contradicts_fits()]
    now = [log for log in wrong if not log.row.get("older")]
    print(
        f"verdicts {len(now)} of {sum(not log.row.get('older') for log in logs)} logs contradict "
        "a `fits`",
        end="; ",
    )
    print(
        f"{len(wrong) - len(now)} of {sum(bool(log.row.get('older')) for log in logs)} of older "
        "engines do"
    )
    for number, source in enumerate(sorted({log.row["source"] for log in logs}), 1):
        print(f"{number:>3}. {source}")
