"""A model put on a machine: the task, its placement, the margin that was learned for it, and the
context checkpoints that have room. The part of `fit` that a list of many models needs, too.
"""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from hakaru.hardware.machine import Hardware, Machine, hardware_of
from hakaru.ledger import Ledger
from hakaru.memory.flash_attention import Backend
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.backends import backend_named
from hakaru.planning.checkpoints import with_checkpoints
from hakaru.planning.extras import Beside, bytes_of, nothing
from hakaru.planning.learned import Error, Margin, kind_of, known_driver_bytes, learned_margin
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task
from hakaru.planning.search import place
from hakaru.planning.shares import Placement, judged


class Placed(Struct, frozen=True, kw_only=True):
    """A model on a machine."""

    task: Task  # what was placed
    hardware: Hardware  # where
    placement: Placement
    least_bytes: int  # needed on all devices, with as few context checkpoints as there may be
    settings: ContextSettings  # with the context checkpoints that go in
    margin: Margin


def placed(
    model: Model,
    settings: ContextSettings,
    *,
    machine: Machine,
    ledger: Ledger | None,
    lessons: Sequence[Error],
    uses_gpu: bool,
    computed: Footprint | None,
    dry_run: Footprint | None = None,
    hardware: Hardware | None = None,
    beside: Beside = nothing,
    n_gpu_layers: int | None = None,
) -> Placed:
    """`model` on `hardware`; None is this `machine`, whose engine `uses_gpu` or not.

    `lessons` teach the margin, the `ledger` knows what drivers take. One of `computed` and
    `dry_run` must be there.
    """
    place_at = hardware or hardware_of(machine, uses_gpu=uses_gpu)
    kind = kind_of(machine, model.shape.architecture, dry_run, named=hardware is not None)
    margin = learned_margin(lessons, kind)
    task = Task(
        load=load_of(model.loaded, model.shape.n_layer), shape=model.shape, settings=settings,
        margin=margin.fraction, extras_at=lambda at: bytes_of(beside(at)),
        backend=None if hardware else _backend_of(dry_run),
        driver_bytes=known_driver_bytes(ledger, (d.name for d in place_at.accelerators))
        if ledger
        else {},
        engine=None if computed else dry_run, n_gpu_layers=n_gpu_layers,
    )  # fmt: skip
    placement = place(task, place_at)
    if not (hardware and hardware.accelerators):
        placement = _by_engine(placement, dry_run, margin)
    least_bytes = placement.total_bytes
    placement, planned = with_checkpoints(placement, task)
    return Placed(
        task=task,
        hardware=place_at,
        placement=placement,
        least_bytes=least_bytes,
        settings=planned,
        margin=margin,
    )


def _backend_of(dry_run: Footprint | None) -> Backend | None:
    return backend_named(dry_run.accelerators[0].name) if dry_run and dry_run.accelerators else None


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
