"""A machine from the JSON that `hakaru hardware --json` printed on it. Pure."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.hardware.facts import known_rates
from hakaru.hardware.machine import Cpu, Device, Machine, Memory, SilentDevice, Vendor


class _Device(Struct, frozen=True):
    name: str
    vendor: Vendor
    total_bytes: int
    free_bytes: int | None
    unified: bool
    bandwidth_gb_s: float | None
    source: str
    label_gigabytes: float

    def device(self) -> Device:
        rates = known_rates(self.name, self.total_bytes)
        fields = msgspec.structs.asdict(self)
        return Device(label_gib=fields.pop("label_gigabytes"), rates=rates, **fields)


class _Machine(Struct, frozen=True):
    schema: Literal["hakaru.hardware/1"]
    system: str
    cpu: Cpu
    memory: Memory
    devices: tuple[_Device, ...]
    silent_devices: tuple[SilentDevice, ...] = ()


def machine_from_json(told: Any) -> Machine:
    """The machine that `hakaru hardware --json` told of. Raises Misuse."""
    try:
        read = msgspec.convert(told, _Machine)
    except msgspec.ValidationError as error:
        raise Misuse(
            "expected what {command} prints: {reason}.",
            command="hakaru hardware --json",
            reason=error,
        ) from error
    return Machine(
        system=read.system,
        cpu=read.cpu,
        memory=read.memory,
        devices=tuple(device.device() for device in read.devices),
        silent_devices=read.silent_devices,
    )
