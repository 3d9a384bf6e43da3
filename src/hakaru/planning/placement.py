"""The placement of a model on a machine under a layout: what each device holds, counted. Pure.

`search` chooses the layout.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Final

from msgspec import Struct, field
from msgspec.structs import force_setattr, replace

from hakaru.hardware.machine import Device, Hardware
from hakaru.memory.compute import DeviceCompute, device_compute
from hakaru.memory.flash_attention import Backend, makes_copies
from hakaru.memory.footprint import Footprint, layers_cache_bytes, output_bytes, overhead_bytes
from hakaru.memory.growth import checkpoints_bytes, requests_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.shape import Shape
from hakaru.planning.backends import backend_of
from hakaru.planning.load import Load
from hakaru.planning.shares import MARGIN, Layout, Placement, Share, judged
from hakaru.planning.unmodelled import compute_of, spread, uneven_bytes

GPU_CONTEXT_BYTES: Final = 450 * 2**20
"""Driver and CUDA context per GPU, as seen on an RTX 4090; assumed for GPUs on which nothing was
loaded yet.
"""

RPC_WORKER_BYTES: Final = 6 * 2**20
"""A worker of llama.cpp's RPC that offers its RAM, before anything is loaded: measured, 5.6 MB."""


class Task(Struct, frozen=True, kw_only=True, dict=True):
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
    n_gpu_layers: int | None = None
    """Items (layers, then the output) that lie on accelerators, as a person named them: llama.cpp's
    `-ngl`. None: as many as go in.
    """

    def __post_init__(self) -> None:
        if self.extras_at:
            for name, n_bytes in zip(
                ("extras_bytes", "extras_host_bytes", "copied_bytes"),
                self.extras_at(self.settings),
                strict=True,
            ):
                force_setattr(self, name, n_bytes)

    @cached_property
    def layer_caches(self) -> tuple[int, ...]:
        """Bytes of the cache of each layer."""
        if self.engine:
            return spread(self.engine.kv_cache_bytes, self.load.kv_widths)
        return layers_cache_bytes(self.shape.caches or (), self.settings)

    @cached_property
    def checkpoints_bytes(self) -> int:
        """Bytes of the context checkpoints of all conversations."""
        return checkpoints_bytes(self.shape, self.settings, self.copied_bytes)


def _driver_bytes(task: Task, device: Device) -> int:
    """What a process takes of the device before it loads anything."""
    if device.is_host:
        return RPC_WORKER_BYTES
    return task.driver_bytes.get(device.name, GPU_CONTEXT_BYTES)


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
                overhead_bytes=_driver_bytes(task, device) if count or extras else 0,
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
        prompts_bytes=settings.cache_ram_bytes,
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

    If only some layers have their experts in RAM, a device still needs the buffer for experts of
    its own. While a prompt is read, the first GPU fetches the weights that stay in RAM one tensor
    at a time (op_offload): it needs room for the largest.
    """
    if task.engine:
        return _assumed_compute(task, task.engine, layout, n_used, backend)
    whole = layout.n_gpu_layers == task.load.n_layer + 1
    computed = device_compute(
        task.shape,
        task.settings,
        n_devices=n_used,
        all_layers=whole,
        experts_on_host=bool(layout.n_cpu_moe),
        backend=backend,
    )
    assert computed is not None
    if not n_used or (whole and not layout.n_cpu_moe):
        return computed
    least = 0
    if 0 < layout.n_cpu_moe < sum(map(bool, task.load.experts)):
        alone = device_compute(task.shape, task.settings, n_devices=1, backend=backend)
        least = alone.first_bytes if alone else 0
    return DeviceCompute(
        host_bytes=computed.host_bytes,
        first_bytes=max(computed.first_bytes, least) + task.load.largest_bytes,
        middle_bytes=max(computed.middle_bytes, least),
        last_bytes=max(computed.last_bytes, least),
        flash=computed.flash,
    )


def _assumed_compute(
    task: Task, engine: Footprint, layout: Layout, n_used: int, backend: Backend
) -> DeviceCompute:
    """Compute buffers under `layout` for a graph that we do not know, from the engine's dry run."""
    whole = layout.n_gpu_layers == task.load.n_layer + 1
    assumed = compute_of(
        engine,
        task.load,
        task.shape,
        task.settings,
        n_devices=n_used,
        all_layers=whole,
        backend=backend,
    )
    fetched = task.load.largest_bytes if n_used and (not whole or layout.n_cpu_moe) else 0
    return replace(assumed, first_bytes=assumed.first_bytes + fetched)


def placement(task: Task, hardware: Hardware, layout: Layout) -> Placement:
    """The placement of `task` under `layout`, judged."""
    shares, ram = shares_of(task, hardware, layout)
    if hardware.is_unified and shares:
        where = next(i for i, share in enumerate(shares) if share.device.unified)
        shares, ram = (
            (*shares[:where], _joined(shares[where], ram), *shares[where + 1 :]),
            _empty(ram),
        )
    unjudged = Placement(
        layout=layout,
        shares=shares,
        ram=ram,
        ram_known=hardware.ram is not None and not hardware.is_unified,
        n_items=task.load.n_layer + 1,
        verdict="fits",
    )
    return judged(unjudged, task.margin)


def _joined(share: Share, ram: Share) -> Share:
    """The share of a device whose memory is also the RAM: it holds both shares."""
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
        prompts_bytes=ram.prompts_bytes,
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
    """The caches of these items; the output has none."""
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
