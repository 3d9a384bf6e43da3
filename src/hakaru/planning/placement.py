"""Does it fit, where, and what would change the answer. Pure.

Layers go whole, each with its KV cache; the embeddings go to the first device and the output to the last; every device
that holds layers pays for the engine's context and for one compute buffer. A verdict takes the margin into account:
`fits` leaves it free, `tight` eats into it, `does_not_fit` exceeds what there is.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

from hakaru.hardware.machine import Device, Machine
from hakaru.memory.compute import compute_bytes
from hakaru.memory.footprint import ContextSettings, Footprint, layer_cache_bytes, output_bytes
from hakaru.models.shape import Shape

FitVerdict = Literal["fits", "tight", "does_not_fit"]
MARGIN: Final = 0.03
"""Part of the free memory that stays free under `fits`: the allocator's rounding and what other programs take
meanwhile; assumed.
"""
GPU_CONTEXT_BYTES: Final = 450 * 2**20
"""Driver and CUDA context per GPU, as seen on an RTX 4090; assumed for other GPUs."""


def judge(needed_bytes: int, free_bytes: int) -> FitVerdict:
    """Whether `needed_bytes` go into `free_bytes`."""
    if needed_bytes > free_bytes:
        return "does_not_fit"
    return "fits" if needed_bytes <= free_bytes * (1 - MARGIN) else "tight"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternative:
    """One change of the settings that frees memory: what to type, and how many bytes it frees."""

    flag: str
    frees_bytes: int
    fits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallerType:
    """A preset that would make the weights smaller, by exact plan: its name and the bytes it frees."""

    preset: str
    frees_bytes: int


def alternatives(
    needed: Footprint,
    free_bytes: int,
    settings: ContextSettings,
    *,
    footprint_at: Callable[[ContextSettings], Footprint],
    smaller: SmallerType | None,
) -> list[Alternative]:
    """Up to three ways out, those that fit first: the KV cache's type, the longest context that fits, fewer bits, a
    smaller batch.
    """
    ways: list[Alternative] = []

    def add(flag: str, total_bytes: int) -> None:
        if total_bytes < needed.total_bytes:
            fits = judge(total_bytes, free_bytes) != "does_not_fit"
            ways.append(Alternative(flag=flag, frees_bytes=needed.total_bytes - total_bytes, fits=fits))

    if settings.type_k != "q8_0" or settings.type_v != "q8_0":
        q8_0 = replace(settings, type_k="q8_0", type_v="q8_0")
        add("--cache-type-k q8_0 --cache-type-v q8_0", footprint_at(q8_0).total_bytes)
    context = _longest_context(free_bytes, settings, footprint_at)
    if context < settings.n_ctx:
        add(f"--context {context}", footprint_at(settings.with_context(context)).total_bytes)
    if smaller:
        add(f"hakaru quantize --type {smaller.preset}", needed.total_bytes - smaller.frees_bytes)
    if settings.n_ubatch > 64:
        add("--ubatch 64", footprint_at(replace(settings, n_ubatch=64)).total_bytes)
    return sorted(ways, key=lambda way: not way.fits)[:3]


def _longest_context(free_bytes: int, settings: ContextSettings, footprint_at: Callable[[ContextSettings], Footprint]) -> int:
    """The longest context below the one asked for that fits, in steps of 256 tokens; 256 if none does."""

    def fits(cells: int) -> bool:
        return judge(footprint_at(settings.with_context(256 * cells)).total_bytes, free_bytes) == "fits"

    return 256 * _largest(1, max(1, (settings.n_ctx - 1) // 256), fits)


def free_for_models(machine: Machine, footprint: Footprint) -> int:
    """Bytes that a model may take here: the GPUs' free memory if the engine puts it there, otherwise the available RAM."""
    if footprint.accelerator_bytes and machine.devices:
        return sum(max(0, d.usable_bytes - GPU_CONTEXT_BYTES) for d in machine.devices)
    return machine.memory.available_bytes


def leaves_gpu_idle(machine: Machine, footprint: Footprint) -> bool:
    """Whether the machine has a GPU that this build of the engine does not use."""
    return bool(machine.devices) and not footprint.accelerator_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceShare:
    """What one device holds of a model, in bytes, and how many layers."""

    device: Device
    n_layer: int
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    overhead_bytes: int

    @property
    def needed_bytes(self) -> int:
        """The sum of the parts."""
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes + self.overhead_bytes

    @property
    def headroom_bytes(self) -> int:
        """What stays free; negative if it does not fit."""
        return self.device.usable_bytes - self.needed_bytes


def place(shape: Shape, bits: float, devices: Sequence[Device], settings: ContextSettings, *, tied: bool) -> list[DeviceShare]:
    """A llama-like model of `bits` per weight over `devices`, layers in proportion to their memory.

    Returns one share per device. `bits` is uniform, as in the article; norms and biases count the same, which errs by
    less than 0.1 %.
    """
    sizes = {name: math.prod(dims) * bits / 8 for name, dims in shape.tensors(tied=tied)}
    layer_bytes = [0.0] * shape.n_layer
    for name, size in sizes.items():
        if name.startswith("blk."):
            layer_bytes[int(name.split(".")[1])] += size
    counts = _proportional(shape.n_layer, [d.usable_bytes for d in devices])
    caches = shape.caches or ()
    shares, layer = [], 0
    for index, (device, n_layer) in enumerate(zip(devices, counts, strict=True)):
        mine = range(layer, layer + n_layer)
        layer += n_layer
        weights = sum(layer_bytes[i] for i in mine)
        compute = (compute_bytes(shape, settings) or 0) if n_layer else 0
        if index == 0:
            weights += sizes["token_embd.weight"]
        if index == len(devices) - 1:
            weights += sizes["output_norm.weight"] + sizes.get("output.weight", 0)
            compute += output_bytes(shape, settings)
        shares.append(
            DeviceShare(
                device=device,
                n_layer=n_layer,
                weights_bytes=round(weights),
                kv_cache_bytes=sum(layer_cache_bytes(caches[i], settings) for i in mine),
                compute_bytes=compute,
                overhead_bytes=GPU_CONTEXT_BYTES if n_layer else 0,
            )
        )
    return shares


def max_context(shape: Shape, bits: float, devices: Sequence[Device], settings: ContextSettings, *, tied: bool) -> int:
    """The largest context, a multiple of 256, at which every device's share fits; 0 if none does. Units: tokens."""

    def fits(cells: int) -> bool:
        shares = place(shape, bits, devices, settings.with_context(256 * cells), tied=tied)
        return all(judge(s.needed_bytes, s.device.usable_bytes) == "fits" for s in shares)

    return 256 * _largest(0, (shape.n_ctx_train or 2**20) // 256, fits)


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int:
    """The largest number from `low` to `high` that fits, where all smaller ones fit too; `low` if none does."""
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _proportional(n: int, weights: Sequence[int]) -> list[int]:
    """`n` split in proportion to `weights`, whole, by the cumulative rule that llama.cpp uses."""
    total, counts, done = sum(weights), [], 0
    running = 0
    for weight in weights:
        running += weight
        until = round(n * running / total) if total else n
        counts.append(until - done)
        done = until
    return counts
