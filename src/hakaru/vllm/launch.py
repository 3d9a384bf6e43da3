"""What a person types to start a replica: one command for each of its nodes. Pure.

The first node of a replica has the HTTP server; the others start with `--headless` and join it by
vLLM's own executor (`mp`), without Ray.
"""

import json
import shlex
from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from hakaru.clusters.cluster import LOOPBACK, Node
from hakaru.vllm.proposal import Option, Proposal

PORT: Final = 8_000
MASTER_PORT: Final = 29_500
CPU_COMPILATION: Final = {"mode": 1, "backend": "eager"}
"""On processors: with `--enforce-eager` a later stage is never warmed up, and fails at the first
request. Source: vLLM 0.32, _should_warm_up_model in v1/worker/cpu_worker.py.
"""


class Launch(Struct, frozen=True, kw_only=True):
    """One start of vLLM on one node."""

    node: Node
    replica: int  # of which replica, from 0
    arguments: tuple[str, ...]  # behind `vllm serve MODEL`
    environment: tuple[tuple[str, str], ...]
    port: int | None  # of the HTTP server; None: the node has none

    def command(self, model: str) -> str:
        """The line for a shell."""
        variables = [f"{name}={shlex.quote(value)}" for name, value in self.environment]
        return " ".join([*variables, shlex.join(["vllm", "serve", model, *self.arguments])])

    def as_json(self) -> dict[str, object]:
        """The start as it stands in `--json`."""
        return {
            "node": self.node.name, "address": self.node.address, "replica": self.replica,
            "arguments": list(self.arguments), "environment": dict(self.environment),
            "port": self.port,
        }  # fmt: skip


def launches(proposal: Proposal) -> Iterator[Launch]:
    """Every start of a proposal, the first node of each replica first."""
    replica = 0
    for placed in proposal.placed:
        option = placed.option
        for i, nodes in enumerate(placed.node_groups()):
            slot = i % option.per_node
            for rank, node in enumerate(nodes):
                yield _launch(option, replica, nodes, rank, node, slot)
            replica += 1


def _launch(
    option: Option, replica: int, nodes: tuple[Node, ...], rank: int, node: Node, slot: int
) -> Launch:
    arguments = engine_arguments(option)
    if len(nodes) > 1:
        arguments += ["--nnodes", str(len(nodes)), "--node-rank", str(rank)]
        arguments += ["--master-addr", nodes[0].address, "--master-port", str(MASTER_PORT)]
    port = PORT + slot if rank == 0 else None
    arguments += ["--headless"] if port is None else ["--host", LOOPBACK, "--port", str(port)]
    return Launch(
        node=node, replica=replica, arguments=tuple(arguments), port=port,
        environment=tuple(_environment(option, node, slot)),
    )  # fmt: skip


def engine_arguments(option: Option) -> list[str]:
    """What is the same on all nodes of a replica."""
    return [*_sizes(option), *_division(option)]


def _sizes(option: Option) -> list[str]:
    replica = option.replica
    sizes = [
        "--dtype", replica.served.dtype,
        "--max-model-len", str(replica.load.n_ctx),
        "--max-num-seqs", str(replica.load.n_seqs),
        "--max-num-batched-tokens", str(replica.n_batched),
        *_kept(option),
    ]  # fmt: skip
    if replica.on_cards:
        return [*sizes, "--gpu-memory-utilization", f"{replica.utilization:.2f}"]
    rank = min(replica.ranks, key=lambda rank: rank.pool_bytes // rank.block_bytes)
    largest = max(rank.block_bytes for rank in replica.ranks)
    pool = rank.pool_bytes // rank.block_bytes * largest
    return [
        *sizes,
        "--kv-cache-memory-bytes", str(pool),
        "--compilation-config", json.dumps(CPU_COMPILATION, separators=(",", ":")),
    ]  # fmt: skip


def _kept(option: Option) -> Iterator[str]:
    """How the KV cache is kept; on processors, latent attention has the block that its kernel
    takes.
    """
    replica, record = option.replica, option.replica.held
    if replica.asked_block_tokens:
        yield from ("--block-size", str(replica.asked_block_tokens))
    if record.recurrent and not replica.on_cards:
        yield from ("--mamba-ssm-cache-dtype", "float32")
    if record.sees:
        yield "--language-model-only"


def _division(option: Option) -> list[str]:
    parallel, words = option.replica.parallel, list[str]()
    if parallel.tp > 1:
        words += ["--tensor-parallel-size", str(parallel.tp)]
    if parallel.pp > 1:
        words += ["--pipeline-parallel-size", str(parallel.pp)]
    return [*words, "--distributed-executor-backend", "mp"] if words else words


def _environment(option: Option, node: Node, slot: int) -> Iterator[tuple[str, str]]:
    yield "VLLM_HOST_IP", node.address
    if option.replica.on_cards and option.per_node > 1:
        cards = range(slot * option.n_devices, (slot + 1) * option.n_devices)
        yield "CUDA_VISIBLE_DEVICES", ",".join(str(n) for n in cards)
