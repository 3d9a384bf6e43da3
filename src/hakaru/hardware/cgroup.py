"""The limits that a container sets: cgroup v1 and v2, from our own group up to the root that we can
see.

A group's files are looked for where the process says that it is a member, and at the root of what
is mounted: inside a container the two may differ (without a namespace of its own,
`/proc/self/cgroup` names a path of the host). The tightest limit on the way holds.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

CGROUP: Final = Path("/sys/fs/cgroup")
MEMBERSHIP: Final = Path("/proc/self/cgroup")
UNLIMITED: Final = 2**60  # cgroup v1 writes a number near 2^63 for "no limit"
_MEMORY_FILES: Final = (
    ("memory.max", "memory.current"),
    ("memory.high", "memory.current"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Limit and use: a group is killed beyond `max`, and slowed down to a crawl beyond `high`."""


@dataclass(frozen=True, slots=True)
class MemoryLimit:
    """Bytes that a group may use, and what it uses of them now and cannot give back."""

    limit_bytes: int
    used_bytes: int


def memory_limits(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> list[MemoryLimit]:
    """The memory limits of every group on the way from ours to the root."""
    found = []
    for group in _groups(cgroup, membership, "memory"):
        stat = _fields(group / "memory.stat")
        reclaimable = stat.get(
            "total_inactive_file", stat.get("inactive_file", 0)
        )  # page cache that the kernel gives back
        for limit_name, used_name in _MEMORY_FILES:
            limit, used = _number(group / limit_name), _number(group / used_name)
            if limit is not None and limit < UNLIMITED:
                found.append(MemoryLimit(limit, max(0, (used or 0) - reclaimable)))
        above = stat.get(
            "hierarchical_memory_limit", UNLIMITED
        )  # v1: also of groups that a container cannot see
        if above < UNLIMITED:
            found.append(
                MemoryLimit(
                    above, max(0, (_number(group / "memory.usage_in_bytes") or 0) - reclaimable)
                )
            )
    return found


def processor_quota(cgroup: Path = CGROUP, membership: Path = MEMBERSHIP) -> float | None:
    """Processors' worth of time that the tightest group on the way to the root may use, such as
    1.5; None without a quota.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and scheduler/sched-bwc.rst
    (cpu.cfs_quota_us).
    """
    quotas = []
    for group in _groups(cgroup, membership, "cpu"):
        quota, _, period = (_text(group / "cpu.max") or "max").partition(" ")
        if quota.isdigit() and period.strip().isdigit() and int(period):
            quotas.append(int(quota) / int(period))
        v1_quota, v1_period = (
            _number(group / "cpu.cfs_quota_us"),
            _number(group / "cpu.cfs_period_us"),
        )
        if v1_quota and v1_period and v1_quota > 0:
            quotas.append(v1_quota / v1_period)
    return min(quotas, default=None)


def _groups(cgroup: Path, membership: Path, controller: str) -> list[Path]:
    """The folders that may hold our group's files: from our own group up to the roots of both
    versions.
    """
    mounts = [
        mount for mount in cgroup.glob(f"*{controller}*") if controller in mount.name.split(",")
    ]
    groups = [cgroup, cgroup / "unified", *mounts]
    for line in (_text(membership) or "").splitlines():
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
    pairs = (line.split() for line in (_text(path) or "").splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


def _number(path: Path) -> int | None:
    try:
        return int(_text(path) or "")
    except ValueError:
        return None  # absent, or "max"


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None
