"""Which replicas a model gets on the machines there are: the least that holds the users. Pure.

Of every kind of machine the smallest group of devices that holds the model is tried first: one
device, then more of one machine, then several machines. Whole replicas need no network for a token,
so a model is only divided where no device holds it with one user, or where divided it holds the
users that whole replicas do not.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from hakaru.clusters.cluster import Cluster, Link, Node
from hakaru.hardware.machine import Device, Hardware
from hakaru.models.model import Model
from hakaru.vllm.parallel import Parallel, why_not
from hakaru.vllm.rank_weights import layer_bytes, with_ends
from hakaru.vllm.replica import MOST_SEQUENCES, Load, Replica, replica_of
from hakaru.vllm.served_type import ServedType
from hakaru.vllm.step_time import StepTime, step_time

WORTH_DIVIDING: Final = 0.75
"""A larger replica is taken where it needs less than this part of the devices: assumed. Measured by
others on two machines with 16 users: tensor parallel 2.09 times as fast as one, replicas 1.30 to
1.91 times.
"""
NODES_OF_A_REPLICA: Final = (2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32)
"""How many machines one replica may take: what is weighed, beside one."""
Topology = Literal["single", "replicas", "layer_split", "tensor_parallel"]


class Option(Struct, frozen=True, kw_only=True):
    """One shape of a replica on one kind of machine, and how often it goes in there."""

    replica: Replica
    nodes: tuple[Node, ...]  # all of the kind
    n_nodes: int  # of a replica
    n_devices: int  # of each of its nodes
    time: StepTime

    @property
    def size(self) -> tuple[int, int]:
        """By which options are ordered: machines of a replica, then devices of each."""
        return self.n_nodes, self.n_devices

    @property
    def per_node(self) -> int:
        """Replicas on a node; 1 where a replica takes several nodes."""
        return 1 if self.n_nodes > 1 else len(devices_of(self.nodes[0].hardware)) // self.n_devices

    @property
    def n_replicas(self) -> int:
        """Replicas that go in."""
        return len(self.nodes) // self.n_nodes * self.per_node

    @property
    def users(self) -> int:
        """Users of all replicas that go in."""
        return self.n_replicas * self.replica.users


class Placed(Struct, frozen=True, kw_only=True):
    """The replicas of one shape."""

    option: Option
    n_replicas: int

    @property
    def users(self) -> int:
        """Users of these replicas."""
        return self.n_replicas * self.option.replica.users

    def node_groups(self) -> tuple[tuple[Node, ...], ...]:
        """The nodes of each replica."""
        option = self.option
        n = option.n_nodes
        return tuple(
            option.nodes[start : start + n]
            for i in range(self.n_replicas)
            for start in (i // option.per_node * n,)
        )


class Proposal(Struct, frozen=True, kw_only=True):
    """The replicas that a model gets."""

    placed: tuple[Placed, ...]
    asked: int | None  # users; None: as many as go in
    options: tuple[Option, ...]  # that were weighed, the smallest replica first
    whole: tuple[Placed, ...]  # replicas of one device each, as many as are needed

    @property
    def users(self) -> int:
        """Users at a time."""
        return sum(placed.users for placed in self.placed)

    @property
    def n_replicas(self) -> int:
        """Replicas of all kinds."""
        return sum(placed.n_replicas for placed in self.placed)

    @property
    def fits(self) -> bool:
        """Whether there is a place for all users."""
        return self.users >= (self.asked or 1)

    @property
    def topology(self) -> Topology:
        """What is to be run."""
        parallel = [placed.option.replica.parallel for placed in self.placed]
        if any(p.pp > 1 for p in parallel):
            return "layer_split"
        if any(p.tp > 1 for p in parallel):
            return "tensor_parallel"
        return "single" if self.n_replicas <= 1 else "replicas"


def devices_of(hardware: Hardware) -> tuple[Device, ...]:
    """The devices that vLLM uses of a machine: its cards, or its processor with the RAM. The size
    of one that a person named is what the driver reports of it.
    """
    ram = (hardware.ram,) if hardware.ram else ()
    devices = hardware.accelerators or ram
    if not hardware.text:
        return devices
    return tuple(_as_reported(device) for device in devices)


@cache
def _as_reported(device: Device) -> Device:
    return replace(device, total_bytes=device.usable_bytes)


def propose(
    model: Model,
    served: ServedType,
    cluster: Cluster,
    n_ctx: int,
    users: int | None,
    parallel: Parallel | None = None,
) -> Proposal:
    """The replicas of `model` on the machines of `cluster`, for `users` of `n_ctx` tokens each.
    With `parallel` no other shape is weighed.
    """
    weigher = _Weigher(model, served, cluster, n_ctx, users, parallel)
    by_kind = [tuple(weigher.options(nodes)) for nodes in _kinds(cluster).values()]
    holding = [tuple(o for o in options if o.replica.users) for options in by_kind]
    if not any(holding) and len(by_kind) > 1:
        by_kind = [tuple(weigher.over_all())]
        holding = [tuple(o for o in options if o.replica.users) for options in by_kind]
    return Proposal(
        placed=_placed([options for options in holding if options], users),
        asked=users,
        options=tuple(option for options in by_kind for option in options),
        whole=_up_to((1, 1), holding, users),
    )


def _kinds(cluster: Cluster) -> Mapping[Hardware, tuple[Node, ...]]:
    kinds: dict[Hardware, list[Node]] = {}
    for node in cluster.nodes:
        kinds.setdefault(node.hardware, []).append(node)
    return {hardware: tuple(nodes) for hardware, nodes in kinds.items()}


def _placed(holding: list[tuple[Option, ...]], users: int | None) -> tuple[Placed, ...]:
    """The smallest replicas that hold the users, and no more of them than are needed; larger ones
    of one machine where that saves enough devices. Without a number of users, those that hold most.
    """
    sizes = sorted({option.size for options in holding for option in options})
    in_one = [size for size in sizes if size[0] == 1]
    best: tuple[Placed, ...] = ()
    for size in sizes if users else in_one or sizes[:1]:
        placed = _up_to(size, holding, users)
        if not best or _is_worth_it(placed, best, users):
            best = placed
    return best


def _up_to(
    size: tuple[int, int], holding: list[tuple[Option, ...]], users: int | None
) -> tuple[Placed, ...]:
    """Replicas of at most this size: of each kind of machine those that hold most."""
    by_kind = [[o for o in options if o.size <= size] for options in holding]
    chosen = [max(options, key=lambda o: o.users) for options in by_kind if options]
    placed, left = list[Placed](), users
    for option in sorted(chosen, key=lambda option: -option.replica.users):
        n = option.n_replicas
        if left is not None:
            n = min(n, -(-left // option.replica.users))
            left -= n * option.replica.users
        if n > 0:
            placed.append(Placed(option=option, n_replicas=n))
    return tuple(placed)


def _is_worth_it(larger: tuple[Placed, ...], best: tuple[Placed, ...], users: int | None) -> bool:
    """Whether larger replicas are better: they hold users that the others do not, or hold them on
    so many fewer devices that it outweighs what the ranks wait for each other.
    """
    held, held_by_best = (sum(placed.users for placed in side) for side in (larger, best))
    if users is None:
        return held * WORTH_DIVIDING > held_by_best
    if held_by_best < users:
        return held > held_by_best
    needs_network = any(placed.option.n_nodes > 1 for placed in larger)
    return (
        not needs_network and held >= users and n_devices(larger) < WORTH_DIVIDING * n_devices(best)
    )


def n_devices(placed: tuple[Placed, ...]) -> int:
    """Devices that replicas take."""
    return sum(p.n_replicas * p.option.replica.parallel.n_ranks for p in placed)


class _Weigher:
    """Works out the options of one question."""

    def __init__(
        self,
        model: Model,
        served: ServedType,
        cluster: Cluster,
        n_ctx: int,
        users: int | None,
        only: Parallel | None,
    ) -> None:
        self._model, self._served, self._cluster, self._only = model, served, cluster, only
        self._n_ctx, self._enough = n_ctx, users or 1
        self._most = min(users or MOST_SEQUENCES, MOST_SEQUENCES)
        self._layers: dict[int, tuple[int, ...]] = {}  # bytes by tensor-parallel size

    def options(self, nodes: tuple[Node, ...]) -> Iterator[Option]:
        """The shapes of a replica on nodes of one kind, the smallest first; of those with equally
        many devices the fastest. Several machines only while nothing smaller holds the users.
        """
        n_devices, most = len(devices_of(nodes[0].hardware)), 0
        sizes = [(1, n) for n in _divisors(n_devices)]
        for n_nodes, n in sizes + [(n_nodes, n_devices) for n_nodes in NODES_OF_A_REPLICA]:
            if n_nodes > len(nodes) or (n_nodes > 1 and most >= self._enough):
                return
            for option in self._fastest(nodes, n_nodes, n):
                most = max(most, option.users)
                yield option

    def over_all(self) -> Iterator[Option]:
        """One replica over all nodes, however unequal: each gives as many devices."""
        nodes = tuple(node for node in self._cluster.nodes if devices_of(node.hardware))
        if 1 < len(nodes) <= NODES_OF_A_REPLICA[-1]:
            n = min(len(devices_of(node.hardware)) for node in nodes)
            yield from self._fastest(nodes, len(nodes), n)

    def _fastest(self, nodes: tuple[Node, ...], n_nodes: int, n_devices: int) -> Iterator[Option]:
        link = self._slowest_link(nodes) if n_nodes > 1 else None
        shapes = list[Option]()
        for tp in reversed(_divisors(n_nodes * n_devices)):
            parallel = Parallel(tp=tp, pp=n_nodes * n_devices // tp)
            crosses = tp > n_devices
            if (crosses and link is None and not self._only) or self._refused(parallel):
                continue
            replica = self._replica(parallel, nodes[:n_nodes], n_devices)
            shapes.append(
                Option(
                    replica=replica,
                    nodes=nodes,
                    n_nodes=n_nodes,
                    n_devices=n_devices,
                    time=step_time(self._model, replica, n_nodes, link),
                )
            )
        if shapes:
            yield min(shapes, key=_worth)

    def _refused(self, parallel: Parallel) -> bool:
        if self._only and parallel != self._only:
            return True
        return why_not(self._model.shape, self._served, parallel) is not None

    def _slowest_link(self, nodes: tuple[Node, ...]) -> Link | None:
        """Between the first node and any other; None if one is not known."""
        links = [self._cluster.between(nodes[0], node) for node in nodes[1:]]
        known = [link for link in links if link]
        if len(known) < len(links):
            return None
        return min(known, key=lambda link: (link.gbit_per_s, -link.ping_ms))

    def _replica(self, parallel: Parallel, nodes: tuple[Node, ...], n_devices: int) -> Replica:
        """For as many users as go in, at most as many as were asked for."""
        if parallel.tp not in self._layers:
            self._layers[parallel.tp] = layer_bytes(self._model, self._served, parallel.tp)
        weights = with_ends(self._model, parallel, self._layers[parallel.tp])
        devices = [device for node in nodes for device in devices_of(node.hardware)[:n_devices]]
        by_stage = tuple(
            min(devices[i : i + parallel.tp], key=lambda device: device.usable_bytes)
            for i in range(0, parallel.n_ranks, parallel.tp)
        )
        least, most = 1, self._most
        while least < most:  # the sampler and the graphs take more for more users
            n = (least + most + 1) // 2
            load = Load(n_ctx=self._n_ctx, n_seqs=n)
            holds = replica_of(self._model, self._served, parallel, weights, by_stage, load)
            least, most = (n, most) if holds.users >= n else (least, n - 1)
        load = Load(n_ctx=self._n_ctx, n_seqs=least)
        return replica_of(self._model, self._served, parallel, weights, by_stage, load)


def _worth(option: Option) -> tuple[bool, float, int]:
    """The least is the best: what holds a user, then by the time, then with fewer stages."""
    total = option.time.total_ms
    return (
        not option.replica.users,
        float("inf") if total is None else total / max(1, option.replica.users),
        option.replica.parallel.pp,
    )


@cache
def _divisors(n: int) -> tuple[int, ...]:
    return tuple(i for i in range(1, n + 1) if n % i == 0)
