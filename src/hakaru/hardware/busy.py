"""Who else computes: processor time that others take while something of ours is timed.

The system counts busy time of all processors; what our own processes took of it is known, too; the rest is others'. A server
whose threads wait for each other loses far more than that share (docs/labbook.md, 2026-11-27). Time stolen by a hypervisor counts
as others'. Left out: GPUs, and processors outside a container's limit, whose load may not hurt.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import psutil

IDLE: Final = ("idle", "iowait", "guest", "guest_nice")
"""Not busy, or counted in user and nice already (proc(5))."""


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
