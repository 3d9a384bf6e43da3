"""How busy other programs keep processors and GPUs while hakaru times something.

Processors: the system counts the busy time of all processors, and of each of hakaru's processes;
the difference is the other programs'. Time stolen by a hypervisor counts as theirs. A server whose
threads wait for each other loses far more than the others' share (docs/labbook.md, 2026-11-27).

GPUs: a GPU is looked at while hakaru's server waits, so whatever computes then is another program.
(NVML's figures by process do not help: the periods of these figures are longer than an answer
takes, and in a container the process numbers are the host's.)

Left out: GPUs of other vendors than NVIDIA. Processors outside a container's limit do count, though
load there may not hurt.
"""

import time
from collections.abc import Iterable
from typing import Final

import psutil
from msgspec import Struct

from hakaru.hardware.accelerators import nvidia_load

IDLE: Final = ("idle", "iowait", "guest", "guest_nice")
"""Times that are not busy, or that `user` and `nice` hold already (proc(5))."""
MOST_PROCESSORS: Final = 0.2
"""Processors that others may keep busy, on average, without being said to disturb."""
MOST_GPU: Final = 0.1
"""The share of time for which others may keep a GPU busy: drawing a desktop takes less."""
GPU_PERIOD_S: Final = 2.0
"""NVML tells the average over the last finished period; a period is at most a second (NVML API
reference, nvmlUtilization_t).
"""


class Others(Struct, frozen=True, kw_only=True):
    """How busy other programs kept the machine."""

    processors: float = 0.0  # how many processors they kept busy, on average
    gpu: float | None = None  # share of a GPU's time; None: not looked at, or NVML does not tell

    @property
    def matter(self) -> bool:
        """True if the others were so busy that figures taken beside them say little about the
        machine.
        """
        return self.processors > MOST_PROCESSORS or (self.gpu or 0.0) > MOST_GPU

    def or_worse(self, other: "Others") -> "Others":
        """The worse of both in each respect."""
        gpus = [share for share in (self.gpu, other.gpu) if share is not None]
        return Others(
            processors=max(self.processors, other.processors), gpu=max(gpus, default=None)
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


class Clock(Struct, frozen=True, kw_only=True):
    """A reading of the clocks."""

    at: float  # seconds of a monotonic clock
    system_s: float  # processor seconds so far, of the whole system
    ours_s: float  # processor seconds so far, of hakaru's processes

    def others_since(self, before: "Clock") -> float:
        """How many processors others kept busy since `before`, on average."""
        passed_s = max(self.at - before.at, 1e-9)
        others_s = (self.system_s - before.system_s) - (self.ours_s - before.ours_s)
        return max(0.0, others_s) / passed_s


def read_clock(pids: Iterable[int] = ()) -> Clock:
    """A reading now. hakaru's processes are this process and those with the numbers `pids`."""
    system = psutil.cpu_times()._asdict()
    processes = [psutil.Process(), *(psutil.Process(pid) for pid in pids if psutil.pid_exists(pid))]
    ours = [process.cpu_times() for process in processes]
    return Clock(
        at=time.monotonic(),
        system_s=sum(seconds for kind, seconds in system.items() if kind not in IDLE),
        ours_s=sum(times.user + times.system for times in ours),
    )


def gpu_of_others(pid: int) -> float | None:
    """The share of time for which others keep the GPUs of hakaru's process `pid` busy. None if the
    driver does not tell.

    The process must be waiting. Two seconds pass first, so that NVML's period holds nothing of what
    the process computed before.
    """
    if nvidia_load(pid) is None:
        return None
    time.sleep(GPU_PERIOD_S)
    return nvidia_load(pid)
