"""Where a model goes on a machine: which layers on which device, and the exact flags for llama.cpp.
Pure.

A layout is llama.cpp's own terms; the shares are what every device holds under it. A verdict takes
the margin into account: `fits` leaves it free, `tight` eats into it, `does_not_fit` exceeds what
there is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Final, Literal

from hakaru.hardware.machine import Device, Hardware
from hakaru.memory.compute import DeviceCompute, device_compute
from hakaru.memory.flash_attention import Backend, makes_copies
from hakaru.memory.footprint import Footprint, layer_cache_bytes, output_bytes, overhead_bytes
from hakaru.memory.growth import checkpoints_bytes, requests_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.shape import Shape
from hakaru.planning.backends import backend_of
from hakaru.planning.load import Load
from hakaru.planning.unmodelled import compute_of, spread, uneven_bytes

FitVerdict = Literal["fits", "tight", "does_not_fit"]
MARGIN: Final = 0.03
"""Part of the free memory that stays free under `fits` until measurements say better: assumed."""
GPU_CONTEXT_BYTES: Final = 450 * 2**20
"""Driver and CUDA context per GPU, as seen on an RTX 4090; assumed for GPUs on which nothing was
loaded yet.
"""


def judge(needed_bytes: float, free_bytes: float, margin: float = MARGIN) -> FitVerdict:
    """Whether `needed_bytes` go into `free_bytes`."""
    if needed_bytes > free_bytes:
        return "does_not_fit"
    return "fits" if needed_bytes <= free_bytes * (1 - margin) else "tight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one device holds of a model."""

    device: Device
    layers: int  # whole ones
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    output_bytes: int = 0
    overhead_bytes: int = 0
    extras_bytes: int = 0
    conversion_bytes: int = 0  # the part of compute_bytes for a KV cache in F16 (attention)
    checkpoints_bytes: int = 0  # with use (memory/growth.py)
    requests_bytes: int = 0  # with use

    @property
    def needed_bytes(self) -> int:
        """The sum of the parts."""
        own = self.weights_bytes + self.kv_cache_bytes + self.compute_bytes + self.output_bytes
        return own + self.overhead_bytes + self.extras_bytes + self.growth_bytes

    @property
    def growth_bytes(self) -> int:
        """What comes while the server is used."""
        return self.checkpoints_bytes + self.requests_bytes

    @property
    def bar(self) -> tuple[int, int, int, int, int]:
        """What a picture shows of it: weights, KV cache, compute with output, the rest, and what
        comes with use.
        """
        return (
            self.weights_bytes,
            self.kv_cache_bytes,
            self.compute_bytes + self.output_bytes,
            self.overhead_bytes + self.extras_bytes,
            self.growth_bytes,
        )

    @property
    def headroom_bytes(self) -> int:
        """What stays free; negative if it does not fit."""
        return self.device.usable_bytes - self.needed_bytes

    def as_json(self) -> dict[str, object]:
        """The device as it stands in `--json`."""
        return {
            "name": self.device.name, "capacity_bytes": self.device.total_bytes,
            "free_bytes": self.device.usable_bytes, "layers": self.layers,
            "weights_bytes": self.weights_bytes, "kv_cache_bytes": self.kv_cache_bytes,
            "compute_bytes": self.compute_bytes, "output_bytes": self.output_bytes,
            "overhead_bytes": self.overhead_bytes, "extras_bytes": self.extras_bytes,
            "checkpoints_bytes": self.checkpoints_bytes, "requests_bytes": self.requests_bytes,
            "headroom_bytes": self.headroom_bytes,
            "of_compute": {"conversion_bytes": self.conversion_bytes},
        }  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A placement in llama.cpp's own terms. An item is a layer; the output is the last item."""

    counts: tuple[int, ...]  # items on each accelerator, counted from the end
    n_cpu_moe: int = 0  # layers whose experts stay in RAM
    default_split: bool = True  # llama.cpp arrives at the counts by itself

    @property
    def n_gpu_layers(self) -> int:
        """What `-ngl` is given."""
        return sum(self.counts)

    def flags(self) -> list[str]:
        """The arguments of llama-server that make this layout."""
        if not self.counts:
            return []
        flags = ["-ngl", str(self.n_gpu_layers)]
        if len(self.counts) > 1 and not self.default_split:
            flags += ["-ts", ",".join(str(n) for n in self.counts)]
        return flags + (["-ncmoe", str(self.n_cpu_moe)] if self.n_cpu_moe else [])


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A model on a machine."""

    layout: Layout
    shares: tuple[Share, ...]  # of the accelerators
    ram: Share
    ram_known: bool  # if not, the share of the RAM is told and not judged
    n_items: int  # layers and output
    verdict: FitVerdict

    @property
    def devices(self) -> tuple[Share, ...]:
        """All shares that were judged."""
        return (*self.shares, self.ram) if self.ram_known else self.shares

    @property
    def fullest(self) -> Share:
        """The device that decides: of those that were judged the one with the largest part of its
        memory taken.
        """
        return max(
            self.devices, key=lambda share: share.needed_bytes / max(1, share.device.usable_bytes)
        )

    @property
    def total_bytes(self) -> int:
        """Everything that is needed, on all devices and in RAM."""
        return sum(s.needed_bytes for s in self.shares) + self.ram.needed_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be placed, and how it is run. Extras are a projector or a draft model."""

    load: Load  # the model's pieces
    shape: Shape
    settings: ContextSettings
    margin: float = MARGIN  # the part of free memory that stays free under `fits`
    extras_bytes: int = 0  # on the first accelerator, or in RAM without one
    extras_host_bytes: int = 0  # what extras keep in RAM
    extras_at: Callable[[ContextSettings], tuple[int, int, int]] | None = None
    """The two figures of extras and `copied_bytes` at other settings: a draft grows with the
    context.
    """
    driver_bytes: Mapping[str, int] = field(default_factory=dict)  # measured, by device name
    backend: Backend | None = None  # of the accelerators; None: the usual one of each maker
    engine: Footprint | None = None
    """The engine's dry run at these settings, for an architecture without arithmetic of ours."""
    copied_bytes: int = 0  # of a draft, in every context checkpoint
    layer_caches: tuple[int, ...] = field(init=False, repr=False)  # bytes per layer, counted once
    checkpoints_bytes: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.extras_at:
            for name, n_bytes in zip(
                ("extras_bytes", "extras_host_bytes", "copied_bytes"),
                self.extras_at(self.settings),
                strict=True,
            ):
                object.__setattr__(self, name, n_bytes)
        if self.engine:
            caches = spread(self.engine.kv_cache_bytes, self.load.kv_widths)
        else:
            caches = tuple(
                layer_cache_bytes(cache, self.settings) for cache in self.shape.caches or ()
            )
        object.__setattr__(self, "layer_caches", caches)
        object.__setattr__(
            self,
            "checkpoints_bytes",
            checkpoints_bytes(self.shape, self.settings, self.copied_bytes),
        )


