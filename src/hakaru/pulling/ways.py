"""The two ways to a file that fits this machine, beside each other: fetch one that somebody made,
or fetch a source and quantize it here. Pure.
"""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from hakaru.language import say
from hakaru.units import format_bytes


class Way(Struct, frozen=True, kw_only=True):
    """What a way costs. None: not known."""

    kind: Literal["ready", "make"]
    label: str  # the type that is fetched
    bytes: int | None  # of the files that are fetched
    missing_bytes: int | None  # of these, what is not here yet
    bytes_per_s: float | None = None  # with which this server's files came the last time
    made_bytes: int | None = None  # of the file that is made, at most
    quantizing_s: float | None = None  # by what was quantized here before
    fits: bool = True  # whether what it leads to runs here

    @property
    def fetching_s(self) -> float | None:
        """Seconds until everything is here."""
        if self.missing_bytes is None or not self.bytes_per_s:
            return None
        return self.missing_bytes / self.bytes_per_s

    @property
    def seconds(self) -> float | None:
        """Until the file that runs is here."""
        if self.fetching_s is None or self.kind == "ready":
            return self.fetching_s
        return None if self.quantizing_s is None else self.fetching_s + self.quantizing_s

    @property
    def disk_bytes(self) -> int | None:
        """What still has to go onto the disk."""
        if self.missing_bytes is None or self.kind == "ready":
            return self.missing_bytes
        return None if self.made_bytes is None else self.missing_bytes + self.made_bytes

    def as_json(self) -> dict[str, object]:
        """An entry of `ways`."""
        return {
            "way": self.kind, "type": self.label, "fits": self.fits, "bytes": self.bytes,
            "missing_bytes": self.missing_bytes, "fetching_s": self.fetching_s,
            "quantizing_s": self.quantizing_s, "seconds": self.seconds,
            "made_bytes": self.made_bytes, "disk_bytes": self.disk_bytes,
        }  # fmt: skip


def why(ways: Sequence[Way]) -> str:
    """Why the first of the ways is taken; empty where there is only one."""
    if len(ways) < 2:
        return ""
    first, other = ways
    if first.kind == "make":
        return say("made here, since no ready-made file fits")
    if first.bytes is None or other.bytes is None or first.bytes >= other.bytes:
        return say("ready-made: nothing has to be quantized")
    return say(
        "ready-made: {bytes} less to fetch, and nothing has to be quantized",
        bytes=format_bytes(other.bytes - first.bytes),
    )
