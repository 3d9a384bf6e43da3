"""The processes of vLLM on a cluster: one for each node of each replica, and tunnels to the servers
of replicas that run elsewhere. Pure.

A replica's server listens on its node's loopback, since it has no key; the gateway on the head
reaches it there, or through an ssh tunnel. Nodes of one replica speak to each other without
encryption, and trust who reaches them (vLLM's own word, docs/usage/security.md).
"""

from typing import Final

from hakaru.clusters.cluster import LOOPBACK, Node
from hakaru.deploying.node_process import Process, tunnel
from hakaru.vllm.launch import PORT, Launch, launches
from hakaru.vllm.proposal import Proposal

SILENT: Final = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
"""vLLM tells its makers about every start, and asks Hugging Face for newer files."""
OFFSET: Final = 100
"""Between a server's port on its node and where the tunnel to it begins on the head."""


def vllm_processes(proposal: Proposal, head: Node, *, model: str, name: str) -> tuple[Process, ...]:
    """The ranks, then the tunnels. `model` is a repository or a path that every node has, `name`
    what clients call the model.
    """
    starts = tuple(launches(proposal))
    ranks = (_rank(launch, model, name) for launch in starts)
    tunnels = (
        _tunnel(head, launch, launch.port)
        for launch in starts
        if launch.port and launch.node != head
    )
    return *ranks, *tunnels


def backends(proposal: Proposal, head: Node) -> tuple[str, ...]:
    """The addresses on the head at which the replicas answer."""
    return tuple(
        f"http://{LOOPBACK}:{launch.port if launch.node == head else _begins_at(launch)}"
        for launch in launches(proposal)
        if launch.port
    )


def _rank(launch: Launch, model: str, name: str) -> Process:
    return Process(
        node=launch.node,
        role="server" if launch.port else "worker",
        name=f"vllm-{launch.replica}",
        command=("vllm", "serve", model, "--served-model-name", name, *launch.arguments),
        environment=dict(launch.environment) | SILENT,
        replica=launch.replica,
    )


def _tunnel(head: Node, launch: Launch, port: int) -> Process:
    name = f"tunnel-{launch.node.name}-{launch.replica}"
    begins = f"{LOOPBACK}:{_begins_at(launch)}"
    return tunnel(head, launch.node, name=name, begins=begins, port=port, replica=launch.replica)


def _begins_at(launch: Launch) -> int:
    return PORT + OFFSET + launch.replica
