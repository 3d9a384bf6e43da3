"""Whether a model fits on vLLM for so many users, and how: the verb behind `hakaru fit --engine
vllm`.
"""

from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.clusters.cluster import Cluster, Node
from hakaru.clusters.cluster_file import read_cluster
from hakaru.errors import Misuse
from hakaru.hardware.machine import hardware_of
from hakaru.hardware.named_machine import parse_hardware
from hakaru.memory.context import default_context
from hakaru.models.model import Model, read_language_model
from hakaru.models.sources.find import Reference, find_model
from hakaru.session import Session
from hakaru.vllm.launch import launches
from hakaru.vllm.mixers import held_as
from hakaru.vllm.parallel import Parallel, legal_tensor_parallel, n_own_layers, why_not
from hakaru.vllm.proposal import Placed, Proposal, Topology, propose
from hakaru.vllm.rank_weights import check_modelled
from hakaru.vllm.replica import Rank
from hakaru.vllm.served_type import SERVED_TYPES, ServedType, served_type
from hakaru.vllm.why_so import reason

MOST_LEGAL: Final = 16
"""Up to which size legal shapes are listed."""


class Smaller(Struct, frozen=True, kw_only=True):
    """What a smaller type would do."""

    type: str
    topology: Topology
    users: int


class VllmFit(Struct, frozen=True, kw_only=True):
    """How a model goes on machines with vLLM."""

    model: Model
    served: ServedType
    cluster: Cluster
    n_ctx: int  # tokens of each user
    proposal: Proposal
    smaller: tuple[Smaller, ...]  # types with which nothing is divided; only where something is

    @property
    def verdict(self) -> str:
        """As of `fit`: "fits" or "does_not_fit"."""
        return "fits" if self.proposal.fits else "does_not_fit"

    @property
    def reason(self) -> str:
        """Why so, in sentences."""
        return reason(self.proposal, self.n_ctx)

    @property
    def name(self) -> str:
        """The model as commands name it: vLLM reads a checkpoint, which hakaru may not know."""
        return self.model.name

    def as_json(self) -> dict[str, object]:
        """The object of `hakaru fit --engine vllm --json`."""
        proposal = self.proposal
        return {
            "schema": "hakaru.fit_vllm/1",
            "verdict": self.verdict,
            "model": {"name": self.model.name, "architecture": self.model.shape.architecture,
                "type": self.served.name, "n_params": self.model.n_params},
            "context": self.n_ctx,
            "users": proposal.users,
            "users_asked": proposal.asked,
            "cluster": {"topology": proposal.topology, "reason": self.reason,
                "n_nodes": len(self.cluster.nodes)},
            "replicas": [_placed_json(placed) for placed in proposal.placed],
            "launches": [launch.as_json() for launch in launches(proposal)],
            "smaller": [
                {"type": s.type, "topology": s.topology, "users": s.users} for s in self.smaller
            ],
        }  # fmt: skip


def fit_vllm(
    model: Reference,
    *,
    hardware: str | None = None,
    cluster: Path | None = None,
    type_name: str | None = None,
    n_ctx: int | None = None,
    users: int | None = None,
    parallel: Parallel | None = None,
    session: Session | None = None,
) -> VllmFit:
    """How `model` is served by vLLM to `users` of `n_ctx` tokens each.

    `hardware` names a machine, `cluster` a file of several; without both it is this machine.
    `type_name` is one of `served_type.SERVED_TYPES`. `parallel` asks for a shape of the replicas.
    Raises Misuse for a shape that does not divide, ModelUnknown for a model whose memory on vLLM is
    not written down, and what finding the model raises.
    """
    if hardware is not None and cluster is not None:
        raise Misuse("`cluster` says what there is; leave `hardware` and `memory` out.")
    whole = model if isinstance(model, Model) else read_language_model(find_model(model).path)
    check_modelled(whole)
    served = served_type(type_name or _stored_type(whole))
    check_modelled(whole, served)
    n_ctx = default_context(whole) if n_ctx is None else n_ctx
    _check_context(whole, n_ctx)
    place = _place(hardware, cluster, session)
    if parallel:
        _check_shape(whole, served, parallel)
    proposal = propose(whole, served, place, n_ctx, users, parallel)
    return VllmFit(
        model=whole, served=served, cluster=place, n_ctx=n_ctx, proposal=proposal,
        smaller=() if parallel else tuple(_smaller(whole, served, place, n_ctx, proposal)),
    )  # fmt: skip


