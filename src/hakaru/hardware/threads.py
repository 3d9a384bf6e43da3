"""How many threads llama.cpp is started with: the lab and the server, everywhere the same number
(docs/decisions/0015).

Each thread wants a core of its own: threads that share one wait for each other, and the slowest
holds all of them up. So it is the physical performance cores on which this process may run, and
never more than its container has time for. The modules of the engine's child processes import this
one: it needs nothing but the standard library.
"""

import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hakaru.hardware.cgroup import CGROUP, MEMBERSHIP, processor_quota

DEVICES: Final = Path("/sys/devices")
FAST: Final = 0.6
"""A core with less than this part of the fastest one's capacity is an efficiency core: little ARM
cores have .2 to .5, AMD's dense ones .65, the middle ones of GB10 .7. Assumed from public device
trees and logs.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threads:
    """How many threads to start, and what decided it."""

    count: int
    allowed: int  # processors of the affinity mask, hyper-threads counted
    performance_cores: int  # physical ones among them
    quota: float | None  # a container's, in processors


def threads(
    devices: Path = DEVICES,
    cgroup: Path = CGROUP,
    membership: Path = MEMBERSHIP,
    allowed: Iterable[int] | None = None,
) -> Threads:
    """The threads for this process; `allowed`: the processors on which it may run, None to ask the
    system.
    """
    cpus = set(_affinity() if allowed is None else allowed)
    quota = processor_quota(cgroup, membership)
    cores = _mac_cores() or _cores(devices, _fast(devices, cpus))
    limit = cores if quota is None else max(1, int(quota))
    return Threads(
        count=max(1, min(cores, limit)), allowed=len(cpus), performance_cores=cores, quota=quota
    )


def n_threads() -> int:
    """The number alone."""
    return threads().count


def _affinity() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return os.sched_getaffinity(0)
    return set(range(os.cpu_count() or 1))


def _fast(devices: Path, cpus: set[int]) -> set[int]:
    """The performance cores among `cpus`; all of them where there is no other kind, or none of that
    kind.
    """
    intel = _listed(devices / "cpu_core" / "cpus")  # hybrid Intel processors name theirs
    if intel & cpus:
        return intel & cpus
    capacity = {
        cpu: _number(devices / "system" / "cpu" / f"cpu{cpu}" / "cpu_capacity") for cpu in cpus
    }
    known = [value for value in capacity.values() if value is not None]
    return (
        {cpu for cpu, value in capacity.items() if value is None or value >= FAST * max(known)}
        if known
        else cpus
    )


def _cores(devices: Path, cpus: set[int]) -> int:
    """How many physical cores `cpus` are: hyper-threads of one core have the same list of
    siblings.
    """
    topology = [devices / "system" / "cpu" / f"cpu{cpu}" / "topology" for cpu in cpus]
    siblings = (_text(path / "thread_siblings_list") or str(path) for path in topology)
    return max(1, len(set(siblings)))


def _mac_cores() -> int | None:
    """The performance cores of a Mac, as the system tells them; None elsewhere."""
    if platform.system() != "Darwin":
        return None
    for name in ("hw.perflevel0.physicalcpu", "hw.physicalcpu"):
        try:
            return int(
                subprocess.run(
                    ["sysctl", "-n", name], capture_output=True, text=True, timeout=2, check=True
                ).stdout
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            continue
    return None


def _listed(path: Path) -> set[int]:
    """Processors of a list such as `0-3,8`."""
    cpus: set[int] = set()
    for part in (_text(path) or "").split(","):
        first, _, last = part.partition("-")
        if first.isdigit():
            cpus |= set(range(int(first), int(last if last.isdigit() else first) + 1))
    return cpus


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text and text.isdigit() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip() or None
    except (OSError, UnicodeDecodeError):
        return None
