"""Predicted speeds as values: figures with their interval, and what they rest on. Pure."""

from dataclasses import dataclass
from typing import Final

SAME_SPEED: Final = 0.1
"""How much slower a model may decode, as a part of the faster one's speed, and still count as as
fast (docs/decisions/0024).
"""
RAM_GB_S: Final = (40.0, 60.0, 100.0)
"""Least, usual and largest bandwidth of a PC's RAM, assumed: two channels of DDR4-2666 to
DDR5-6400.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What a predicted speed was computed from."""

    n_speeds: int = 0  # published speeds to which the coefficients were fitted
    n_devices: int = 0  # on which these were measured
    routes: tuple[str, ...] = ()  # the backends, as people call them
    n_timed: int = 0  # files that were timed on this machine
    ram_is_assumed: bool = False  # whether the bandwidth of the RAM is

    def __add__(self, other: "Basis") -> "Basis":
        return Basis(
            n_speeds=self.n_speeds + other.n_speeds,
            n_devices=self.n_devices + other.n_devices,
            routes=tuple(dict.fromkeys(self.routes + other.routes)),
            n_timed=max(self.n_timed, other.n_timed),
            ram_is_assumed=self.ram_is_assumed or other.ram_is_assumed,
        )

    @property
    def source(self) -> str:
        """The basis as it stands in `--json`."""
        parts = []
        if self.n_speeds:
            routes = ", ".join(self.routes)
            parts.append(f"{self.n_speeds} measured speeds on {self.n_devices} devices ({routes})")
        if self.n_timed:
            parts.append(f"{self.n_timed} files timed on this machine")
        if self.ram_is_assumed:
            parts.append(f"a RAM of {RAM_GB_S[0]:.0f} to {RAM_GB_S[2]:.0f} GB/s (assumed)")
        return "computed from " + " and ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedSpeed:
    """Tokens per second, and the interval in which nine of ten measured speeds lie."""

    value: float
    low: float
    high: float
    basis: Basis

    def as_json(self) -> dict[str, object]:
        """The speed as it stands in `--json`."""
        return {
            "value": _short(self.value),
            "low": _short(self.low),
            "high": _short(self.high),
            "source": self.basis.source,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedPrediction:
    """How fast a model will be somewhere. A speed that cannot be told is None, with the reason."""

    depth: int  # tokens of context before
    decode: PredictedSpeed | None = None
    prefill: PredictedSpeed | None = None
    why_no_decode: str = ""
    why_no_prefill: str = ""

    def as_json(self) -> dict[str, object]:
        """The object `speed` of `--json`."""
        return {
            "decode_tokens_per_s": self.decode.as_json() if self.decode else None,
            "prefill_tokens_per_s": self.prefill.as_json() if self.prefill else None,
            "depth": self.depth,
            "why_no_decode": self.why_no_decode or None,
            "why_no_prefill": self.why_no_prefill or None,
        }


def _short(value: float) -> float:
    """Four digits: more are not known."""
    return float(f"{value:.4g}")
