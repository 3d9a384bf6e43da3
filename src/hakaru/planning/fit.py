"""Does it fit: a model, as it is or at a preset that nobody has built yet, on this machine or on a
named one.

Our arithmetic answers for any hardware; the engine's dry run lays the same model out here, from its
header alone, and stands beside it. On this machine without an accelerator the engine's figures
decide; everywhere else ours do, placed device by device. An architecture that we do not model is
placed by its tensor table and the dry run's sums (see `planning.unmodelled`).
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from hakaru.errors import ModelUnknown
from hakaru.formats.header_cursor import Array
from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.hardware.machine import Hardware, Machine
from hakaru.ledger import Ledger
from hakaru.memory.footprint import Footprint, compute_footprint
from hakaru.memory.growth import checkpoint_bytes, requests_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.memory.terms import Term
from hakaru.models.model import Model, as_preset
from hakaru.places import passing_dir
from hakaru.planning.backends import backend_named
from hakaru.planning.checkpoints import Growth, with_checkpoints
from hakaru.planning.dry_run import Engine, dry_run_at, remember
from hakaru.planning.explain import explain_placement
from hakaru.planning.extras import Beside, Extra, bytes_of, nothing
from hakaru.planning.here import hardware_here
from hakaru.planning.learned import Margin, errors, kind_of, known_driver_bytes, learned_margin
from hakaru.planning.load import load_of
from hakaru.planning.placement import FitVerdict, Placement, Task, judged
from hakaru.planning.search import place
from hakaru.planning.variations import Variations
from hakaru.planning.ways_out import Alternative

FigureSource = Literal["computed", "dry-run", "both"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The answer. `is_modelled`: our arithmetic knows the architecture; otherwise caches and
    compute of a device are assumed.
    """

    model: Model
    settings: ContextSettings
    hardware: Hardware
    computed: Footprint | None
    dry_run: Footprint | None
    placement: Placement
    verdict: FitVerdict
    margin: Margin
    alternatives: tuple[Alternative, ...]
    max_context: int | None
    extras: tuple[Extra, ...] = ()
    is_modelled: bool = True

    @property
    def best(self) -> Footprint:
        """The footprint to trust: the engine's own where it was asked."""
        found = self.dry_run or self.computed
        assert found is not None  # one of them was asked for
        return found

    @property
    def total_bytes(self) -> int:
        """What the model needs in all, where it was placed."""
        return self.placement.total_bytes

    @property
    def growth(self) -> Growth:
        """What comes while the server is used; it is part of `total_bytes`."""
        each = checkpoint_bytes(self.model.shape, self.settings)
        each = each + sum(e.copied_bytes for e in self.extras) if each else each
        return Growth(
            n_checkpoints=self.settings.checkpoints_kept,
            checkpoint_bytes=each,
            n_parallel=self.settings.n_parallel,
            requests_bytes=requests_bytes(self.settings),
            judged=self.hardware.ram is not None or self.hardware.is_unified,
        )

    def explanation(self) -> list[Term]:
        """Every term of `total_bytes`. Raises ModelUnknown for an architecture that we do not
        model.
        """
        if not self.is_modelled:
            raise ModelUnknown(
                "{path}: hakaru has no arithmetic for the architecture '{found}', so there is "
                "nothing to explain.",
                path=self.model.path,
                found=self.model.shape.architecture,
            )
        tensors = self.model.loaded
        task = Task(
            load=load_of(tensors, self.model.shape.n_layer),
            shape=self.model.shape,
            settings=self.settings,
        )
        return explain_placement(task, tensors, self.placement)


def fit(
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
    computed = compute_footprint(variant.shape, variant.loaded, settings)
    if computed is None and source == "computed":
        raise ModelUnknown(
            "{path}: hakaru has no arithmetic for the architecture '{found}'; ask the engine: "
            "`source` dry-run.",
            path=model.path,
            found=model.shape.architecture,
        )
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
        backend=backend_named(dry_run.accelerators[0].name)
        if dry_run and dry_run.accelerators and not hardware
        else None,
        driver_bytes=known_driver_bytes(ledger,
            (d.name for d in place_at.accelerators)) if ledger else {},
        engine=None if computed else dry_run,
    )  # fmt: skip
    placed = place(task, place_at)
    placement = (
        _by_engine(placed, dry_run, margin) if not (hardware and hardware.accelerators) else placed
    )
    variations = Variations(
        model=variant, task=task, hardware=place_at, ask=None if computed else ask
    )
    placement, planned = with_checkpoints(placement, task)
    answer = Fit(
        model=variant, settings=planned, hardware=place_at,
        computed=computed if source != "dry-run" else None, dry_run=dry_run, placement=placement,
        verdict=placement.verdict, margin=margin, alternatives=(),
        max_context=variations.longest_context() if find_max else None, extras=beside(settings),
        is_modelled=computed is not None,
    )  # fmt: skip
    return (
        answer
        if answer.verdict == "fits"
        else replace(answer, alternatives=tuple(variations.ways_out()))
    )


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
    layout, found = placement.layout, dry_run.accelerators if dry_run else ()
    whole = (
        layout.default_split and not layout.n_cpu_moe and layout.n_gpu_layers == placement.n_items
    )
    if dry_run is None or len(found) != len(placement.shares) or (found and not whole):
        return placement
    shares = tuple(
        replace(
            share,
            weights_bytes=d.weights_bytes,
            kv_cache_bytes=d.kv_cache_bytes,
            compute_bytes=d.compute_bytes,
        )
        for share, d in zip(placement.shares, found, strict=True)
    )
    ram = replace(
        placement.ram,
        weights_bytes=dry_run.weights_bytes - sum(d.weights_bytes for d in found),
        kv_cache_bytes=dry_run.kv_cache_bytes - sum(d.kv_cache_bytes for d in found),
        compute_bytes=dry_run.compute_bytes - sum(d.compute_bytes for d in found),
        output_bytes=dry_run.output_bytes,
        overhead_bytes=dry_run.overhead_bytes,
    )
    return judged(replace(placement, shares=shares, ram=ram), margin.fraction)
