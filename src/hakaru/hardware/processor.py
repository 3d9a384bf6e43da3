"""The CPU and the RAM: psutil, /proc/cpuinfo, and the limits that a container sets (see
`cgroup`).
"""

import platform
from pathlib import Path
from typing import Final

import psutil

from hakaru.hardware.cgroup import CGROUP, MEMBERSHIP, memory_limits
from hakaru.hardware.kernel import read_text, sysctl
from hakaru.hardware.machine import Cpu, Memory
from hakaru.hardware.threads import threads

INSTRUCTION_SETS: Final = (
    "sse3", "ssse3", "avx", "f16c", "fma", "avx2", "bmi2", "avx_vnni", "avx512f", "avx512_vnni",
    "avx512_bf16", "amx_int8", "asimd", "asimddp", "i8mm", "sve",
)  # fmt: skip
"""The flags of /proc/cpuinfo for which llama.cpp has its own kernels. Source: llama.cpp,
ggml/src/ggml-cpu/CMakeLists.txt.
"""


def cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """The processor of this machine."""
    logical = psutil.cpu_count(logical=True) or 1
    started = threads()
    usable = started.allowed if started.quota is None else max(1, int(started.quota))
    fields = _cpuinfo(cpuinfo)
    flags = set(fields.get("flags", fields.get("features", "")).split())
    flags |= {"sse3"} if "pni" in flags else set()  # the kernel's name for SSE3
    return Cpu(
        model=fields.get("model name")
        or sysctl("machdep.cpu.brand_string")
        or platform.processor()
        or platform.machine(),
        architecture=platform.machine(),
        physical_cores=psutil.cpu_count(logical=False) or logical,
        logical_cores=logical,
        usable_cores=min(started.allowed, usable),
        threads=started.count,
        quota=started.quota,
        instruction_sets=tuple(name for name in INSTRUCTION_SETS if name in flags),
    )


def memory(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> Memory:
    """RAM now. In a container, no more is available than the tightest memory limit leaves: the
    limit less what its group uses.
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
    """The fields of the first processor that /proc/cpuinfo lists, their names in small letters."""
    lines = (read_text(path) or "").split("\n\n", 1)[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip().lower(): value.strip() for key, _, value in pairs}
