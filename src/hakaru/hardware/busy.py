"""Who else computes: what others take of processors and GPUs while something of ours is timed.

Processors: the system counts busy time of all processors, and of each of our own processes; the
difference is the others'. Time stolen by a hypervisor counts as others'. A server whose threads
wait for each other loses far more than the others' share (docs/labbook.md, 2026-11-27).

GPUs: a GPU is looked at while our server waits, so whatever computes then is the others'. (NVML's
figures by process do not help: their periods are longer than an answer takes, and in a container
their process numbers are the host's.)

Left out: GPUs of other vendors than NVIDIA, and processors outside a container's limit, whose load
may not hurt.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psutil

from hakaru.hardware.accelerators import nvidia_load

IDLE: Final = ("idle", "iowait", "guest", "guest_nice")
"""Times that are not busy, or that `user` and `nice` hold already (proc(5))."""
PROCESSORS: Final = 0.2
"""Processors that others may keep busy, on average."""
GPU: Final = 0.1
"""Share of its time for which others may keep a GPU busy: drawing a desktop takes less."""
GPU_PERIOD_S: Final = 2.0
"""NVML tells the average of the last period that is over; a period is at most a second (NVML API
reference, nvmlUtilization_t).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Others:
    """What others kept busy."""

    processors: float = 0.0  # on average
    gpu: float | None = None  # share of a GPU's time; None: not looked at, or not told

    @property
    def matter(self) -> bool:
        """True if the others were so busy that figures taken beside them say little about the
        machine.
        """
        return self.processors > PROCESSORS or (self.gpu or 0.0) > GPU

    def or_worse(self, other: "Others") -> "Others":
        """The worse of both in each respect."""
        told = [share for share in (self.gpu, other.gpu) if share is not None]
        return Others(
            processors=max(self.processors, other.processors), gpu=max(told, default=None)
        )

    def as_json(self) -> dict[str, float | bool | None]:
        """Three entries of a `speed` object and of its points."""
        return {
            "others_busy_processors": self.processors,
            "others_busy_gpu": self.gpu,
            "contended": self.matter,
        }

    @classmethod
    def from_json(cls, data: dict[str, float | None]) -> "Others":
        """The inverse of `as_json`, from an object that holds its entries."""
        return cls(
            processors=data["others_busy_processors"] or 0.0, gpu=data.get("others_busy_gpu")
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """A reading of the clocks."""

    at: float  # seconds of a monotonic clock
    system_s: float  # processor seconds so far, of the whole system
    own_s: float  # processor seconds so far, of our processes

    def others_since(self, before: "Clock") -> float:
        """How many processors others kept busy since `before`, on average."""
        passed = max(self.at - before.at, 1e-9)
        return max(0.0, (self.system_s - before.system_s) - (self.own_s - before.own_s)) / passed


def read_clock(pids: Iterable[int] = ()) -> Clock:
    """A reading now. Our processes are this one and those with the numbers `pids`."""
    times = psutil.cpu_times()._asdict()
    own = 0.0
    for process in (
        psutil.Process(),
        *(psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)),
    ):
        spent = process.cpu_times()
        own += spent.user + spent.system
    return Clock(
        at=time.monotonic(),
        system_s=sum(v for name, v in times.items() if name not in IDLE),
        own_s=own,
    )


def gpu_of_others(pid: int) -> float | None:
    """The share of time for which others keep the GPUs of our process `pid` busy. None if the
    driver does not tell.

    The process must be waiting. Two seconds pass first, so that NVML's period holds nothing of what
    the process computed before.
    """
    if nvidia_load(pid) is None:
        return None
    time.sleep(GPU_PERIOD_S)
    return nvidia_load(pid)
