"""This machine as a place for models: what the engine's build uses of it, with what is free now.
Pure.
"""

from collections.abc import Callable

from msgspec.structs import replace

from hakaru.hardware.machine import Device, Hardware, Machine
from hakaru.language import say
from hakaru.memory.footprint import Footprint
from hakaru.memory.growth import checkpoints_bytes, requests_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.shape import Shape
from hakaru.planning.placement import GPU_CONTEXT_BYTES
from hakaru.units import format_bytes


def free_for_models(machine: Machine, footprint: Footprint) -> int:
    """Bytes that a model may take here: the GPUs' free memory if the engine puts it there,
    otherwise the available RAM.
    """
    if footprint.accelerator_bytes and machine.devices:
        return sum(max(0, d.usable_bytes - GPU_CONTEXT_BYTES) for d in machine.accelerators)
    return machine.memory.available_bytes


def grown(needs: Footprint, shape: Shape, settings: ContextSettings) -> Footprint:
    """The footprint of a server that has been used, for a model that lies in host memory; on
    accelerators nothing grows.
    """
    if needs.accelerators:
        return needs
    return replace(
        needs,
        overhead_bytes=needs.overhead_bytes
        + checkpoints_bytes(shape, settings)
        + settings.cache_ram_bytes
        + requests_bytes(settings),
    )


def leaves_gpu_idle(machine: Machine, footprint: Footprint) -> bool:
    """Whether the machine has a GPU that this build of the engine does not use."""
    return bool(machine.devices) and not footprint.accelerator_bytes


def within(machine: Machine, limit_bytes: int) -> Machine:
    """The machine, of whose GPUs together no more than `limit_bytes` may be used, and no more of
    its RAM.
    """
    available = min(machine.memory.available_bytes, limit_bytes)
    ram = replace(machine.memory, available_bytes=available)
    return replace(machine, memory=ram, devices=_together(machine.devices, limit_bytes))


def part_of(hardware: Hardware, limit_bytes: int) -> Hardware:
    """As `within`, of a machine that was named."""
    ram = _together((hardware.ram,), limit_bytes)[0] if hardware.ram else None
    devices = _together(hardware.accelerators, limit_bytes)
    return replace(hardware, accelerators=devices, ram=ram)


def _together(devices: tuple[Device, ...], limit_bytes: int) -> tuple[Device, ...]:
    """The devices with at most `limit_bytes` to use, each in proportion to what it has."""
    total = sum(d.usable_bytes for d in devices)
    if total <= limit_bytes:
        return devices
    return tuple(replace(d, free_bytes=d.usable_bytes * limit_bytes // total) for d in devices)


def named_place(hardware: str | None, limit: int | None) -> Hardware | None:
    """The machine that was named, or None for this one."""
    if hardware is None:
        return None
    from hakaru.hardware.named_machine import parse_hardware  # its patterns take 5 ms to compile

    place = replace(parse_hardware(hardware), text=hardware)
    return place if limit is None else part_of(place, limit)


def limited(machine: Machine, limit: int | None, warn: Callable[[str], None]) -> Machine:
    """This machine, of which at most `limit` bytes may be used. Whoever names more than it has
    thinks of another one, and is told how to name that.
    """
    if limit is None:
        return machine
    total = max(machine.memory.total_bytes, sum(d.total_bytes for d in machine.devices))
    if limit > total:
        warn(
            say(
                "`memory` is the most that may be used of this machine, which has {total}; a "
                "machine with {limit} is named by `hardware`, such as '{limit} RAM'.",
                total=format_bytes(total),
                limit=format_bytes(limit),
            )
        )
    return within(machine, limit)
