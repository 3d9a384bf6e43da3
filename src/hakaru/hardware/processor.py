"""The CPU and the RAM: psutil, /proc/cpuinfo, and the limits that a container sets (see
`cgroup`).
"""

import platform
from pathlib import Path
from typing import Final

import psutil

from hakaru.hardware.apple import sysctl
from hakaru.hardware.cgroup import CGROUP, MEMBERSHIP, memory_limits
from hakaru.hardware.machine import Cpu, Memory
from hakaru.hardware.threads import threads

INSTRUCTION_SETS: Final = (
    "sse3",
    "ssse3",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "bmi2",
    "avx_vnni",
    "avx512f",
    "avx512_vnni",
    "avx512_bf16",
    "amx_int8",
    "asimd",
    "asimddp",
    "i8mm",
    "sve",
)
"""The flags of /proc/cpuinfo for which llama.cpp has its own kernels. Source: llama.cpp,
ggml/src/ggml-cpu/CMakeLists.txt.
"""


def cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """The processor of this machine."""
    logical = psutil.cpu_count(logical=True) or 1
    started = threads()
    fields = _cpuinfo(cpuinfo)
    flags = set(fields.get("flags", fields.get("features", "")).split())
    return Cpu(
        model=fields.get("model name")
        or sysctl("machdep.cpu.brand_string")
        or platform.processor()
        or platform.machine(),
        architecture=platform.machine(),
        physical_cores=psutil.cpu_count(logical=False) or logical,
        logical_cores=logical,
        usable_cores=started.allowed
        if started.quota is None
        else min(started.allowed, max(1, int(started.quota))),
        threads=started.count,
        quota=started.quota,
        instruction_sets=tuple(
            name
            for name in INSTRUCTION_SETS
            if name in flags or (name == "sse3" and "pni" in flags)
        ),
    )


def memory(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> Memory:
    """RAM, and what of it a container leaves us: the tightest limit on the way up the cgroup tree,
    less what is used there.
    """
    ram = psutil.virtual_memory()
    limits = memory_limits(cgroup, membership)
    available = min([ram.available, *(limit.limit_bytes - limit.used_bytes for limit in limits)])
    return Memory(
        total_bytes=ram.total,
        available_bytes=max(0, available),
        limit_bytes=min(
            (limit.limit_bytes for limit in limits if limit.limit_bytes < ram.total), default=None
        ),
    )


def _cpuinfo(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    first = text.split("\n\n", 1)[0].splitlines()
    return {
        key.strip().lower(): value.strip()
        for key, _, value in (line.partition(":") for line in first)
    }
