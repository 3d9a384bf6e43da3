"""Our arithmetic against the engine's dry run: every architecture, every setting, part by part, and
the verdicts.
"""

import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from figures.dry_runs import dry_runs
from hakaru.errors import HakaruError
from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.hardware.machine import Hardware, named_ram
from hakaru.memory.footprint import Footprint, compute_footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.embedded import embedded_model
from hakaru.models.model import Model, read_model
from hakaru.planning.here import grown
from hakaru.planning.load import Load, load_of
from hakaru.planning.placement import Task
from hakaru.planning.search import place

MIB: Final = 2**20
CONTEXTS: Final = (4096, 32768, 131072)
MICRO_BATCHES: Final = (512, 2048)
CACHE_TYPES: Final = ("f16", "q8_0", "q4_0")
SIZES: Final = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 1.0, 1.001, 1.005, 1.01, 1.02, 1.05, 1.1, 1.15)
"""Memories of the verdict test, as parts of what the engine needs."""


class Row(Struct, frozen=True, kw_only=True):
    """One setting of one model: both answers, and the verdicts around the engine's need.

    A footprint of None is a refusal; `why` tells ours. `wrong_fits` counts memories that are
    smaller than the engine's need and for which we said `fits`; `missed_fits` those 10% above it
    and more for which we did not.
    """

    architecture: str
    model: str
    settings: ContextSettings
    ours: Footprint | None
    engine: Footprint | None
    why: str = ""
    n_verdicts: int = 0
    wrong_fits: int = 0
    missed_fits: int = 0

    def error_bytes(self, part: str) -> int | None:
        """Ours less the engine's; None where one has no figure."""
        if self.ours is None or self.engine is None:
            return None
        return self.ours.parts()[part] - self.engine.parts()[part]

    def compute_is_outside(self) -> bool:
        """Whether the compute buffer misses the goal: 3% or 16 MiB."""
        error = self.error_bytes("compute_bytes")
        return (
            error is not None
            and self.engine is not None
            and abs(error) > max(16 * MIB, 0.03 * self.engine.compute_bytes)
        )

    def as_json(self) -> dict[str, Any]:
        """The row for `--json`."""
        return asdict(self)


def compare(only: str | None) -> Iterator[list[Row]]:
    """The rows of one model after another: the most downloaded of every architecture, then the
    embedded model's file.
    """
    with tempfile.TemporaryDirectory() as scratch:
        for known in one_per_architecture():
            if only in {None, known.architecture}:
                yield rows_of(header_of(known, Path(scratch)), known.id)
        if only in {None, "embedded"}:
            path = embedded_model()
            yield rows_of(path, path.name)


def one_per_architecture() -> list[KnownModel]:
    """The most downloaded model of every architecture in the catalogue."""
    first: dict[str, KnownModel] = {}
    for known in known_models():
        first.setdefault(known.architecture, known)
    return [first[name] for name in sorted(first)]


def header_of(known: KnownModel, folder: Path) -> Path:
    """Its header in F16 and a hole, as a file."""
    metadata = without_vocabulary(known.metadata(), known.n_vocab)
    return write_header_only(folder / f"{known.id}.gguf", metadata, known.tensors())


def rows_of(path: Path, name: str) -> list[Row]:
    """All settings of one file."""
    model = read_model(path)
    load = load_of(model.loaded, model.shape.n_layer)
    settings = [
        ContextSettings(n_ctx=n_ctx, n_ubatch=n_ubatch, type_k=type_, type_v=type_)
        for n_ctx, n_ubatch, type_ in product(CONTEXTS, MICRO_BATCHES, CACHE_TYPES)
    ]
    engine = dry_runs(path, settings)
    return [_row(model, load, name, s, e) for s, e in zip(settings, engine, strict=True)]


def _row(
    model: Model, load: Load, name: str, settings: ContextSettings, engine: Footprint | None
) -> Row:
    ours, why = None, ""
    try:
        ours = compute_footprint(model.shape, model.loaded, settings)
        why = "" if ours else "not modelled"
    except HakaruError as refusal:
        why = str(refusal)
    counts = (
        _verdicts(Task(load=load, shape=model.shape, settings=settings), ours, engine)
        if ours and engine
        else {}
    )
    return Row(
        architecture=model.shape.architecture, model=name, settings=settings, ours=ours,
        engine=engine, why=why, **counts
    )  # fmt: skip


def _verdicts(task: Task, ours: Footprint, engine: Footprint) -> dict[str, int]:
    """What `place` says to memories around the engine's need. The server's own process and what a
    server takes with use are included in the need: the dry run names neither.
    """
    loaded = replace(engine, overhead_bytes=ours.overhead_bytes)
    need = grown(loaded, task.shape, task.settings).total_bytes
    wrong = missed = 0
    for size in SIZES:
        memory = round(need * size)
        fits = place(task, Hardware(accelerators=(), ram=named_ram(memory))).verdict == "fits"
        wrong += fits and need > memory
        missed += not fits and size >= 1.1
    return {"n_verdicts": len(SIZES), "wrong_fits": wrong, "missed_fits": missed}


