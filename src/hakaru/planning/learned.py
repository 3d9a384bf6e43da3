"""What real loads taught: how wrong predictions were, so what must stay free, and what a GPU's
driver takes.

Every real load leaves a prediction (the engine's dry run with our assumption for the process) and
the process's measured peak. The margin under `fits` is the part by which the next load exceeds its
prediction with a chance of at most one in a hundred: Student's t bound for one further value of the
same spread. A load teaches about its kind only: the machine, the backend and the architecture
(docs/decisions/0013). With fewer than five loads of a kind the margin is assumed, as it is for
every machine that is only named and for every accelerator: a process's resident memory does not
tell what lies on one.

What the driver takes for a process beside the engine's buffers (its context, its kernels, its
workspaces) is learned in the same way: after a load NVML tells what the process takes on each GPU,
and the engine's log what its buffers take. The rest is remembered by the GPU's name, and takes the
place of the assumed figure in every later plan for such a GPU.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any, Final

from msgspec import Struct

from hakaru.hardware.machine import Machine
from hakaru.language import say
from hakaru.ledger import Ledger
from hakaru.memory.footprint import Footprint
from hakaru.planning.backends import backend_name
from hakaru.planning.shares import MARGIN
from hakaru.units import Source

ENOUGH_LOADS: Final = 5
CHANCE: Final = 0.99
PARTS: Final = ("weights_bytes", "kv_cache_bytes", "compute_bytes", "output_bytes")


class Kind(Struct, frozen=True, kw_only=True):
    """What a load teaches about: the machine by its fingerprint (None: one that is only named), the
    backend (`cpu` without accelerators) and the model's architecture (empty: any). `alone`: the
    machine has no accelerator.
    """

    machine: str | None
    backend: str
    architecture: str
    alone: bool = False

    def covers(self, error: "Error") -> bool:
        """Whether a load was of this kind. A row without a backend is older than that column: the
        processor ran it, if the machine has no accelerator.
        """
        backend = error.backend or ("cpu" if self.alone else None)
        return (error.machine, backend, error.architecture) == (
            self.machine,
            self.backend,
            self.architecture,
        )


class Margin(Struct, frozen=True, kw_only=True):
    """The part of the free memory that stays free under `fits`, of what kind and from how many of
    its loads it was learned.
    """

    fraction: float
    n_loads: int
    source: Source
    kind: Kind

    def sentence(self) -> str:
        """The margin in words, with what it rests on."""
        kept, architecture = f"{100 * self.fraction:.1f}%", self.kind.architecture
        if self.source != "assumed":
            return say(
                "Margin kept free: {kept}, from {n} real loads of '{architecture}' models on "
                "this machine's processor.",
                kept=kept,
                n=self.n_loads,
                architecture=architecture,
            )
        if not architecture:
            return say(
                "Margin kept free: {kept}, assumed until five models of one architecture were "
                "really loaded here.",
                kept=kept,
            )
        if self.kind.machine is None:
            return say(
                "Margin kept free: {kept}, assumed: loads here say nothing about memory that is "
                "only named.",
                kept=kept,
            )
        if self.kind.backend != "cpu":
            return say(
                "Margin kept free: {kept}, assumed: a process does not tell what it takes on an "
                "accelerator.",
                kept=kept,
            )
        return say(
            "Margin kept free: {kept}, assumed until five '{architecture}' models were really "
            "loaded here (so far {n}).",
            kept=kept,
            n=self.n_loads,
            architecture=architecture,
        )

    def as_json(self) -> dict[str, object]:
        """The margin as it stands in `--json`."""
        return {
            "fraction": self.fraction, "loads": self.n_loads, "source": self.source,
            "machine": self.kind.machine, "backend": self.kind.backend or None,
            "architecture": self.kind.architecture or None,
        }  # fmt: skip


class Error(Struct, frozen=True, kw_only=True):
    """One model at one setting on one machine: the prediction and the measured peak in bytes, and
    by part our arithmetic less the engine's dry run, and the dry run less the buffers of the real
    load. `backend` ran the load; None in rows of before the
    ledger kept it.
    """

    machine: str
    architecture: str
    predicted_bytes: int
    measured_bytes: int | None
    computed_errors: Mapping[str, int]
    dry_run_errors: Mapping[str, int]
    backend: str | None = None

    @property
    def excess(self) -> float | None:
        """By which part of the prediction the process took more; negative where it took less."""
        return self.measured_bytes / self.predicted_bytes - 1 if self.measured_bytes else None


def errors(rows: Iterable[Mapping[str, Any]]) -> list[Error]:
    """What the ledger's memory rows say, one entry per machine, model and settings; of each kind
    the last row counts, of several loads the one with the highest peak.
    """
    runs: dict[tuple[str, str, str], dict[str, Mapping[str, Any]]] = {}
    for row in rows:
        kinds = runs.setdefault((row["machine"], row["model"], row["settings"]), {})
        if (kinds.get(row["source"], row)["peak_rss_bytes"] or 0) <= (row["peak_rss_bytes"] or 0):
            kinds[row["source"]] = row
    lessons = []
    for (machine, _, _), kinds in runs.items():
        if (dry_run := kinds.get("dry_run")) is None:
            continue
        computed, measured = kinds.get("computed"), kinds.get("measured")
        lessons.append(
            Error(
                machine=machine,
                architecture=dry_run["architecture"],
                predicted_bytes=sum(dry_run[p] or 0 for p in (*PARTS, "overhead_bytes")),
                measured_bytes=measured["peak_rss_bytes"] if measured else None,
                computed_errors={p: computed[p] - dry_run[p] for p in PARTS} if computed else {},
                dry_run_errors={p: dry_run[p] - measured[p] for p in PARTS} if measured else {},
                backend=(measured or dry_run).get("backend"),
            )
        )
    return lessons


def kind_of(
    machine: Machine, architecture: str, needs: Footprint | None, *, named: bool = False
) -> Kind:
    """The kind of a load of such a model: here, where `needs` is the engine's dry run, or on a
    machine that is only `named`.
    """
    if named:
        return Kind(machine=None, backend="", architecture=architecture)
    backend = backend_name(needs) if needs else ("" if machine.devices else "cpu")
    return Kind(
        machine=machine.fingerprint,
        backend=backend,
        architecture=architecture,
        alone=not machine.devices,
    )


def learned_margin(loads: Sequence[Error], kind: Kind) -> Margin:
    """The margin for loads of `kind`, learned from earlier `loads`; always assumed for an
    accelerator.
    """
    excesses = (
        [e.excess for e in loads if kind.covers(e) and e.excess is not None] if kind.machine else []
    )
    if len(excesses) < ENOUGH_LOADS or kind.backend != "cpu":
        return Margin(fraction=MARGIN, n_loads=len(excesses), source="assumed", kind=kind)
    from scipy.special import (
        stdtrit,
    )  # half a second at import: only where there is something to learn from

    n = len(excesses)
    bound = mean(excesses) + float(stdtrit(n - 1, CHANCE)) * stdev(excesses) * math.sqrt(1 + 1 / n)
    bound = max(
        bound, 0.0
    )  # a prediction that is always too high is no reason to promise what it does not say
    return Margin(fraction=bound / (1 + bound), n_loads=n, source="measured", kind=kind)


def remember_driver(ledger: Ledger, taken: Mapping[str, list[int]], buffers_bytes: int) -> None:
    """Store the driver's bytes per GPU. `taken`: by GPU name what the process takes on each of that
    name; `buffers_bytes`: the engine's buffers over all of them. GPUs of one process share the rest
    evenly: the log's names do not tell which is which.
    """
    n_devices = sum(len(gpus) for gpus in taken.values())
    rest = sum(sum(gpus) for gpus in taken.values()) - buffers_bytes
    for name in taken:
        if rest > 0:
            ledger.remember("driver", {"device": name}, {"bytes": rest // n_devices})


def known_driver_bytes(ledger: Ledger, names: Iterable[str]) -> dict[str, int]:
    """The driver's bytes for those of the named GPUs on which a model was loaded before."""
    rows = {name: ledger.recall("driver", {"device": name}) for name in set(names)}
    return {name: int(row["bytes"]) for name, row in rows.items() if row}
