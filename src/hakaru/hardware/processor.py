"""The CPU and the RAM: psutil, /proc/cpuinfo, and the limits that a container sets (cgroup v1 and v2)."""

import os
import platform
import subprocess
from pathlib import Path
from typing import Final

import psutil

from hakaru.hardware.machine import Cpu, Memory

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
UNLIMITED: Final = 2**60  # cgroup v1 writes a number near 2^63 for "no limit"


def cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> Cpu:
    """The processor of this machine."""
    logical = psutil.cpu_count(logical=True) or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical
    fields = _cpuinfo(cpuinfo)
    flags = set(fields.get("flags", fields.get("features", "")).split())
    return Cpu(
        model=fields.get("model name") or _sysctl("machdep.cpu.brand_string") or platform.processor() or platform.machine(),
        architecture=platform.machine(),
        physical_cores=psutil.cpu_count(logical=False) or logical,
        logical_cores=logical,
        usable_cores=usable,
        instruction_sets=tuple(name for name in INSTRUCTION_SETS if name in flags or (name == "sse3" and "pni" in flags)),
    )


def memory(cgroup: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> Memory:
    """RAM, and what of it a container leaves us: the tightest limit on the way up the cgroup tree, less what is used
    there.
    """
    ram = psutil.virtual_memory()
    limits = list(_cgroup_limits(cgroup, membership))
    available = min([ram.available, *(limit - used for limit, used in limits)])
    return Memory(
        total_bytes=ram.total,
        available_bytes=max(0, available),
        limit_bytes=min((limit for limit, _ in limits if limit < ram.total), default=None),
    )


def _cgroup_limits(cgroup: Path, membership: Path) -> list[tuple[int, int]]:
    """(limit, used) of every group on the way from ours to the root that has a limit."""
    found = []
    for group in _groups(cgroup, membership):
        for limit_name, used_name in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            limit, used = _number(group / limit_name), _number(group / used_name)
            if limit is not None and limit < UNLIMITED:
                reclaimable = _inactive_file(group / "memory.stat")
                found.append((limit, max(0, (used or 0) - reclaimable)))
    return found


def _groups(cgroup: Path, membership: Path) -> list[Path]:
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        lines = []
    groups = [cgroup, cgroup / "memory"]
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        root = cgroup / "memory" if "memory" in controllers.split(",") else cgroup
        group = root / path.lstrip("/")
        groups += [group, *(p for p in group.parents if root in p.parents)]
    return list(dict.fromkeys(groups))


def _inactive_file(path: Path) -> int:
    """Page cache that the kernel gives back when it is needed; it counts as used but is not."""
    try:
        fields = dict(line.split() for line in path.read_text().splitlines())
    except (OSError, ValueError):
        return 0
    return int(fields.get("inactive_file", fields.get("total_inactive_file", 0)))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None  # absent, or "max"


def _cpuinfo(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    first = text.split("\n\n", 1)[0].splitlines()
    return {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in first)}


def _sysctl(name: str) -> str | None:
    if platform.system() != "Darwin":
        return None
    try:
        return subprocess.run(["sysctl", "-n", name], capture_output=True, text=True, timeout=2, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