def report(models: Iterable[list[Row]]) -> list[Row]:
    """Print a line per model and the summary; return all rows."""
    began = time.perf_counter()
    print(
        "Our arithmetic less the engine's dry run, the worst of each model's cases. `=`: equal "
        "to the byte in all of them."
    )
    print(
        "Outside: compute buffers off by more than 3% and 16 MiB. MiB and %: the largest errors "
        "of compute and output.\n"
    )
    columns = f"{'weights':>9}{'KV':>7}{'outside':>9}{'MiB':>10}{'%':>9}"
    columns += f"{'output MiB':>12}{'wrong fits':>12}"
    print(f"{'architecture':<16}{'model':<38}{columns}")
    rows: list[Row] = []
    for of_model in models:
        rows += of_model
        print(_line(of_model), flush=True)
    _summary(rows)
    print(f"{len(rows)} cases in {time.perf_counter() - began:.0f} s\n")
    return rows


def _line(rows: Sequence[Row]) -> str:
    both = [r for r in rows if r.ours and r.engine]
    head = f"{rows[0].architecture:<16}{rows[0].model[:36]:<38}"
    refused = [r for r in rows if not r.engine]
    said = (
        f"   the engine refuses {len(refused)}, we {sum(not r.ours for r in refused)} of them"
        if refused
        else ""
    )
    if not both:
        return f"{head}{rows[0].why or 'no answer of the engine'}{said}"
    outside = sum(r.compute_is_outside() for r in both)
    parts = f"{_exact(both, 'weights_bytes'):>9}{_exact(both, 'kv_cache_bytes'):>7}"
    compute = f"{f'{outside}/{len(both)}':>9}{_worst_mib(both, 'compute_bytes'):>10}"
    compute += f"{_worst_percent(both):>9}"
    wrong_fits = sum(r.wrong_fits for r in both)
    return f"{head}{parts}{compute}{_worst_mib(both, 'output_bytes'):>12}{wrong_fits:>12}{said}"


def _exact(rows: Sequence[Row], part: str) -> str:
    off = [e for r in rows if (e := r.error_bytes(part))]
    return "=" if not off else f"{max(off, key=abs) / MIB:+.2f}"


def _worst_mib(rows: Sequence[Row], part: str) -> str:
    worst = max((r.error_bytes(part) or 0 for r in rows), key=abs)
    return f"{worst / MIB:+.3f}" if worst else "="


def _worst_percent(rows: Sequence[Row]) -> str:
    worst = max((_percent(r) for r in rows), key=abs)
    return f"{worst:+.1f}" if worst else "="


def _percent(row: Row) -> float:
    error = row.error_bytes("compute_bytes")
    return 100 * error / row.engine.compute_bytes if row.engine and error is not None else 0.0


def _summary(rows: Sequence[Row]) -> None:
    both = [r for r in rows if r.ours and r.engine]
    print(
        f"\n{len({r.architecture for r in rows})} architectures, {len(rows)} cases, {len(both)} "
        "with both answers"
    )
    for part in ("weights_bytes", "kv_cache_bytes"):
        exact = sum(r.error_bytes(part) == 0 for r in both)
        print(f"{part:<16}{exact}/{len(both)} equal to the byte")
    inside = [r for r in both if not r.compute_is_outside()]
    equal = sum(r.error_bytes("compute_bytes") == 0 for r in both)
    print(
        f"{'compute_bytes':<16}{len(inside)}/{len(both)} within 3% or 16 MiB; {equal} equal to "
        "the byte"
    )
    output = max((abs(r.error_bytes("output_bytes") or 0) for r in both), default=0)
    print(
        f"{'output_bytes':<16}largest error {output / MIB:.3f} MiB (the engine's log rounds to "
        "0.01)"
    )
    verdicts = sum(r.n_verdicts for r in both)
    print(
        f"{'verdicts':<16}{sum(r.wrong_fits for r in both)} of {verdicts} say `fits` where the "
        "engine needs more",
        end="; ",
    )
    print(f"{sum(r.missed_fits for r in both)} deny it where 10% and more would stay free")
    ours_only = sum(bool(r.ours) and not r.engine for r in rows)
    engine_only = sum(bool(r.engine) and not r.ours for r in rows)
    print(
        f"{'refusals':<16}{sum(not r.ours and not r.engine for r in rows)} by both, {ours_only} "
        "by the engine alone",
        end=", ",
    )
    print(f"{engine_only} by us alone (these are left to the dry run)")
