"""The processes of llama.cpp's RPC on a cluster."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from clusters_made import write_cluster
from hakaru.clusters.cluster import Cluster
from hakaru.clusters.cluster_file import read_cluster
from hakaru.deploying.node_process import Process
from hakaru.deploying.rpc_processes import rpc_processes


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return read_cluster(write_cluster(tmp_path / "cluster.toml"))


def made(cluster: Cluster, *, trusts_network: bool = False, programs: str = "") -> list[Process]:
    """The processes for a model that is split 1 to 3."""
    return list(
        rpc_processes(
            cluster,
            ["-ts", "1,3"],
            model="/models/m.gguf",
            alias="m",
            port=8601,
            trusts_network=trusts_network,
            programs=programs,
        )
    )


def option(process: Process, name: str) -> str:
    """The word behind an option."""
    return process.command[process.command.index(name) + 1]


def test_workers_come_first_and_the_server_last(cluster: Cluster) -> None:
    """Each finds what it needs when it starts."""
    assert [(p.node.name, p.name) for p in made(cluster)] == [
        ("attic", "worker"),
        ("cellar", "worker"),
        ("desk", "tunnel-attic"),
        ("desk", "tunnel-cellar"),
        ("desk", "server"),
    ]


def test_nobody_but_ssh_reaches_a_worker(cluster: Cluster) -> None:
    """Workers and the server listen on loopback, and the server asks where the tunnels begin."""
    *workers, one, other, server = made(cluster)
    for worker in workers:
        assert option(worker, "-H") == "127.0.0.1"
    assert option(server, "--host") == "127.0.0.1"
    assert option(server, "--rpc") == "127.0.0.1:50053,127.0.0.1:50054"
    assert option(one, "-L") == "127.0.0.1:50053:127.0.0.1:50052"
    assert option(other, "-L") == "127.0.0.1:50054:127.0.0.1:50052"
    assert one.command[-2:] == ("--", "192.168.1.21")


def test_a_network_that_is_trusted_needs_no_tunnel(cluster: Cluster) -> None:
    """Workers listen at the address of the file, and at no other."""
    *workers, server = made(cluster, trusts_network=True)
    assert [option(worker, "-H") for worker in workers] == ["192.168.1.21", "cellar.lan"]
    assert option(server, "--rpc") == "192.168.1.21:50052,cellar.lan:50052"


def test_a_worker_offers_the_devices_of_the_plan(cluster: Cluster) -> None:
    """One that was planned with its RAM offers its processor, though it may have a GPU; one with
    accelerators offers all of them. Threads are said where they are known.
    """
    attic, cellar, *_ = made(cluster)
    assert option(attic, "-d") == "CPU" and "-d" not in cellar.command
    assert "-t" not in attic.command
    head, node, *_ = cluster.nodes
    known = replace(cluster, nodes=(head, replace(node, n_threads=6)))
    assert option(made(known)[0], "-t") == "6"


def test_programs_are_named_by_their_folder(cluster: Cluster) -> None:
    """Where the engine does not stand in PATH; ssh always does."""
    worker, *_, tunnel, server = made(cluster, programs="/opt/llama/")
    assert worker.command[0] == "/opt/llama/ggml-rpc-server"
    assert server.command[0] == "/opt/llama/llama-server"
    assert tunnel.command[0] == "ssh"
