"""Whether a model fits beside those that are loaded, and which of them must go first if not.

The planner judges: each time the machine as if one more of the idle models, the one that was used
longest ago first, were gone. So no more are ended than must be, and none in vain.
"""

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from hakaru.engine.mode import Mode
from hakaru.hardware.machine import Device, Machine
from hakaru.planning.answer import Fit
from hakaru.planning.to_load import NothingLoaded
from hakaru.servers import engine_bytes, promised_bytes
from hakaru.serving.plan_to_load import plan_to_load
from hakaru.serving.resident import Resident
from hakaru.serving.serve import ToServe
from hakaru.session import Session, nobody_listens
from hakaru.units import size_in_bytes


class Plan(Struct, frozen=True):
    """How a model is loaded, and what is ended before."""

    fit: Fit
    mode: Mode
    gone: tuple[Resident, ...] = ()


def planned(
    what: ToServe,
    loaded: Sequence[Resident],
    session: Session,
    *,
    memory: str | int | None,
    n_gpu_layers: int | None,
) -> Plan:
    """How `what` is loaded beside `loaded`, of which those that are idle may go. `memory` is the
    limit of all models together, `n_gpu_layers` what accelerators would hold of the model if it
    were alone: idle models also go where it would hold less. Raises NothingLoaded.
    """
    idle = sorted((r for r in loaded if r.is_idle), key=lambda r: -r.idle_s)
    smaller: Plan | None = None
    reason: NothingLoaded | None = None
    for n in range(len(idle) + 1):
        gone = tuple(idle[:n])
        try:
            fit, mode = plan_to_load(
                *what,
                as_if_gone(session, gone),
                memory=left(memory, set(loaded) - set(gone)),
                is_alone=False,
            )
        except NothingLoaded as error:
            reason = error
            continue
        if n_gpu_layers is None or fit.placement.layout.n_gpu_layers >= n_gpu_layers:
            return Plan(fit, mode, gone)
        smaller = smaller or Plan(fit, mode, gone)
    if smaller:
        return smaller
    assert reason
    raise reason


def as_if_gone(session: Session, gone: Sequence[Resident]) -> Session:
    """The session on the machine as it were without the engines of `gone`."""
    if not gone:
        return session
    return replace(session, look=lambda: _freed(session.machine_now(), gone), note=nobody_listens)


def _freed(machine: Machine, gone: Sequence[Resident]) -> Machine:
    ram = sum(engine_bytes(r.deployment) + promised_bytes(r.deployment) for r in gone)
    by_device: dict[str, int] = {}
    for share in (s for r in gone if r.fit for s in r.fit.placement.shares):
        name = share.device.name
        by_device[name] = by_device.get(name, 0) + share.needed_bytes
    devices = []
    for device in machine.devices:
        more = _fillable(device, by_device.get(device.name, 0))
        by_device[device.name] = by_device.get(device.name, 0) - more
        free = device.free_bytes
        devices.append(device if free is None else replace(device, free_bytes=free + more))
    available = machine.memory.available_bytes + ram
    return replace(
        machine, memory=replace(machine.memory, available_bytes=available), devices=tuple(devices)
    )


def _fillable(device: Device, n_bytes: int) -> int:
    """As many of `n_bytes` as can come free on the device."""
    return min(n_bytes, device.total_bytes - device.usable_bytes)


def left(memory: str | int | None, loaded: Iterable[Resident]) -> int | None:
    """What the models that stay leave of the limit of all."""
    if memory is None:
        return None
    held = sum(resident.fit.total_bytes for resident in loaded if resident.fit)
    return max(0, size_in_bytes(memory) - held)
