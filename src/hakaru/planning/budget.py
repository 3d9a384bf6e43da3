"""What the weights of a model may take on each device of a machine, so that the whole fits. Pure.

The layout is that of the largest file that fits, if all weights are shrunk by the same part. Under
a layout, cache and buffers do not depend on the types of the weights, so what they leave is exact,
and tensors of one device may take what those of another one cannot. Left out: layouts that keep
some layers or experts in RAM beside accelerators.

Source: see `load` and `placement` for where llama.cpp puts a tensor.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import DoesNotFit
from hakaru.hardware.machine import Hardware
from hakaru.memory.compute import is_known
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import buffer_bytes
from hakaru.models.model import Model
from hakaru.planning.load import EMBEDDINGS, INPUT_TENSORS, SHARED_TENSORS, Load, layer_of, load_of
from hakaru.planning.placement import Task, placement
from hakaru.planning.search import largest, place
from hakaru.planning.shares import MARGIN, Layout, Placement

STEP: Final = 2**20
RAM: Final = "RAM"


class Room(Struct, frozen=True, kw_only=True):
    """How much room a machine has for the weights of a model."""

    hardware: Hardware
    settings: ContextSettings
    layout: Layout
    device_bytes: Mapping[str, int]  # device -> bytes for weights
    devices_of: Mapping[str, tuple[str, ...]]
    """Tensor -> devices that hold the tensor. A device named twice holds two copies."""

    @property
    def total_bytes(self) -> int:
        """What all devices have for weights."""
        return sum(self.device_bytes.values())

    def holds(self, model: Model) -> bool:
        """Whether `model`, with the types that it has, fits under this layout."""
        return placement(_task(model, self.settings), self.hardware, self.layout).verdict == "fits"

    def used_bytes(self, model: Model) -> dict[str, int]:
        """What the weights of `model` take of the room on each device."""
        used = dict.fromkeys(self.device_bytes, 0)
        for tensor in {t.name: t for t in model.loaded}.values():
            for device in self.devices_of[tensor.name]:
                if device in used:
                    used[device] += buffer_bytes((tensor,))
        return used


def room_for_weights(model: Model, hardware: Hardware, settings: ContextSettings) -> Room:
    """The room that `hardware` has for the weights of `model`, whatever their types. Raises
    DoesNotFit where even a model without weights would not fit, or where the architecture is not
    modelled.
    """
    if not is_known(model.shape):
        raise DoesNotFit(
            "{path}: hakaru has no arithmetic for the architecture '{found}'; name `size` "
            "instead of `fit`.",
            path=model.path,
            found=model.shape.architecture,
        )
    task = _task(model, settings)
    layout = _layout(task, hardware)
    if layout is None:
        raise DoesNotFit(
            "{path}: no file of this model fits there with {n_ctx:,} tokens of context; shorten "
            "it.",
            path=model.path,
            n_ctx=settings.n_ctx,
        )
    placed = placement(task, hardware, layout)
    shares = dict(zip(_labels(hardware), placed.shares, strict=True)) | (
        {RAM: placed.ram} if placed.ram_known else {}
    )
    room = {
        name: int(share.device.usable_bytes * (1 - MARGIN))
        - (share.needed_bytes - share.weights_bytes)
        for name, share in shares.items()
        if share.weights_bytes
    }
    return Room(
        hardware=hardware, settings=settings, layout=layout, device_bytes=room,
        devices_of=_devices_of(model, task.load, hardware, layout)
    )  # fmt: skip


def _task(model: Model, settings: ContextSettings) -> Task:
    return Task(
        load=load_of(model.loaded, model.shape.n_layer), shape=model.shape, settings=settings
    )


def _layout(task: Task, hardware: Hardware) -> Layout | None:
    """The layout of the largest file, to a MiB, that fits with all weights shrunk alike; None where
    nothing fits.
    """
    load = task.load

    def at(mebibytes: int) -> Placement:
        part = mebibytes * STEP / load.total_bytes
        shrunk = replace(
            load,
            input_bytes=int(load.input_bytes * part),
            layers=tuple(int(n * part) for n in load.layers),
            experts=tuple(int(n * part) for n in load.experts),
            output_bytes=int(load.output_bytes * part),
            tied_bytes=int(load.tied_bytes * part),
            largest_bytes=int(load.largest_bytes * part),
        )
        return place(replace(task, load=shrunk), hardware)

    def fits(mebibytes: int) -> bool:
        shrunk = at(mebibytes)
        return (
            shrunk.verdict == "fits"
            and shrunk.layout.n_gpu_layers in {0, shrunk.n_items}
            and not shrunk.layout.n_cpu_moe
        )

    most = largest(0, -(-load.total_bytes // STEP), fits)
    return at(most).layout if most else None


def _labels(hardware: Hardware) -> list[str]:
    """A name for each accelerator that no other one has."""
    several = len(hardware.accelerators) > 1
    return [
        f"{device.name} #{i}" if several else device.name
        for i, device in enumerate(hardware.accelerators)
    ]


def _devices_of(
    model: Model, load: Load, hardware: Hardware, layout: Layout
) -> dict[str, tuple[str, ...]]:
    """Where each tensor lies, as `placement.shares_of` counts it."""
    labels, n_items = _labels(hardware), model.shape.n_layer + 1
    ram = labels[0] if hardware.is_unified else RAM
    owners = [ram] * (n_items - layout.n_gpu_layers)
    owners += [
        label for label, count in zip(labels, layout.counts, strict=False) for _ in range(count)
    ]
    head = (owners[-1],) if layout.n_gpu_layers or load.always_copied else ()

    def places_of(name: str) -> tuple[str, ...]:
        layer = layer_of(name)
        if layer is not None:
            return (owners[layer],)
        if name in INPUT_TENSORS:
            return (ram, *(head if name == EMBEDDINGS and load.tied_bytes else ()))
        return tuple(sorted(set(owners[:-1]))) if name in SHARED_TENSORS else (owners[-1],)

    return {t.name: places_of(t.name) for t in model.loaded}
