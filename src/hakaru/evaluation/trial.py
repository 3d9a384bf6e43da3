"""Speed and memory of one file, measured through the server."""

from typing import Any

from msgspec import Struct

from hakaru.evaluation.speed import Speed
from hakaru.memory.footprint import Footprint


class Trial(Struct, frozen=True, kw_only=True):
    """Speed and memory of one file."""

    speed: Speed
    memory: Footprint  # as the server's log tells it
    peak_rss_bytes: int | None  # the most that the server's process took of the main memory

    def as_json(self) -> dict[str, Any]:
        """The form in which the ledger keeps it."""
        return {
            "speed": self.speed.as_json(),
            "memory": self.memory.parts(),
            "peak_rss_bytes": self.peak_rss_bytes,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Trial":
        """The inverse of `as_json`."""
        memory = Footprint(**data["memory"], source="measured")
        return cls(
            speed=Speed.from_json(data["speed"]),
            memory=memory,
            peak_rss_bytes=data["peak_rss_bytes"],
        )
