"""Does it fit at these settings: a model, as it is or at a preset that nobody has built yet, on
this machine or on a named one.

Our arithmetic answers for any hardware; the engine's dry run lays the same model out here, from its
header alone, and stands beside it. On this machine without an accelerator the engine's figures
decide; everywhere else ours do, placed device by device. An architecture that we do not model is
placed by its tensor table and the dry run's sums (see `planning.unmodelled`).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from hakaru.errors import ModelUnknown
from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.formats.header_values import Array
from hakaru.hardware.machine import Hardware, Machine
from hakaru.ledger import Ledger
from hakaru.memory.flash_attention import Backend
from hakaru.memory.footprint import Footprint, compute_footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, as_preset
from hakaru.places import passing_dir
from hakaru.planning.answer import Fit
from hakaru.planning.backends import backend_named
from hakaru.planning.checkpoints import with_checkpoints
from hakaru.planning.dry_run import Engine, dry_run_at, remember
from hakaru.planning.extras import Beside, bytes_of, nothing
from hakaru.planning.here import hardware_here
from hakaru.planning.learned import Margin, errors, kind_of, known_driver_bytes, learned_margin
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task
from hakaru.planning.search import place
from hakaru.planning.shares import Placement, judged
from hakaru.planning.variations import Variations

FigureSource = Literal["computed", "dry-run", "both"]


def fit_at(
    model: Model,
    settings: ContextSettings,
    *,
    machine: Machine,
    ledger: Ledger | None,
    engine: Engine,
    hardware: Hardware | None = None,
    source: FigureSource = "both",
    find_max: bool = False,
    preset: str | None = None,
    beside: Beside = nothing,
) -> Fit:
    """Whether `model` fits `hardware`; None is this `machine`, with the memory that is free now.

    `ledger` teaches the margin and remembers the figures; without one the margin is assumed.
    `source` says whose figures are asked for, `preset` that the model is judged as it would be at
    this preset, `beside` what is loaded with it. Raises ModelUnknown where neither our arithmetic
    nor the engine knows the architecture.
    """
    variant = as_preset(model, preset) if preset else model
    computed = _computed(variant, settings, source)
    ask = partial(_dry_run, variant, engine=engine, on_disk=preset is None)
    dry_run = ask(settings) if source != "computed" else None
    if ledger:
        remember((computed, dry_run), variant, settings, machine=machine, ledger=ledger)
    uses_gpu = bool(dry_run.accelerator_bytes) if dry_run else machine.has_gpu
    place_at = hardware or hardware_here(machine, uses_gpu=uses_gpu)
    kind = kind_of(machine, variant.shape.architecture, dry_run, named=hardware is not None)
    margin = learned_margin(errors(ledger.memory_rows()) if ledger else [], kind)
    task = Task(
        load=load_of(variant.loaded, variant.shape.n_layer), shape=variant.shape, settings=settings,
        margin=margin.fraction, extras_at=lambda at: bytes_of(beside(at)),
        backend=None if hardware else _backend_of(dry_run),
        driver_bytes=known_driver_bytes(ledger, (d.name for d in place_at.accelerators))
        if ledger
        else {},
        engine=None if computed else dry_run,
    )  # fmt: skip
    placement = place(task, place_at)
    if not (hardware and hardware.accelerators):
        placement = _by_engine(placement, dry_run, margin)
    placement, planned = with_checkpoints(placement, task)
    variations = Variations(
        model=variant, task=task, hardware=place_at, ask=None if computed else ask
    )
    return Fit(
        model=variant, settings=planned, hardware=place_at,
        computed=computed if source != "dry-run" else None, dry_run=dry_run, placement=placement,
        verdict=placement.verdict, margin=margin,
        alternatives=() if placement.verdict == "fits" else tuple(variations.ways_out()),
        max_context=variations.longest_context() if find_max else None, extras=beside(settings),
        is_modelled=computed is not None,
    )  # fmt: skip


def _computed(model: Model, settings: ContextSettings, source: FigureSource) -> Footprint | None:
    """What our arithmetic says; None for an architecture that it does not know. Raises ModelUnknown
    where only our arithmetic was asked for.
    """
    computed = compute_footprint(model.shape, model.loaded, settings)
    if computed is None and source == "computed":
        raise ModelUnknown(
            "{path}: hakaru has no arithmetic for the architecture '{found}'; ask the engine: "
            "`source` dry-run.",
            path=model.path,
            found=model.shape.architecture,
        )
    return computed


def _backend_of(dry_run: Footprint | None) -> Backend | None:
    return backend_named(dry_run.accelerators[0].name) if dry_run and dry_run.accelerators else None


def _dry_run(
    model: Model, settings: ContextSettings, *, engine: Engine, on_disk: bool
) -> Footprint:
    """The engine's own figures, with our assumption for the process around it; a model that is not
    on disk is laid out from a header written for the purpose.
    """
    with nullcontext(model.path) if on_disk else _laid_out(model) as path:
        return dry_run_at(path, model, settings, engine=engine)


@contextmanager
def _laid_out(model: Model) -> Iterator[Path]:
    """A file that is only the header of `model`, followed by a hole; removed afterwards."""
    own = ("general.architecture", f"{model.shape.architecture}.")
    kept = {
        key: value.values if isinstance(value, Array) else value
        for key, value in model.metadata.items()
        if key.startswith(own)
    }
    with tempfile.TemporaryDirectory(prefix="hakaru-", dir=passing_dir()) as folder:
        tensors = [(t.name, t.shape) for t in model.tensors]
        types = {t.name: t.type.name for t in model.tensors}
        values = without_vocabulary(
            {key: value for key, value in kept.items() if value is not None}, model.shape.n_vocab
        )
        yield write_header_only(Path(folder) / f"{model.path.stem}.gguf", values, tensors, types)


def _by_engine(placement: Placement, dry_run: Footprint | None, margin: Margin) -> Placement:
    """The engine's own figures take the place of ours where it laid the model out in the same way:
    all in RAM, or all on the accelerators with its own split.
    """
    layout, buffers = placement.layout, dry_run.accelerators if dry_run else ()
    whole = (
        layout.default_split and not layout.n_cpu_moe and layout.n_gpu_layers == placement.n_items
    )
    if dry_run is None or len(buffers) != len(placement.shares) or (buffers and not whole):
        return placement
    shares = tuple(
        replace(
            share,
            weights_bytes=d.weights_bytes,
            kv_cache_bytes=d.kv_cache_bytes,
            compute_bytes=d.compute_bytes,
        )
        for share, d in zip(placement.shares, buffers, strict=True)
    )
    ram = replace(
        placement.ram,
        weights_bytes=dry_run.weights_bytes - sum(d.weights_bytes for d in buffers),
        kv_cache_bytes=dry_run.kv_cache_bytes - sum(d.kv_cache_bytes for d in buffers),
        compute_bytes=dry_run.compute_bytes - sum(d.compute_bytes for d in buffers),
        output_bytes=dry_run.output_bytes,
        overhead_bytes=dry_run.overhead_bytes,
    )
    return judged(replace(placement, shares=shares, ram=ram), margin.fraction)
