"""Whether a model is to be divided among the nodes of a cluster at all, and how llama.cpp is told.
Pure.

A node that holds the model alone needs no network for a token. Where several do, one server on each
answers as many users at the full speed of a node. Only a model that no node holds is divided.
"""

from collections.abc import Callable
from typing import Literal

from msgspec import Struct

from hakaru.clusters.cluster import Cluster
from hakaru.hardware.machine import Hardware
from hakaru.language import listed, say
from hakaru.planning.network_time import NetworkTime
from hakaru.planning.shares import Placement

Topology = Literal["single", "replicas", "layer_split"]


class Joined(Struct, frozen=True, kw_only=True):
    """A model on a cluster."""

    rpc_flags: tuple[str, ...]  # with which llama-server, on the head, reaches its workers
    alone: tuple[str, ...]  # the nodes that hold the model by themselves
    network: NetworkTime | None = None  # None: a link is not known

    @property
    def topology(self) -> Topology:
        """What is to be run."""
        if not self.alone:
            return "layer_split"
        return "single" if len(self.alone) == 1 else "replicas"

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        names = listed(self.alone)
        match self.topology:
            case "single":
                return say(
                    "{names} holds it alone: run it there, since no split over a network is as "
                    "fast.",
                    names=names,
                )
            case "replicas":
                return say(
                    "{names} each hold it alone: run a server on each rather than one over all, "
                    "since no split over a network is as fast.",
                    names=names,
                )
        return say("No node holds it alone, so its layers are divided among the nodes.")

    def as_json(self) -> dict[str, object]:
        """The object `cluster` of `hakaru fit --json`."""
        return {
            "topology": self.topology,
            "reason": self.reason,
            "alone": list(self.alone),
            "network": self.network.as_json() if self.network else None,
        }


def joined(cluster: Cluster, place: Callable[[Hardware], Placement]) -> Joined:
    """How the nodes work together on a model that `place` puts on a machine.

    A node with accelerators holds it where all of it lies on them: beside its RAM it would be as
    slow as that. RAM alone counts where the whole cluster has nothing else.
    """
    kinds = {node.hardware for node in cluster.nodes}
    holding = {kind for kind in kinds if _holds(cluster, place, kind)}
    return Joined(
        rpc_flags=tuple(cluster.rpc_flags()),
        alone=tuple(node.name for node in cluster.nodes if node.hardware in holding),
    )


def _holds(cluster: Cluster, place: Callable[[Hardware], Placement], hardware: Hardware) -> bool:
    has_cards = any(node.hardware.accelerators for node in cluster.nodes)
    if has_cards and not hardware.accelerators:
        return False
    placement = place(hardware)
    is_whole = not has_cards or placement.layout.n_gpu_layers == placement.n_items
    return placement.verdict == "fits" and is_whole
