"""The processes of llama.cpp on a cluster: a worker on every node but the head, and the server on
the head, which joins them by RPC; or a server on each node that holds the model alone. Pure.

RPC's traffic is not encrypted, and a worker trusts whoever reaches it. So a worker listens on
loopback, and an ssh tunnel of the head's ends there. Only where the network is trusted do workers
listen at their addresses.
Sources: llama.cpp, tools/rpc/README.md and rpc-server.cpp; ssh(1), ssh_config(5).
"""

from collections.abc import Mapping, Sequence
from typing import Final

from hakaru.clusters.cluster import LOOPBACK, RPC_PORT, Cluster, Node
from hakaru.deploying.node_process import Process, tunnel

FIRST_TUNNEL_PORT: Final = RPC_PORT + 1
"""On the head, where the tunnel to the first worker begins; the next worker's is one higher."""


def rpc_processes(
    cluster: Cluster,
    flags: Sequence[str],
    *,
    model: str,
    alias: str,
    port: int,
    trusts_network: bool = False,
    programs: str = "",
) -> tuple[Process, ...]:
    """The processes in the order in which they are started: workers, tunnels, the server.

    `flags` are llama-server's for the plan, without `--rpc`. `model` is the path of the file on the
    head, `alias` what clients call the model, `port` where the server listens on the head's
    loopback. `programs` is the folder of the engine's programs on every node; empty: by PATH.
    """
    reached = tuple(
        f"{node.address}:{node.port}" if trusts_network else f"{LOOPBACK}:{FIRST_TUNNEL_PORT + i}"
        for i, node in enumerate(cluster.workers)
    )
    server = Process(
        node=cluster.head,
        role="server",
        name="server",
        command=_server(model, alias, port, [*cluster.rpc_flags(reached), *flags], programs),
    )
    workers = (
        _worker(node, node.address if trusts_network else LOOPBACK, programs)
        for node in cluster.workers
    )
    if trusts_network:
        return *workers, server
    tunnels = (
        tunnel(cluster.head, node, name=f"tunnel-{node.name}", begins=begins, port=node.port)
        for node, begins in zip(cluster.workers, reached, strict=True)
    )
    return *workers, *tunnels, server


def alone_processes(
    cluster: Cluster,
    flags: Mapping[str, Sequence[str]],
    *,
    model: str,
    alias: str,
    port: int,
    programs: str = "",
) -> tuple[Process, ...]:
    """A server on each node that is named in `flags`, with its arguments there, and tunnels of the
    head's to those elsewhere. All listen at `port` of their own loopback; on the head's they answer
    at that port, where the head itself has one, and those behind it.
    """
    nodes = [node for node in cluster.nodes if node.name in flags]
    servers = (
        Process(
            node=node,
            role="server",
            name="server",
            command=_server(model, alias, port, flags[node.name], programs),
            replica=i,
        )
        for i, node in enumerate(nodes)
    )
    tunnels = (
        tunnel(
            cluster.head,
            node,
            name=f"tunnel-{node.name}",
            begins=f"{LOOPBACK}:{port + i}",
            port=port,
            replica=i,
        )
        for i, node in enumerate(nodes)
        if node != cluster.head
    )
    return *servers, *tunnels


def backends_of(processes: Sequence[Process], port: int) -> tuple[str, ...]:
    """The addresses on the head at which the servers of `alone_processes` answer."""
    return tuple(
        f"http://{LOOPBACK}:{port + process.replica}"
        for process in processes
        if process.role == "server"
    )


def _server(
    model: str, alias: str, port: int, flags: Sequence[str], programs: str
) -> tuple[str, ...]:
    return (
        _program("llama-server", programs),
        *("--model", model, "--alias", alias, "--host", LOOPBACK, "--port", str(port)),
        *flags,
    )


def _worker(node: Node, host: str, programs: str) -> Process:
    """Its devices are those of the plan: left alone, a worker offers every accelerator, and its
    processor only where it has none.
    """
    threads = ("-t", str(node.n_threads)) if node.n_threads else ()
    device = () if node.hardware.accelerators else ("-d", "CPU")
    return Process(
        node=node,
        role="worker",
        name="worker",
        command=(
            _program("ggml-rpc-server", programs),
            *("-H", host, "-p", str(node.port), *threads, *device),
        ),
    )


def _program(name: str, folder: str) -> str:
    return f"{folder.rstrip('/')}/{name}" if folder else name
