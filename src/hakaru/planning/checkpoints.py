"""How many context checkpoints the server may keep per conversation, and how much RAM for prompts
that no slot holds any more, so that the plan holds when it has grown. Pure.

As much as the room in host memory allows after everything else, up to the engine's own figures;
never fewer checkpoints than make a chat turn cheap. Where nothing is known about the RAM, the least
checkpoints, which are told and not judged, and no prompts. See memory/growth.py.
"""

from msgspec import Struct
from msgspec.structs import replace

from hakaru.language import say
from hakaru.memory.growth import MOST_CHECKPOINTS, checkpoints_bytes, filled
from hakaru.memory.settings import LEAST_CHECKPOINTS, ContextSettings
from hakaru.planning.placement import Task
from hakaru.planning.shares import Placement, Share, judged
from hakaru.units import format_bytes


def with_checkpoints(placement: Placement, task: Task) -> tuple[Placement, ContextSettings]:
    """The placement and its settings with the context checkpoints and the RAM for prompts that have
    room. What was asked for stays.
    """
    shape, margin = task.shape, task.margin
    host = replace(_host(placement), checkpoints_bytes=0, prompts_bytes=0)
    usable = host.device.usable_bytes * (1 - margin)
    spare = usable - host.needed_bytes if host.device.total_bytes else 0
    settings = filled(shape, task.settings, spare, task.copied_bytes)
    grown = replace(
        host,
        checkpoints_bytes=checkpoints_bytes(shape, settings, task.copied_bytes),
        prompts_bytes=settings.cache_ram_bytes,
    )
    if _host(placement) is placement.ram:
        return judged(replace(placement, ram=grown), margin), settings
    return judged(replace(placement, shares=(grown, *placement.shares[1:])), margin), settings


def _host(placement: Placement) -> Share:
    """The share that holds what lies in host memory: on a unified memory the device's."""
    return (
        placement.shares[0]
        if placement.shares and placement.shares[0].requests_bytes
        else placement.ram
    )


class Growth(Struct, frozen=True, kw_only=True):
    """What the server takes while it is used."""

    n_checkpoints: int  # per conversation
    checkpoint_bytes: int | None  # of one checkpoint; None: not known
    n_parallel: int  # conversations
    prompts_bytes: int  # of prompts that no slot holds any more, at most
    requests_bytes: int  # of requests while they are read
    judged: bool  # the size of the memory in which checkpoints lie is known

    @property
    def checkpoints_bytes(self) -> int:
        """All checkpoints of all conversations."""
        return self.n_checkpoints * (self.checkpoint_bytes or 0) * self.n_parallel

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.checkpoints_bytes + self.prompts_bytes + self.requests_bytes

    def of_prompts(self) -> str | None:
        """The prompts in words; None where none are planned, or the RAM is not known."""
        if not (self.judged and self.prompts_bytes):
            return None
        return say(
            "Prompts in RAM: up to {bytes}; a conversation whose slot another one took comes back "
            "from there.",
            bytes=format_bytes(self.prompts_bytes),
        )

    def sentence(self) -> str | None:
        """The checkpoints in words; None for a model that makes none."""
        if self.checkpoint_bytes is None:
            return say(
                "Context checkpoints are switched off, since hakaru cannot count them for this "
                "architecture; if it has recurrent "
                "states or sliding windows, a chat turn may read its whole conversation again."
            )
        if not self.checkpoint_bytes:
            return None
        n, one, together = (
            self.n_checkpoints,
            format_bytes(self.checkpoint_bytes),
            format_bytes(self.checkpoints_bytes),
        )
        if not self.judged:
            return say(
                "Context checkpoints: {n} per conversation of {each}, {all} of RAM, which is "
                "told and not judged (name the RAM "
                "for more); without any, a chat turn may read its whole conversation again.",
                n=n,
                each=one,
                all=together,
            )
        if n >= MOST_CHECKPOINTS:
            return say(
                "Context checkpoints: {n} per conversation of {each}, {all} when all are made; "
                "the engine's own number has room.",
                n=n,
                each=one,
                all=together,
            )
        if n > LEAST_CHECKPOINTS:
            return say(
                "Context checkpoints: {n} per conversation of {each}, {all} when all are made: as "
                "many as there is room for (the engine's own number is {most}).",
                n=n,
                each=one,
                all=together,
                most=MOST_CHECKPOINTS,
            )
        if n == LEAST_CHECKPOINTS:
            return say(
                "Context checkpoints: {n} per conversation of {each}, {all} in all: the least "
                "with which a chat turn is not read from its beginning.",
                n=n,
                each=one,
                all=together,
            )
        return say("Context checkpoints: none; a chat turn may read its whole conversation again.")

    def as_json(self) -> dict[str, int | None]:
        """The object `growth` of `hakaru fit --json`."""
        return {
            "checkpoints_per_conversation": self.n_checkpoints,
            "checkpoint_bytes": self.checkpoint_bytes,
            "checkpoints_bytes": self.checkpoints_bytes,
            "prompts_bytes": self.prompts_bytes,
            "requests_bytes": self.requests_bytes,
        }