def _stored_type(model: Model) -> str:
    """The type of the published checkpoint; of one that is here in BF16, that."""
    return "bf16" if model.type_name == "BF16" else held_as(model.shape).types[0]


def _place(hardware: str | None, cluster: Path | None, session: Session | None) -> Cluster:
    if cluster:
        return read_cluster(cluster)
    if hardware is not None:
        machine = parse_hardware(hardware)
    else:
        here = (session or Session.here(keeps=False)).machine_now()
        machine = hardware_of(here, uses_gpu=here.has_gpu)
    return Cluster(nodes=(Node(name="here", address="127.0.0.1", hardware=machine),), links={})


def _check_context(model: Model, n_ctx: int) -> None:
    trained = model.shape.n_ctx_train
    if trained and n_ctx > trained:
        raise Misuse(
            "`n_ctx` {found} is more than the {trained} tokens that {name} was trained for; vLLM "
            "refuses to start.",
            found=n_ctx,
            trained=trained,
            name=model.name,
        )


def _check_shape(model: Model, served: ServedType, parallel: Parallel) -> None:
    why = why_not(model.shape, served, parallel)
    if why is None:
        return
    legal = legal_tensor_parallel(model.shape, served, MOST_LEGAL)
    raise Misuse(
        "`tensor_parallel` {tp} with `pipeline_parallel` {pp} does not divide {name}: {why}. Legal "
        "are `tensor_parallel` {legal}, and `pipeline_parallel` up to {layers}.",
        tp=parallel.tp,
        pp=parallel.pp,
        name=model.name,
        why=why,
        legal=", ".join(str(tp) for tp in legal),
        layers=n_own_layers(model.shape),
    )


def _smaller(
    model: Model, served: ServedType, place: Cluster, n_ctx: int, proposal: Proposal
) -> list[Smaller]:
    """Smaller types with which more users go in, where not all do; else those with which a device
    holds the model by itself.
    """
    if proposal.fits and proposal.topology in {"single", "replicas"}:
        return []
    types = held_as(model.shape).types
    order = [name for name in SERVED_TYPES if name in {"fp8", "awq"} & {*types}]
    found = list[Smaller]()
    for name in order[order.index(served.name) + 1 if served.name in order else 0 :]:
        other = propose(model, SERVED_TYPES[name], place, n_ctx, proposal.asked)
        is_whole = other.fits and other.topology in {"single", "replicas"}
        if is_whole or (not proposal.fits and other.users > proposal.users):
            found.append(Smaller(type=name, topology=other.topology, users=other.users))
    return found


def _placed_json(placed: Placed) -> dict[str, object]:
    option = placed.option
    replica = option.replica
    return {
        "n_replicas": placed.n_replicas, "nodes_each": option.n_nodes,
        "devices_per_node": option.n_devices,
        "tensor_parallel": replica.parallel.tp, "pipeline_parallel": replica.parallel.pp,
        "users_each": replica.users, "kv_tokens": replica.kv_tokens,
        "kv_blocks": replica.n_blocks, "block_tokens": replica.block_tokens,
        "gpu_memory_utilization": replica.utilization if replica.on_cards else None,
        "step": option.time.as_json(),
        "stages": [_rank_json(rank, replica.parallel.tp) for rank in replica.ranks],
    }  # fmt: skip


def _rank_json(rank: Rank, tp: int) -> dict[str, object]:
    parts = {
        "weights": (rank.weights_bytes, "computed"),
        "activations": (rank.activation_bytes, "assumed"),
        "cuda_graphs": (rank.graphs_bytes, "assumed"),
        "kv_pool": (rank.pool_bytes, "computed"),
        "outside": (rank.outside_bytes, "assumed"),
    }
    return {
        "device": rank.device.name, "n_ranks": tp, "layers": rank.layers,
        "budget_bytes": rank.budget_bytes,
        "parts": {name: {"bytes": n, "source": source} for name, (n, source) in parts.items()},
    }  # fmt: skip
