"""How many threads llama.cpp is started with: the lab and the server, everywhere the same number
(docs/decisions/0015).

Each thread wants a core of its own: threads that share a core wait for each other, and the slowest
thread holds all others up. So the number is that of the physical performance cores on which this
process may run, and never more than its container has time for. The modules of the engine's child
processes import this one: it needs nothing but the standard library.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.hardware.cgroup import CGROUP, MEMBERSHIP, processor_quota
from hakaru.hardware.kernel import read_integer, read_text, sysctl

DEVICES: Final = Path("/sys/devices")
LEAST_CAPACITY: Final = 0.6
"""A core with less than this part of the fastest core's capacity is an efficiency core. Little ARM
cores have .2 to .5, AMD's dense cores .65, the middle cores of GB10 .7. Assumed from public device
trees and logs.
"""


class Threads(Struct, frozen=True, kw_only=True):
    """How many threads to start, and what decided that number."""

    count: int
    allowed: int  # processors of the affinity mask, hyper-threads counted
    quota: float | None  # processors' worth of time that a container has, such as 1.5


def threads(
    devices: Path = DEVICES,
    cgroup: Path = CGROUP,
    membership: Path = MEMBERSHIP,
    allowed: Iterable[int] | None = None,
) -> Threads:
    """The threads for this process. `allowed` are the processors on which the process may run; None
    asks the system.
    """
    cpus = set(_affinity() if allowed is None else allowed)
    quota = processor_quota(cgroup, membership)
    cores = _mac_cores() or _cores(devices, _performance_cpus(devices, cpus))
    limit = cores if quota is None else max(1, int(quota))
    return Threads(count=max(1, min(cores, limit)), allowed=len(cpus), quota=quota)


def n_threads() -> int:
    """How many threads to start for this process."""
    return threads().count


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _performance_cpus(devices: Path, cpus: set[int]) -> set[int]:
    """Those of `cpus` that are performance cores; all of `cpus` where only one kind is among
    them.
    """
    intel = _listed(devices / "cpu_core" / "cpus")  # hybrid Intel processors list such cores
    if intel & cpus:
        return intel & cpus
    system = devices / "system" / "cpu"
    capacity = {cpu: read_integer(system / f"cpu{cpu}" / "cpu_capacity") for cpu in cpus}
    most = max((value for value in capacity.values() if value is not None), default=0)
    return {
        cpu for cpu, value in capacity.items() if value is None or value >= LEAST_CAPACITY * most
    }


def _cores(devices: Path, cpus: set[int]) -> int:
    """How many physical cores `cpus` are: hyper-threads of one core have the same list of
    siblings.
    """
    topology = [devices / "system" / "cpu" / f"cpu{cpu}" / "topology" for cpu in cpus]
    siblings = (read_text(path / "thread_siblings_list") or str(path) for path in topology)
    return max(1, len(set(siblings)))


def _mac_cores() -> int | None:
    """The performance cores of a Mac, as the system tells them; None elsewhere."""
    values = (sysctl(name) or "" for name in ("hw.perflevel0.physicalcpu", "hw.physicalcpu"))
    return next((int(value) for value in values if value.isdigit()), None)


def _listed(path: Path) -> set[int]:
    """Processors of a list such as `0-3,8`."""
    cpus: set[int] = set()
    for part in (read_text(path) or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            cpus |= set(range(int(first), int(last if last.isdigit() else first) + 1))
    return cpus
