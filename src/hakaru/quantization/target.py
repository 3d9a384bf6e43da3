"""What a quantized file has to keep: a size, a machine or a tier, and perhaps a speed."""

from collections.abc import Mapping

from msgspec import Struct

from hakaru.evaluation.tiers import Tier
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import buffer_bytes
from hakaru.models.model import Model, with_types
from hakaru.planning.budget import Room
from hakaru.quantization.allocate import Limits
from hakaru.quantization.probes import Errors


class SpeedGoal(Struct, frozen=True, kw_only=True):
    """At least so many decoded tokens per second, served with these settings."""

    tokens_per_s: float
    settings: ContextSettings


class Target(Struct, frozen=True, kw_only=True):
    """One of `file_bytes`, `room` and `tier` is set, and perhaps `speed`."""

    file_bytes: int | None = None  # at most
    room: Room | None = None  # the machine in which the model must fit
    tier: Tier | None = None  # to be kept in the fewest bytes
    speed: SpeedGoal | None = None
    copies: bool = True
    """False: no tensor keeps its type, and no preset that copies a layer is a rival (for
    benchmarks).
    """
    bpw: str | None = None  # the bits per weight in which `file_bytes` were asked for

    def holds(self, model: Model, types: Mapping[str, str]) -> bool:
        """True if `model` with these types fits into the room, by the planner's arithmetic."""
        return self.room is None or self.room.holds(with_types(model, types))

    def limits(self, model: Model, choices: Errors, pins: Mapping[str, str]) -> Limits:
        """The limits on the choice of types beside the bytes of the file."""
        room = self.room
        return Limits(
            pins=pins,
            max_seconds=1 / self.speed.tokens_per_s if self.speed else None,
            devices_of=room.devices_of if room else None,
            device_bytes=_free_bytes(room, model, choices) if room else None,
        )

    def budget_bytes(self, model: Model, types: Mapping[str, str], file_bytes: int) -> int:
        """The most bytes that the file might have: for a room its own bytes and all that stays
        free; for a tier its own bytes.
        """
        if self.room is None:
            return self.file_bytes or file_bytes
        used = self.room.used_bytes(with_types(model, types))
        return file_bytes + self.room.total_bytes - sum(used.values())


def _free_bytes(room: Room, model: Model, choices: Errors) -> dict[str, int]:
    """The bytes on each device for the tensors in `choices`: its room less the tensors whose types
    are fixed.
    """
    free = dict(room.device_bytes)
    for tensor in model.tensors:
        if tensor.name not in choices:
            for device in room.devices_of.get(tensor.name, ()):
                if device in free:
                    free[device] -= buffer_bytes((tensor,))
    return free
