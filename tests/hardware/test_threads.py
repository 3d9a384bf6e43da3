"""How many threads: imitated processors and containers."""

import json
import os
from pathlib import Path

import pytest

from hakaru.engine import server
from hakaru.hardware.cgroup import memory_limits, processor_quota
from hakaru.hardware.processor import memory
from hakaru.hardware.threads import n_threads, threads
from hakaru.memory.settings import ContextSettings


def write(root: Path, files: dict[str, object]) -> Path:
    """A tree of small files."""
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root


def processors(root: Path, siblings: list[str], **files: object) -> Path:
    """`/sys/devices` of a machine whose processor i shares its core with `siblings[i]`."""
    topology = {
        f"system/cpu/cpu{i}/topology/thread_siblings_list": text for i, text in enumerate(siblings)
    }
    return write(
        root / "devices",
        topology | {name.replace("__", "/"): value for name, value in files.items()},
    )


def count(
    root: Path,
    devices: Path,
    allowed: set[int],
    cgroup: dict[str, object] | None = None,
    membership: str = "0::/",
) -> int:
    """The threads on that machine, in a container with those files."""
    groups = write(root / "cgroup", cgroup or {})
    groups.mkdir(exist_ok=True)
    write(root, {"membership": membership})
    return threads(devices, groups, root / "membership", allowed).count


@pytest.fixture
def smt(tmp_path: Path) -> Path:
    """Four cores with two threads each, numbered as Linux numbers them on x86."""
    return processors(tmp_path, ["0,4", "1,5", "2,6", "3,7"] * 2)


@pytest.mark.parametrize(
    ("allowed", "n"), [(set(range(8)), 4), ({0, 4}, 1), ({0, 1, 4}, 2), ({3}, 1), ({0, 1, 2, 3}, 4)]
)
def test_a_core_gets_one_thread(tmp_path: Path, smt: Path, allowed: set[int], n: int) -> None:
    """Hyper-threads share one, and only processors of the affinity mask count."""
    assert count(tmp_path, smt, allowed) == n


def test_efficiency_cores_are_left_out(tmp_path: Path) -> None:
    """Intel names its performance cores: here 2 with two threads each, and 4 efficiency cores."""
    devices = processors(
        tmp_path,
        ["0-1", "0-1", "2-3", "2-3", "4", "5", "6", "7"],
        cpu_core__cpus="0-3",
        cpu_atom__cpus="4-7",
    )
    assert count(tmp_path, devices, set(range(8))) == 2
    assert count(tmp_path, devices, {4, 5, 6}) == 3  # nothing else is allowed


@pytest.mark.parametrize(
    ("capacities", "n"),
    [
        ([1024] * 4 + [397] * 4, 4),  # RK3588
        ([1024] * 10 + [718] * 10, 20),  # GB10: its middle cores take part
        ([485] * 4 + [1024] * 2, 2),  # RK3399
        ([1024, 905, 905, 905, 320, 320], 4),  # one prime core, three large ones
        ([1024] * 4, 4),
    ],
)
def test_little_cores_are_told_by_their_capacity(
    tmp_path: Path, capacities: list[int], n: int
) -> None:
    """On ARM, as the kernel tells it."""
    files = {f"system__cpu__cpu{i}__cpu_capacity": value for i, value in enumerate(capacities)}
    devices = processors(tmp_path, [str(i) for i in range(len(capacities))], **files)
    assert count(tmp_path, devices, set(range(len(capacities)))) == n


@pytest.mark.parametrize(
    ("files", "membership", "n"),
    [
        ({"cpu.max": "200000 100000"}, "0::/", 2),
        ({"cpu.max": "150000 100000"}, "0::/", 1),  # never more than there is time for
        ({"cpu.max": "50000 100000"}, "0::/", 1),
        ({"cpu.max": "max 100000"}, "0::/", 4),
        ({"a/b/cpu.max": "max 100000", "a/cpu.max": "300000 100000"}, "0::/a/b", 3),  # the parent's
        (
            {"cpu,cpuacct/cpu.cfs_quota_us": "200000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            "4:cpu,cpuacct:/docker/x",
            2,
        ),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "4:cpu:/", 4),
        (
            {"cpu/pod/cpu.cfs_quota_us": "300000", "cpu/pod/cpu.cfs_period_us": "100000"},
            "2:cpuset:/\n4:cpu:/pod/c",
            3,
        ),
        ({"unified/u/cpu.max": "100000 100000"}, "1:name=systemd:/\n0::/u", 1),
        ({"cpu.max": ""}, "", 4),
    ],
)
def test_a_container_s_quota_holds(
    tmp_path: Path, smt: Path, files: dict[str, object], membership: str, n: int
) -> None:
    """cgroup v1 and v2, our own group and those above it."""
    assert count(tmp_path, smt, set(range(8)), files, membership) == n


def test_without_any_file_every_processor_counts(tmp_path: Path) -> None:
    """As on systems without /sys."""
    assert count(tmp_path, tmp_path / "none", {0, 1, 2}) == 3
    assert processor_quota(tmp_path / "none", tmp_path / "none") is None


def test_lab_and_server_start_the_same_number(tmp_path: Path) -> None:
    """The affinity mask of today decides for both."""
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        request = json.loads(
            server.server_command(
                tmp_path / "m.gguf", ContextSettings(n_ctx=256), socket=tmp_path / "s"
            )[-1]
        )
        assert request["n_threads"] == n_threads() == 1
    finally:
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize(
    ("files", "membership", "limit"),
    [
        ({"memory.max": "3000000000", "memory.high": "2000000000", "memory.current": "0"}, "0::/",
            2_000_000_000),
        ({"memory.max": "max", "memory.high": "max"}, "0::/", None),
        ({"memory/memory.limit_in_bytes": str(2**63 - 4096),
            "memory/memory.stat": "hierarchical_memory_limit 1000000000"},
         "5:memory:/", 1_000_000_000),
        ({"memory/docker/memory.limit_in_bytes": "500000000",
            "memory/memory.limit_in_bytes": str(2**63 - 4096)},
         "5:memory:/docker/x", 500_000_000),
        ({"a/memory.max": "700000000", "a/b/memory.max": "max"}, "0::/a/b", 700_000_000),
    ],
)  # fmt: skip
def test_the_tightest_memory_limit_holds(
    tmp_path: Path, files: dict[str, object], membership: str, limit: int | None
) -> None:
    """Also `memory.high`, beyond which a group crawls, and what v1 says of groups that nobody can
    see.
    """
    groups = write(tmp_path / "cgroup", files)
    write(tmp_path, {"membership": membership})
    assert (
        min(
            (found.limit_bytes for found in memory_limits(groups, tmp_path / "membership")),
            default=None,
        )
        == limit
    )
    assert memory(groups, tmp_path / "membership").limit_bytes == limit