def split_by(weights: Sequence[float], n_items: int) -> tuple[int, ...]:
    """`n_items` over devices in proportion to `weights`: item i goes to the first device whose
    cumulative part exceeds i/n.

    Source: llama.cpp, src/llama-model.cpp (load_tensors, get_layer_buft_list).
    """
    if len(weights) == 1:
        return (n_items,)
    total = sum(weights)
    edges = [edge / total for edge in accumulate(weights)] if total else [1.0] * len(weights)
    counts = [0] * len(weights)
    for i in range(n_items):
        counts[
            next((d for d, edge in enumerate(edges) if edge > i / n_items), len(weights) - 1)
        ] += 1
    return tuple(counts)


def shares_of(task: Task, hardware: Hardware, layout: Layout) -> tuple[tuple[Share, ...], Share]:
    """The shares of the accelerators and of RAM under `layout`."""
    load, settings = task.load, task.settings
    n_items = load.n_layer + 1
    used = [i for i, n in enumerate(layout.counts) if n]
    item = n_items - layout.n_gpu_layers
    backends = {task.backend or backend_of(hardware.accelerators[i]) for i in used} or {"cpu"}
    shares = []
    for index, (device, count) in enumerate(zip(hardware.accelerators, layout.counts, strict=True)):
        mine = range(item, item + count)
        item += count
        extras = 0 if index else task.extras_bytes
        compute, conversion = (
            _on_device(task, layout, device, used.index(index), len(used)) if count else (0, 0)
        )
        shares.append(
            Share(
                device=device,
                layers=sum(i < load.n_layer for i in mine),
                weights_bytes=_weights(load, mine, layout.n_cpu_moe),
                kv_cache_bytes=_share_of_caches(task, mine),
                compute_bytes=compute,
                conversion_bytes=conversion,
                overhead_bytes=task.driver_bytes.get(device.name, GPU_CONTEXT_BYTES)
                if count or extras
                else 0,
                extras_bytes=extras,
            )
        )
    on_host = range(n_items - layout.n_gpu_layers)
    in_ram = load.input_bytes + sum(load.experts[: layout.n_cpu_moe])
    in_ram += _weights(load, on_host, layout.n_cpu_moe) - (
        0 if layout.n_gpu_layers or load.always_copied else load.tied_bytes
    )
    ram = Share(
        device=hardware.ram or UNKNOWN_RAM,
        layers=sum(i < load.n_layer for i in on_host),
        weights_bytes=in_ram,
        kv_cache_bytes=_share_of_caches(task, on_host),
        compute_bytes=max(_compute(task, layout, len(used), b).host_bytes for b in backends),
        output_bytes=output_bytes(task.shape, settings),
        overhead_bytes=overhead_bytes(task.shape, settings),
        extras_bytes=task.extras_host_bytes + (0 if shares else task.extras_bytes),
        checkpoints_bytes=task.checkpoints_bytes,
        requests_bytes=requests_bytes(settings),
    )
    return tuple(shares), ram


