"""Replicas of vLLM as orchestrators count them: groups of pods of one shape. Pure."""

from msgspec import Struct

from hakaru.vllm.launch import engine_arguments
from hakaru.vllm.proposal import Placed, Proposal


class Group(Struct, frozen=True, kw_only=True):
    """Replicas of one shape."""

    n_replicas: int
    n_nodes: int  # of a replica
    n_devices: int  # of each of its nodes
    vendor: str  # of the devices, such as "nvidia"
    hosts: tuple[str, ...]  # the nodes that may take them
    arguments: tuple[str, ...]  # behind `vllm serve MODEL`, the same on all nodes


def replica_groups(proposal: Proposal) -> tuple[Group, ...]:
    """The groups of a proposal, those with most users first."""
    return tuple(_group(placed) for placed in proposal.placed)


def _group(placed: Placed) -> Group:
    option = placed.option
    return Group(
        n_replicas=placed.n_replicas,
        n_nodes=option.n_nodes,
        n_devices=option.n_devices if option.replica.on_cards else 0,
        vendor=option.replica.ranks[0].device.vendor,
        hosts=tuple(dict.fromkeys(node.name for nodes in placed.node_groups() for node in nodes)),
        arguments=tuple(engine_arguments(option)),
    )
