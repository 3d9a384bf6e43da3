"""The limits that a container sets: cgroup v1 and v2, from our process's group up to the highest
group that the process can see.

A group's files are looked for in two places, which may differ inside a container: the path that
`/proc/self/cgroup` names (without a cgroup namespace, a path of the host), and the root of what is
mounted. The tightest limit on the way up holds.
"""

from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.hardware.kernel import read_integer, read_text

CGROUP: Final = Path("/sys/fs/cgroup")
MEMBERSHIP: Final = Path("/proc/self/cgroup")
UNLIMITED: Final = 2**60  # cgroup v1 writes a number near 2^63 for "no limit"
_MEMORY_FILES: Final = (
    ("memory.max", "memory.current"),
    ("memory.high", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Limit and use: a group is killed beyond `max`, and slowed down to a crawl beyond `high`."""


class MemoryLimit(Struct, frozen=True):
    """The memory limit of one group."""

    limit_bytes: int
    used_bytes: int  # now, without page cache that the kernel can take back


def memory_limits(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> list[MemoryLimit]:
    """The memory limits of every group on the way from ours to the root."""
    limits = []
    for group in _groups(cgroup, membership, "memory"):
        stat = _fields(group / "memory.stat")
        page_cache = stat.get("total_inactive_file", stat.get("inactive_file", 0))
        pairs = [
            (read_integer(group / limit_name), group / used_name)
            for limit_name, used_name in _MEMORY_FILES
        ]
        # cgroup v1 tells the limits of groups that a container cannot see, too
        pairs.append((stat.get("hierarchical_memory_limit"), group / "memory.usage_in_bytes"))
        for limit, used in pairs:
            if limit is not None and limit < UNLIMITED:
                limits.append(MemoryLimit(limit, max(0, (read_integer(used) or 0) - page_cache)))
    return limits


def processor_quota(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> float | None:
    """Processors' worth of time that the tightest group on the way to the root may use, such as
    1.5; None without a quota.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst
    (cpu.cfs_quota_us).
    """
    quotas = []
    for group in _groups(cgroup, membership, "cpu"):
        quota, _, period = (read_text(group / "cpu.max") or "max").partition(" ")
        if quota.isdigit() and period.strip().isdigit() and int(period):
            quotas.append(int(quota) / int(period))
        v1_quota = read_integer(group / "cpu.cfs_quota_us")  # None: -1, no quota
        v1_period = read_integer(group / "cpu.cfs_period_us")
        if v1_quota and v1_period:
            quotas.append(v1_quota / v1_period)
    return min(quotas, default=None)


def _groups(cgroup: Path, membership: Path, controller: str) -> list[Path]:
    """The folders that may hold the files of our process's group and of the groups above it, in
    both versions of cgroup.
    """
    mounts = [
        mount for mount in cgroup.glob(f"*{controller}*") if controller in mount.name.split(",")
    ]
    groups = [cgroup, cgroup / "unified", *mounts]
    for line in (read_text(membership) or "").splitlines():
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controller in controllers.split(","):
            roots = mounts
        elif number == "0":
            roots = [cgroup, cgroup / "unified"]
        else:
            continue
        for root in roots:
            group = root / path.lstrip("/")
            groups += [group, *(parent for parent in group.parents if root in parent.parents)]
    return list(dict.fromkeys(groups))


def _fields(path: Path) -> dict[str, int]:
    """A file of lines such as `inactive_file 4096`."""
    pairs = (line.split() for line in (read_text(path) or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