UNKNOWN_RAM: Final = Device(name="RAM", vendor="other", total_bytes=0, free_bytes=None)


def _on_device(
    task: Task, layout: Layout, device: Device, index: int, n_used: int
) -> tuple[int, int]:
    """The compute buffer of one of the devices that are used, and the part of it that its kernels
    for attention add.
    """
    backend = task.backend or backend_of(device)
    made = _compute(task, layout, n_used, backend)
    whole = made.of(index, n_used)
    if not made.flash or not makes_copies(backend, *task.settings.cache):
        return whole, 0
    plain = _compute(task, layout, n_used).of(index, n_used)
    return max(whole, plain), max(
        0, whole - plain
    )  # ggml's allocator may pack a larger graph tighter: not relied on


def _compute(task: Task, layout: Layout, n_used: int, backend: Backend = "vulkan") -> DeviceCompute:
    """Compute buffers under `layout`.

    Where the experts of some layers only are in RAM, a device needs what the others' experts need,
    too. Where weights stay in RAM, a GPU fetches them while a prompt is read (op_offload), one at a
    time: room for the largest on the first.
    """
    if task.engine:
        return _assumed_compute(task, task.engine, layout, n_used, backend)
    whole = layout.n_gpu_layers == task.load.n_layer + 1
    found = device_compute(
        task.shape,
        task.settings,
        n_devices=n_used,
        all_layers=whole,
        experts_on_host=bool(layout.n_cpu_moe),
        backend=backend,
    )
    assert found is not None
    if not n_used or (whole and not layout.n_cpu_moe):
        return found
    least = 0
    if 0 < layout.n_cpu_moe < sum(map(bool, task.load.experts)):
        alone = device_compute(task.shape, task.settings, n_devices=1, backend=backend)
        least = alone.first_bytes if alone else 0
    return DeviceCompute(
        host_bytes=found.host_bytes,
        first_bytes=max(found.first_bytes, least) + task.load.largest_bytes,
        middle_bytes=max(found.middle_bytes, least),
        last_bytes=max(found.last_bytes, least),
        flash=found.flash,
    )


