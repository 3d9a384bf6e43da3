"""A model over several machines: the plan, and where llama.cpp's RPC really puts it."""

import re
import subprocess
import time
from pathlib import Path

import pytest

from clusters_made import write_nodes
from hakaru.errors import Misuse
from hakaru.planning.answer import Fit
from hakaru.planning.fit import fit
from hakaru.planning.shares import Layout
from over_rpc import workers_of

MIB = 2**20
_BUFFER = re.compile(r"RPC\d+\[(\S+)\] (model|KV|compute) buffer size = +([\d.]+) MiB")


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    return write_nodes(
        tmp_path / "cluster.toml",
        ("desk", "127.0.0.1", "16GiB RAM"),
        ("attic", "127.0.0.2", "8GiB RAM"),
        ("cellar", "127.0.0.3", "4GiB RAM"),
    )


def test_the_split_is_said(tiny: Path, cluster: Path) -> None:
    """In llama.cpp's own flags: the workers in the file's order, and a share for each."""
    plan = fit(tiny, cluster=cluster, source="computed", n_ctx=256)
    assert plan.verdict == "fits"
    assert [share.device.name for share in plan.placement.shares] == ["attic: RAM", "cellar: RAM"]
    assert plan.flags[:2] == ["--rpc", "127.0.0.2:50052,127.0.0.3:50052"]
    split = plan.flags[plan.flags.index("-ts") + 1]
    assert [int(n) for n in split.split(",")] == list(plan.placement.layout.counts)
    assert plan.speed is None


def test_a_cluster_says_what_there_is(tiny: Path, cluster: Path) -> None:
    """So nothing else may."""
    with pytest.raises(Misuse, match="leave `hardware` and `memory` out"):
        fit(tiny, cluster=cluster, hardware="L4")
    with pytest.raises(Misuse, match="leave `hardware` and `memory` out"):
        fit(tiny, cluster=cluster, memory="1GiB")


def test_llama_cpp_divides_among_so_many(tiny: Path, tmp_path: Path) -> None:
    """The first nodes that offer 15 devices; it would refuse the names of more."""
    nodes = nodes_of(tmp_path, *["8GiB RAM"] * 20)
    plan = fit("qwen3-14b", preset="Q8_0", cluster=nodes, source="computed", n_ctx=256)
    assert plan.verdict == "fits" and len(plan.placement.shares) == 15
    assert plan.joined and plan.joined.topology == "layer_split"
    assert "among the first 16 of 20 nodes" in plan.joined.reason
    assert plan.flags[plan.flags.index("-ts") + 1].count(",") == 14
    with pytest.raises(Misuse, match="at most 15 devices, and here are 16"):
        Layout(counts=(1,) * 16, default_split=False).flags()


@pytest.mark.parametrize("n", [1, 10, 100, 1000])
def test_a_cluster_of_any_size_is_planned_at_once(n: int, tmp_path: Path) -> None:
    """Which of the nodes hold it alone is asked once for each kind of node."""
    table = f'name = "n[1-{n}]"\naddress = "h[1-{n}]"\ncount = {n}\nhardware = "RTX 4090"\n'
    nodes = tmp_path / "nodes.toml"
    nodes.write_text(f"[[node]]\n{table}[network]\ngbit_per_s = 10\nping_ms = 0.2\n")
    began = time.process_time()
    plan = fit("qwen3-8b", preset="Q8_0", cluster=nodes, source="computed", n_ctx=8192)
    assert time.process_time() - began < 2
    assert plan.joined and plan.joined.topology == ("single" if n == 1 else "replicas")
    assert len(plan.joined.alone) == n and len(plan.joined.reason) < 250


def nodes_of(folder: Path, *machines: str) -> Path:
    """A file of nodes `n0`, `n1`, … that are such machines."""
    nodes = [(f"n{i}", f"10.0.0.{i}", machine) for i, machine in enumerate(machines)]
    return write_nodes(folder / "nodes.toml", *nodes)


@pytest.mark.parametrize(
    ("machines", "alone", "topology"),
    [
        (("RTX 3090 + 64GiB RAM", "8GiB RAM"), ["n0"], "single"),
        (("8GiB", "RTX 3090", "L4"), ["n1", "n2"], "replicas"),
        (("8GiB", "6GiB"), [], "layer_split"),
        (("8GiB + 64GiB RAM", "64GiB RAM"), [], "layer_split"),  # beside its RAM it is no card
        (("64GiB RAM", "8GiB RAM"), ["n0"], "single"),
    ],
)
def test_only_what_no_node_holds_is_divided(
    tmp_path: Path, machines: tuple[str, ...], alone: list[str], topology: str
) -> None:
    """Qwen3 8B as Q8_0, of 8.1 GiB, at 8,192 tokens."""
    nodes = nodes_of(tmp_path, *machines)
    plan = fit("qwen3-8b", preset="Q8_0", cluster=nodes, source="computed", n_ctx=8192)
    told = plan.as_json()["cluster"]
    assert isinstance(told, dict)
    assert (told["alone"], told["topology"]) == (alone, topology)


@pytest.mark.engine
def test_every_worker_holds_what_the_plan_says(
    native_engine: Path, embedded: Path, cluster: Path, tmp_path: Path
) -> None:
    """Weights, KV cache and compute buffer of two real workers, to the digits of the log."""
    plan = fit(embedded, cluster=cluster, source="computed", n_ctx=2048)
    with workers_of(native_engine) as workers:
        told = placed(plan, embedded, native_engine, workers, tmp_path / "log")
    expected = {
        worker: {
            "model": share.weights_bytes / MIB,
            "KV": share.kv_cache_bytes / MIB,
            "compute": share.compute_bytes / MIB,
        }
        for worker, share in zip(workers, plan.placement.shares, strict=True)
    }
    assert told.keys() == expected.keys()
    for worker, parts in expected.items():
        assert told[worker] == pytest.approx(parts, abs=0.006)


def placed(
    plan: Fit, model: Path, native_engine: Path, workers: list[str], log: Path
) -> dict[str, dict[str, float]]:
    """MiB of each worker by part, as llama-server's log tells them after a start with the flags of
    `plan`.
    """
    flags = [*plan.flags, "-m", str(model), "--port", "0", "-lv", "4"]
    flags[flags.index("--rpc") + 1] = ",".join(workers)
    command = [str(native_engine / "llama-server"), *flags]
    with log.open("w") as kept:
        process = subprocess.Popen(command, stdout=kept, stderr=kept)
        try:
            until = time.monotonic() + 60
            while "sched copies" not in log.read_text(errors="replace"):
                assert process.poll() is None, log.read_text(errors="replace")[-2000:]
                assert time.monotonic() < until
                time.sleep(0.05)
        finally:
            process.kill()
            process.wait()
    found: dict[str, dict[str, float]] = {}
    for worker, part, mib in _BUFFER.findall(log.read_text(errors="replace")):
        found.setdefault(worker, {})[part] = float(mib)
    return found
