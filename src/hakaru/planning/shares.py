"""What each device holds of a model under a layout, and the verdict on that. Pure.

A layout is llama.cpp's own terms; a share is what one device holds under it. A verdict takes the
margin into account: `fits` leaves the margin free, `tight` eats into it, `does_not_fit` exceeds
what there is. How the shares are computed stands in `placement`.
"""

from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.hardware.machine import Device
from hakaru.memory.settings import ContextSettings

FitVerdict = Literal["fits", "tight", "does_not_fit"]
MARGIN: Final = 0.03
"""Part of the free memory that stays free under `fits` until measurements say better: assumed."""


def judge(needed_bytes: float, free_bytes: float, margin: float = MARGIN) -> FitVerdict:
    """Whether `needed_bytes` go into `free_bytes`."""
    if needed_bytes > free_bytes:
        return "does_not_fit"
    return "fits" if needed_bytes <= free_bytes * (1 - margin) else "tight"


class Share(Struct, frozen=True, kw_only=True):
    """What one device holds of a model."""

    device: Device
    layers: int  # that lie on the device, each as a whole
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    output_bytes: int = 0
    overhead_bytes: int = 0
    extras_bytes: int = 0
    conversion_bytes: int = 0  # the part of compute_bytes for a KV cache in F16 (attention)
    checkpoints_bytes: int = 0  # with use (memory/growth.py)
    prompts_bytes: int = 0  # with use: prompts that no slot holds any more
    requests_bytes: int = 0  # with use

    @property
    def needed_bytes(self) -> int:
        """The sum of the parts."""
        own = self.weights_bytes + self.kv_cache_bytes + self.compute_bytes + self.output_bytes
        return own + self.overhead_bytes + self.extras_bytes + self.growth_bytes

    @property
    def growth_bytes(self) -> int:
        """What comes while the server is used."""
        return self.checkpoints_bytes + self.prompts_bytes + self.requests_bytes

    @property
    def bar(self) -> tuple[int, int, int, int, int]:
        """The share as a picture shows it: weights, KV cache, compute with output, the rest, and
        growth.
        """
        return (
            self.weights_bytes,
            self.kv_cache_bytes,
            self.compute_bytes + self.output_bytes,
            self.overhead_bytes + self.extras_bytes,
            self.growth_bytes,
        )

    @property
    def part_taken(self) -> float:
        """The part of the device's usable memory that the share takes; above 1 if it does not
        fit.
        """
        return self.needed_bytes / max(1, self.device.usable_bytes)

    def verdict(self, margin: float) -> FitVerdict:
        """Whether the share goes into its device."""
        return judge(self.needed_bytes, self.device.usable_bytes, margin)

    @property
    def headroom_bytes(self) -> int:
        """What stays free; negative if it does not fit."""
        return self.device.usable_bytes - self.needed_bytes

    def as_json(self) -> dict[str, object]:
        """The device as it stands in `--json`."""
        return {
            "name": self.device.name, "capacity_bytes": self.device.total_bytes,
            "free_bytes": self.device.usable_bytes, "layers": self.layers,
            "weights_bytes": self.weights_bytes, "kv_cache_bytes": self.kv_cache_bytes,
            "compute_bytes": self.compute_bytes, "output_bytes": self.output_bytes,
            "overhead_bytes": self.overhead_bytes, "extras_bytes": self.extras_bytes,
            "checkpoints_bytes": self.checkpoints_bytes, "prompts_bytes": self.prompts_bytes,
            "requests_bytes": self.requests_bytes,
            "headroom_bytes": self.headroom_bytes,
            "of_compute": {"conversion_bytes": self.conversion_bytes},
        }  # fmt: skip


MOST_IN_A_SPLIT: Final = 15
"""Devices that a split in words can name. Source: llama.cpp, --tensor-split in common/arg.cpp."""


class Layout(Struct, frozen=True, kw_only=True):
    """A placement in llama.cpp's own terms. An item is a layer; the output is the last item."""

    counts: tuple[int, ...]  # items on each accelerator, counted from the end
    n_cpu_moe: int = 0  # layers whose experts stay in RAM
    default_split: bool = True  # llama.cpp arrives at the counts by itself

    @property
    def n_gpu_layers(self) -> int:
        """The argument of `-ngl`: all items on accelerators."""
        return sum(self.counts)

    def server_flags(self, settings: ContextSettings) -> list[str]:
        """The arguments of a llama-server that keeps to the plan."""
        return settings.as_flags() + self.flags()

    def flags(self) -> list[str]:
        """The arguments of llama-server that make this layout. Raises Misuse for a split over more
        devices than they can name.
        """
        if not self.counts:
            return []
        flags = ["-ngl", str(self.n_gpu_layers)]
        if len(self.counts) > 1 and not self.default_split:
            if len(self.counts) > MOST_IN_A_SPLIT:
                raise Misuse(
                    "llama.cpp divides a model by hand among at most {most} devices, and here are "
                    "{n}; leave some out.",
                    most=MOST_IN_A_SPLIT,
                    n=len(self.counts),
                )
            flags += ["-ts", ",".join(str(n) for n in self.counts)]
        return flags + (["-ncmoe", str(self.n_cpu_moe)] if self.n_cpu_moe else [])


class Placement(Struct, frozen=True, kw_only=True):
    """A model on a machine."""

    layout: Layout
    shares: tuple[Share, ...]  # of the accelerators
    ram: Share
    ram_known: bool  # if not, the share of the RAM is told and not judged
    n_items: int  # layers and output
    verdict: FitVerdict

    @property
    def devices(self) -> tuple[Share, ...]:
        """All shares that were judged."""
        return (*self.shares, self.ram) if self.ram_known else self.shares

    @property
    def fullest(self) -> Share:
        """The device that decides: of those that were judged the one with the largest part of its
        memory taken.
        """
        return max(self.devices, key=lambda share: share.part_taken)

    @property
    def total_bytes(self) -> int:
        """Everything that is needed, on all devices and in RAM."""
        return sum(s.needed_bytes for s in self.shares) + self.ram.needed_bytes


def judged(placement: Placement, margin: float) -> Placement:
    """The placement with the verdict of its fullest device."""
    verdicts = {share.verdict(margin) for share in placement.devices}
    worst: FitVerdict = (
        "does_not_fit" if "does_not_fit" in verdicts else "tight" if "tight" in verdicts else "fits"
    )
    return replace(placement, verdict=worst)