def _assumed_compute(
    task: Task, engine: Footprint, layout: Layout, n_used: int, backend: Backend
) -> DeviceCompute:
    """The same for a graph that we do not know."""
    whole = layout.n_gpu_layers == task.load.n_layer + 1
    found = compute_of(
        engine,
        task.load,
        task.shape,
        task.settings,
        n_devices=n_used,
        all_layers=whole,
        backend=backend,
    )
    fetched = task.load.largest_bytes if n_used and (not whole or layout.n_cpu_moe) else 0
    return replace(found, first_bytes=found.first_bytes + fetched)


def placement(task: Task, hardware: Hardware, layout: Layout) -> Placement:
    """The placement of `task` under `layout`, judged."""
    shares, ram = shares_of(task, hardware, layout)
    if hardware.is_unified and shares:
        where = next(i for i, share in enumerate(shares) if share.device.unified)
        shares, ram = (
            (*shares[:where], _joined(shares[where], ram), *shares[where + 1 :]),
            _empty(ram),
        )
    known = hardware.ram is not None and not hardware.is_unified
    found = Placement(
        layout=layout,
        shares=shares,
        ram=ram,
        ram_known=known,
        n_items=task.load.n_layer + 1,
        verdict="fits",
    )
    return judged(found, task.margin)


def judged(placement: Placement, margin: float) -> Placement:
    """The placement with the verdict of its fullest device."""
    verdicts = {judge(s.needed_bytes, s.device.usable_bytes, margin) for s in placement.devices}
    worst: FitVerdict = (
        "does_not_fit" if "does_not_fit" in verdicts else "tight" if "tight" in verdicts else "fits"
    )
    return replace(placement, verdict=worst)


def _joined(share: Share, ram: Share) -> Share:
    """One memory for both: what would lie in RAM lies on the device, too."""
    return Share(
        device=share.device,
        layers=share.layers + ram.layers,
        weights_bytes=share.weights_bytes + ram.weights_bytes,
        kv_cache_bytes=share.kv_cache_bytes + ram.kv_cache_bytes,
        compute_bytes=share.compute_bytes + ram.compute_bytes,
        output_bytes=share.output_bytes + ram.output_bytes,
        overhead_bytes=ram.overhead_bytes,
        extras_bytes=share.extras_bytes + ram.extras_bytes,
        conversion_bytes=share.conversion_bytes,
        checkpoints_bytes=ram.checkpoints_bytes,
        requests_bytes=ram.requests_bytes,
    )


def _empty(ram: Share) -> Share:
    return Share(device=ram.device, layers=0, weights_bytes=0, kv_cache_bytes=0, compute_bytes=0)


def item_bytes(load: Load, item: int, n_cpu_moe: int) -> int:
    """Weights of one item: a layer, without its experts where they stay in RAM; or, behind the last
    layer, the output.
    """
    if item == load.n_layer:
        return load.output_bytes + load.tied_bytes
    return load.layers[item] + (load.experts[item] if item >= n_cpu_moe else 0)


def _weights(load: Load, items: range, n_cpu_moe: int) -> int:
    """Weights of these items, with one copy of what every device with layers needs."""
    shared = load.shared_bytes if any(i < load.n_layer for i in items) else 0
    return sum(item_bytes(load, i, n_cpu_moe) for i in items) + shared


def caches_bytes(task: Task, items: range) -> int:
    return sum(task.layer_caches[items.start : items.stop])


def _share_of_caches(task: Task, items: range) -> int:
    """The caches of a device's layers; where layers are unequal and we do not know which, with room
    for one large layer more.
    """
    own = caches_bytes(task, items)
    is_part = 0 < len(task.layer_caches[items.start : items.stop]) < task.load.n_layer
    if not task.engine or not is_part:
        return own
    return own + uneven_bytes(task.engine.kv_cache_bytes, task.load.kv_widths, task.settings)
