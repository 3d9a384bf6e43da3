"""Predicted speeds as values: figures with their interval, and what they rest on. Pure."""

from typing import Final

from msgspec import Struct

from hakaru.units import three_digits

SAME_SPEED: Final = 0.1
"""How much slower a model may decode, as a part of the faster one's speed, and still count as as
fast (docs/decisions/0024).
"""
RAM_GB_S: Final = (40.0, 60.0, 100.0)
"""Least, usual and largest bandwidth of a PC's RAM, assumed: two channels of DDR4-2666 to
DDR5-6400.
"""
LINK_GB_S: Final = (5.0, 12.0, 40.0)
"""Least, usual and largest rate at which weights are copied from RAM to a card, assumed: PCI
Express from 3.0 with 8 lanes to 5.0 with 16, and memory that is paged or pinned.
"""


class Sample(Struct, frozen=True, kw_only=True):
    """What a predicted speed is that of, behind the depth: as most published speeds, unless a
    measurement is to be predicted.
    """

    n_prompt: int = 512  # tokens of the prompt that is read
    n_decoded: int = 128  # tokens that are decoded: the speed is their average


class Basis(Struct, frozen=True, kw_only=True):
    """What a predicted speed was computed from."""

    n_speeds: int = 0  # published speeds to which the coefficients were fitted
    n_devices: int = 0  # on which these were measured
    routes: tuple[str, ...] = ()  # the backends, as people call them
    n_timed: int = 0  # files that were timed on this machine
    ram_is_assumed: bool = False  # whether the bandwidth of the RAM is
    link_is_assumed: bool = False  # whether the rate of copies to a card is
    users: int = 1  # at the same time; above 1 the speed is computed, and calibrated by nothing
    network_s: float = 0.0  # the part of a token's time that goes over a network

    def __add__(self, other: "Basis") -> "Basis":
        return Basis(
            n_speeds=self.n_speeds + other.n_speeds,
            n_devices=self.n_devices + other.n_devices,
            routes=tuple(dict.fromkeys(self.routes + other.routes)),
            n_timed=max(self.n_timed, other.n_timed),
            ram_is_assumed=self.ram_is_assumed or other.ram_is_assumed,
            link_is_assumed=self.link_is_assumed or other.link_is_assumed,
            users=max(self.users, other.users),
            network_s=self.network_s + other.network_s,
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
        if self.link_is_assumed:
            parts.append(f"copies at {LINK_GB_S[0]:.0f} to {LINK_GB_S[2]:.0f} GB/s (assumed)")
        if self.network_s:
            parts.append(f"{three_digits(1e3 * self.network_s)} ms of network for each token")
        source = "computed from " + " and ".join(parts)
        if self.users == 1:
            return source
        return f"{source}; for {self.users} users at a time computed, not calibrated"

    @property
    def is_assumed(self) -> bool:
        """Whether the interval rests on a range that no measurement calibrated."""
        return self.ram_is_assumed or self.link_is_assumed or self.users > 1


class PredictedSpeed(Struct, frozen=True, kw_only=True):
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

    def of_all(self) -> "PredictedSpeed":
        """The speed of all users together."""
        n = self.basis.users
        return PredictedSpeed(
            value=n * self.value, low=n * self.low, high=n * self.high, basis=self.basis
        )


class SpeedPrediction(Struct, frozen=True, kw_only=True):
    """How fast a model will be somewhere. A speed that cannot be told is None, with the reason."""

    depth: int  # tokens of context before
    users: int = 1  # at the same time
    decode: PredictedSpeed | None = None  # of each user
    prefill: PredictedSpeed | None = None
    why_no_decode: str = ""
    why_no_prefill: str = ""

    def as_json(self) -> dict[str, object]:
        """The object `speed` of `--json`."""
        return {
            "decode_tokens_per_s": self.decode.as_json() if self.decode else None,
            "prefill_tokens_per_s": self.prefill.as_json() if self.prefill else None,
            "depth": self.depth,
            "users": self.users,
            "decode_of_all_tokens_per_s": self.decode.of_all().as_json() if self.decode else None,
            "why_no_decode": self.why_no_decode or None,
            "why_no_prefill": self.why_no_prefill or None,
        }


def _short(value: float) -> float:
    """Four digits: more are not known."""
    return float(f"{value:.4g}")
