"""Who else computes: what others take of processors and GPUs while something of ours is timed.

The system counts busy time of all processors; what our own processes took of it is known, too; the rest is others'. A server
whose threads wait for each other loses far more than that share (docs/labbook.md, 2026-11-27). Time stolen by a hypervisor counts
as others'. A GPU is looked at while ours waits: what computes then is others'. (By process, NVML's samples are longer than an
answer takes, and in a container their process numbers are the host's.) Left out: GPUs of other vendors, and processors outside a
container's limit, whose load may not hurt.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psutil

from hakaru.hardware.accelerators import nvidia_load

IDLE: Final = ("idle", "iowait", "guest", "guest_nice")
"""Not busy, or counted in user and nice already (proc(5))."""
PROCESSORS: Final = 0.2
"""Processors that others may keep busy, on average."""
GPU: Final = 0.1
"""Share of its time for which others may keep a GPU busy: drawing a desktop takes less."""
GPU_PERIOD_S: Final = 2.0
"""NVML averages over periods of up to a second (NVML API reference, nvmlUtilization_t), and tells of the last one that is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """What others kept busy: processors on average, and the share of a GPU's time; None where nobody looked or the driver does not tell."""

    processors: float = 0.0
    gpu: float | None = None

    @property
    def matter(self) -> bool:
        """Whether figures that were taken beside them say little about the machine."""
        return self.processors > PROCESSORS or (self.gpu or 0.0) > GPU

    def or_worse(self, other: "Others") -> "Others":
        """The worse of both in each respect."""
        told = [share for share in (self.gpu, other.gpu) if share is not None]
        return Others(processors=max(self.processors, other.processors), gpu=max(told, default=None))

    def as_json(self) -> dict[str, float | bool | None]:
        """Three entries of a `speed` object and of its points."""
        return {"others_busy_processors": self.processors, "others_busy_gpu": self.gpu, "contended": self.matter}

    @classmethod
    def from_json(cls, data: dict[str, float | None]) -> "Others":
        """The inverse of `as_json`, from an object that holds its entries."""
        return cls(processors=data["others_busy_processors"] or 0.0, gpu=data.get("others_busy_gpu"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A reading: the time, and processor seconds so far of the whole system and of ours."""

    at: float
    system_s: float
    own_s: float

    def others_since(self, before: "Clock") -> float:
        """How many processors others kept busy since `before`, on average."""
        passed = max(self.at - before.at, 1e-9)
        return max(0.0, (self.system_s - before.system_s) - (self.own_s - before.own_s)) / passed


def read_clock(pids: Iterable[int] = ()) -> Clock:
    """A reading now; ours are this process and the ones with these numbers."""
    times = psutil.cpu_times()._asdict()
    own = 0.0
    for process in (psutil.Process(), *(psutil.Process(pid) for pid in pids if psutil.pid_exists(pid))):
        spent = process.cpu_times()
        own += spent.user + spent.system
    return Clock(at=time.monotonic(), system_s=sum(v for name, v in times.items() if name not in IDLE), own_s=own)


def gpu_of_others(pid: int) -> float | None:
    """The share for which others keep the GPUs of our process `pid` busy, which must be waiting; None where the driver does not tell.
    Waits for NVML to forget what ours did before.
    """
    if nvidia_load(pid) is None:
        return None
    time.sleep(GPU_PERIOD_S)
    return nvidia_load(pid)
