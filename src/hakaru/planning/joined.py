"""Whether a model is to be divided among the nodes of a cluster at all, and how llama.cpp is told.
Pure.

A node that holds the model alone needs no network for a token. Where several do, one server on each
answers as many users at the full speed of a node. Only a model that no node holds is divided.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from hakaru.clusters.cluster import Cluster
from hakaru.hardware.machine import Hardware
from hakaru.language import listed, say
from hakaru.planning.network_time import NetworkTime

if TYPE_CHECKING:
    from hakaru.planning.answer import Fit

MOST_NAMED: Final = 8
"""Nodes whose names stand in a sentence."""
Topology = Literal["single", "replicas", "layer_split"]


class Joined(Struct, frozen=True, kw_only=True):
    """A model on a cluster."""

    rpc_flags: tuple[str, ...]  # with which llama-server, on the head, reaches its workers
    alone: Mapping[str, tuple[str, ...]]  # nodes that hold it by themselves, and the flags there
    n_split: int  # nodes that it is divided among, if it is: the first ones
    n_nodes: int
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
        if (n := len(self.alone)) > MOST_NAMED:
            names = say("{name} and {n} more nodes", name=next(iter(self.alone)), n=n - 1)
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
        if self.n_split < self.n_nodes:
            return say(
                "No node holds it alone, so its layers are divided among the first {n} of {all} "
                "nodes: llama.cpp takes the devices of no more.",
                n=self.n_split,
                all=self.n_nodes,
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


def joined(cluster: Cluster, split: Cluster, place: Callable[[Hardware], "Fit"]) -> Joined:
    """How the nodes work together on a model that `place` puts on a machine. `split` are those that
    llama.cpp can divide it among.

    A node with accelerators holds it where all of it lies on them: beside its RAM it would be as
    slow as that. RAM alone counts where the whole cluster has nothing else.
    """
    has_cards = any(node.hardware.accelerators for node in cluster.nodes)
    kinds = dict.fromkeys(node.hardware for node in cluster.nodes)
    plans = {kind: place(kind) for kind in kinds if kind.accelerators or not has_cards}
    flags = {kind: tuple(plan.flags) for kind, plan in plans.items() if _holds(plan, has_cards)}
    return Joined(
        rpc_flags=tuple(split.rpc_flags()),
        alone={n.name: flags[n.hardware] for n in cluster.nodes if n.hardware in flags},
        n_split=len(split.nodes),
        n_nodes=len(cluster.nodes),
    )


def _holds(plan: "Fit", has_cards: bool) -> bool:
    placement = plan.placement
    is_whole = not has_cards or placement.layout.n_gpu_layers == placement.n_items
    return placement.verdict == "fits" and is_whole
