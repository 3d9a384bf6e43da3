"""A cluster as a value: its nodes, the links between them, and the machine that an engine sees.
Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from msgspec import Meta, Struct
from msgspec.structs import replace

from hakaru.hardware.machine import Device, Hardware

LOOPBACK: Final = "127.0.0.1"
RPC_PORT: Final = 50052
"""At which a worker listens where nothing else is said. Source: llama.cpp, tools/rpc."""


class Node(Struct, frozen=True, kw_only=True):
    """One machine of a cluster."""

    name: str
    address: str  # at which the other nodes reach it: a host name or an IP address
    hardware: Hardware
    port: int = RPC_PORT  # at which its worker listens
    ssh: str | None = None  # what ssh calls it, such as `me@attic`; None: its address
    hakaru: str = "hakaru"  # the command there
    n_threads: int | None = None  # with which llama.cpp computes there; None: not known


class Link(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast two nodes reach each other, also as a cluster's file says it."""

    gbit_per_s: Annotated[float, Meta(gt=0, le=100_000)]
    ping_ms: Annotated[float, Meta(ge=0, le=10_000)]  # there and back
    source: str | None = None  # how it was measured; None: a person says so


class Cluster(Struct, frozen=True, kw_only=True):
    """Nodes, of which the first is the head: the server runs there."""

    nodes: tuple[Node, ...]
    network: Link | None = None  # between two nodes that have no link of their own; None: unknown
    links: Mapping[frozenset[str], Link]  # by the names of the two nodes

    @property
    def head(self) -> Node:
        """The node that the server runs on."""
        return self.nodes[0]

    @property
    def workers(self) -> tuple[Node, ...]:
        """The nodes that offer their devices to the head."""
        return self.nodes[1:]

    def first(self, n_devices: int) -> "Cluster":
        """The head with its first workers: those with which it has at most `n_devices`."""
        n, left = 1, n_devices - len(self.head.hardware.accelerators)
        for node in self.workers:
            left -= len(_offered_by(node.hardware))
            if left < 0:
                break
            n += 1
        return replace(self, nodes=self.nodes[:n])

    def between(self, one: Node, other: Node) -> Link | None:
        """The link between two nodes; None where nobody told."""
        return self.links.get(frozenset({one.name, other.name}), self.network)

    def rpc_flags(self, reached: Sequence[str] = ()) -> list[str]:
        """The arguments with which llama-server, on the head, reaches its workers: at their own
        addresses, or where tunnels to them begin (`reached`).
        """
        if not self.workers:
            return []
        reached = reached or [f"{node.address}:{node.port}" for node in self.workers]
        return ["--rpc", ",".join(reached)]

    def rpc_devices(self) -> list[Node]:
        """The node of each device that workers offer, in llama.cpp's order."""
        return [node for node in self.workers for _ in _offered_by(node.hardware)]

    def seen_by_llama_cpp(self) -> Hardware:
        """The machine that llama.cpp sees from the head: the devices of the workers, in the order
        of the nodes, then its own, with the head's RAM.

        Source: llama.cpp, llama_prepare_model_devices (RPC devices are put before all others).
        """
        offered = [
            _named(node, device) for node in self.workers for device in _offered_by(node.hardware)
        ]
        own = self.head.hardware
        return Hardware(
            accelerators=(*offered, *(_named(self.head, device) for device in own.accelerators)),
            ram=own.ram and _named(self.head, own.ram),
            notes=tuple(f"{n.name}: {note}" for n in self.nodes for note in n.hardware.notes),
            text=" + ".join(node.name for node in self.nodes),
        )


def _offered_by(hardware: Hardware) -> tuple[Device, ...]:
    """The devices that llama.cpp's RPC worker offers: accelerators, or else its RAM.

    Source: llama.cpp, tools/rpc/rpc-server.cpp (get_devices).
    """
    if hardware.accelerators or hardware.ram is None:
        return hardware.accelerators
    return (replace(hardware.ram, is_host=True),)


def _named(node: Node, device: Device) -> Device:
    """The device with its node's name before its own."""
    return replace(device, name=f"{node.name}: {device.name}")
