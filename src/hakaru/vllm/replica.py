"""What each rank of a replica holds, and how many tokens of KV cache are left. Pure.

vLLM takes `gpu_memory_utilization` of a card's memory. From that it takes the weights, the peak of
a forward pass that it tries, and the CUDA graphs that it captures; the rest is the pool of KV
blocks. All ranks get as many blocks as the fullest one has room for. What the driver, the process
and NCCL take lies outside of that part, and must go in beside it.

Weights and bytes of a block are exact. What is assumed has its source below.
"""

from typing import Final

from msgspec import Struct

from hakaru.hardware.machine import Device
from hakaru.models.architectures.record import InVllm
from hakaru.models.model import Model
from hakaru.models.shape import Shape
from hakaru.vllm.kv_groups import KvGroups, asked_block_tokens, kv_groups, kv_layers
from hakaru.vllm.mixers import held_as
from hakaru.vllm.parallel import Parallel, n_own_layers, padded_vocab, stages
from hakaru.vllm.served_type import ServedType

MOST_UTILIZATION: Final = 0.92
"""vLLM's own `gpu_memory_utilization`. Source: vLLM 0.32, config/cache.py."""
DRIVER_BYTES: Final = 450 * 2**20
"""By which CUDA's total is less than the card's memory, assumed: 23.52 of 23.99 GiB (RTX 4090),
23.58 of 24 (RTX 3090), 79.19 of 79.65 (H100) in logs. Source: vLLM issues and pull requests 10511,
14447; gateway-api-inference-extension 550.
"""
CONTEXT_BYTES: Final = 512 * 2**20
"""A process with PyTorch on a card, before it loads anything: assumed."""
NCCL_BYTES: Final = 1_840 * 2**20
"""What a second rank adds, assumed: 3.58 less 1.79 GiB on an H100. Source: vLLM pull request
10511.
"""
LOGIT_BYTES: Final = 41
"""Of the sampler for each sequence and word, assumed: 1.26 GiB for 256 sequences and 128,256 words,
with one rank as with two. Source: vLLM pull request 10511 (Llama 3 8B).
"""
GRAPH_BYTES: Final = 23 * 2**20
"""Of a captured batch size, assumed: 0.36 GiB for 16 sizes. Source: gpustack/runner pull request
251; smaller models take less (0.11 GiB for 19 sizes: aivrar/vllm-windows-build issue 4).
"""
PROCESS_BYTES: Final = 1_780 * 2**20
"""Server, engine and worker on a processor, before they load anything, measured with vLLM 0.32 and
SmolLM2-135M: 2,324 MiB, less 258 of weights and 286 of KV cache.
"""
MOST_SEQUENCES: Final = 1_024
"""At a time, of one replica. Source: vLLM, get_batch_defaults in engine/arg_utils.py."""
_LARGE: Final = 70 * 2**30
_BATCHED, _BATCHED_LARGE = 2_048, 8_192
"""Tokens of a step, and on a card of 70 GiB or more. Source: the same."""
LARGEST_GRAPH: Final = 512


class Load(Struct, frozen=True, kw_only=True):
    """What a replica must answer at a time."""

    n_ctx: int  # tokens of each user
    n_seqs: int  # users


class Rank(Struct, frozen=True, kw_only=True):
    """One of the equal ranks of a stage."""

    device: Device
    layers: int
    weights_bytes: int
    activation_bytes: int  # assumed
    graphs_bytes: int  # assumed
    outside_bytes: int  # beside vLLM's part: driver, process, NCCL; assumed
    budget_bytes: int  # vLLM's part of the device
    block_bytes: int  # of a KV block, in the layers of the stage
    user_bytes: int  # of the KV cache, that a token of a user with a full context reads

    @property
    def pool_bytes(self) -> int:
        """What is left for the KV cache; below 0 where nothing is."""
        taken = self.weights_bytes + self.activation_bytes + self.graphs_bytes
        return self.budget_bytes - taken


class Replica(Struct, frozen=True, kw_only=True):
    """A whole model on `parallel.n_ranks` devices."""

    parallel: Parallel
    load: Load
    served: ServedType
    ranks: tuple[Rank, ...]  # one of each stage
    utilization: float  # the argument of `--gpu-memory-utilization`
    kv: KvGroups
    held: InVllm  # what vLLM does otherwise for this architecture
    asked_block_tokens: int | None  # of `--block-size`; None: left to vLLM
    n_batched: int  # tokens of a step

    @property
    def n_blocks(self) -> int:
        """KV blocks of every rank."""
        return max(0, min(rank.pool_bytes // rank.block_bytes for rank in self.ranks))

    @property
    def kv_tokens(self) -> int:
        """Tokens in the pool, as vLLM's log tells them ("KV cache size")."""
        return self.n_blocks * self.load.n_ctx // self.blocks_each

    @property
    def users(self) -> int:
        """How many of `load.n_ctx` tokens go in at a time; one block stays empty."""
        return max(0, min(self.load.n_seqs, (self.n_blocks - 1) // self.blocks_each))

    @property
    def block_tokens(self) -> int:
        """Tokens of a KV block, in a layer of attention."""
        return self.kv.block_tokens

    @property
    def blocks_each(self) -> int:
        """Blocks that a user takes."""
        return self.kv.blocks_each(self.load.n_ctx, self._in_flight)

    @property
    def _in_flight(self) -> int:
        """Tokens that are scheduled and not yet done. On cards a step is scheduled while another
        one runs. Source: vLLM, max_concurrent_batches in config/vllm.py, platforms/cpu.py.
        """
        return (self.parallel.pp + self.on_cards) * self.n_batched

    @property
    def on_cards(self) -> bool:
        """False on processors, whose memory is RAM."""
        return is_card(self.ranks[0].device)


def is_card(device: Device) -> bool:
    """Whether a device computes: RAM has no rates, and is called so."""
    return device.name != "RAM" and not device.name.endswith(": RAM")


def replica_of(
    model: Model,
    served: ServedType,
    parallel: Parallel,
    weights: tuple[int, ...],
    devices: tuple[Device, ...],
    load: Load,
) -> Replica:
    """A replica whose stages lie on `devices`, with `weights` bytes on each rank."""
    shape, on_cards = model.shape, is_card(devices[0])
    outside = _outside_bytes(parallel, on_cards=on_cards)
    utilization = min(_utilization(device, outside, on_cards=on_cards) for device in devices)
    n_batched = _n_batched(devices, load) if on_cards else max(_BATCHED, load.n_seqs)
    asked = asked_block_tokens(shape, on_cards=on_cards)
    kv = kv_groups(shape, parallel.tp, on_cards=on_cards)
    kept = tuple(kv_layers(shape, parallel.tp, on_cards=on_cards))
    ranks = tuple(
        Rank(
            device=device,
            layers=len(part),
            weights_bytes=weights[stage],
            activation_bytes=activation_bytes(
                shape, parallel, n_batched, load.n_seqs, samples=stage == parallel.pp - 1
            ),
            graphs_bytes=graphs_bytes(load.n_seqs) if on_cards else 0,
            outside_bytes=outside,
            budget_bytes=int(_total(device, on_cards=on_cards) * utilization),
            block_bytes=kv.block_bytes(part),
            user_bytes=sum(k.read_bytes(load.n_ctx) for k in kept if k.layer in part),
        )
        for stage, (part, device) in enumerate(
            zip(stages(n_own_layers(shape), parallel.pp), devices, strict=True)
        )
    )
    return Replica(
        parallel=parallel, load=load, served=served, ranks=ranks, utilization=utilization,
        kv=kv, held=held_as(shape),
        asked_block_tokens=None if shape.n_lora_kv and not on_cards else asked, n_batched=n_batched,
    )  # fmt: skip


def activation_bytes(
    shape: Shape, parallel: Parallel, n_batched: int, n_seqs: int, *, samples: bool
) -> int:
    """The peak beside weights and KV cache: that of a layer, or of the sampler on the last stage.

    A layer keeps the residual, its input and its output, and the widest of its inner values.
    """
    tp = parallel.tp
    heads = shape.n_head * shape.n_embd_head_k + 2 * max(shape.n_head_kv) * shape.n_embd_head_k
    inner = max(heads // tp, 3 * (shape.n_ff or 0) // tp)
    if shape.n_expert:
        inner = max(inner, shape.n_expert_used * (3 * shape.n_ff_exp // tp + shape.n_embd))
    layer = 2 * n_batched * (3 * shape.n_embd + inner)
    sampler = LOGIT_BYTES * n_seqs * padded_vocab(shape.n_vocab) if samples else 0
    return max(layer, sampler)


def graphs_bytes(n_seqs: int) -> int:
    """CUDA graphs of every batch size that vLLM captures.

    Source: vLLM, _set_cudagraph_sizes in config/vllm.py.
    """
    largest = min(2 * n_seqs, LARGEST_GRAPH)
    sizes = [n for n in (1, 2, 4) if n <= largest]
    sizes += [*range(8, min(largest + 1, 256), 8), *range(256, largest + 1, 16)]
    return len(sizes) * GRAPH_BYTES


def _n_batched(devices: tuple[Device, ...], load: Load) -> int:
    is_large = all(device.total_bytes >= _LARGE for device in devices)
    return max(_BATCHED_LARGE if is_large else _BATCHED, load.n_seqs)


def _outside_bytes(parallel: Parallel, *, on_cards: bool) -> int:
    if not on_cards:
        return PROCESS_BYTES
    return CONTEXT_BYTES + (NCCL_BYTES if parallel.n_ranks > 1 else 0)


def _total(device: Device, *, on_cards: bool) -> int:
    """The device's memory as vLLM sees it."""
    return device.total_bytes - (DRIVER_BYTES if on_cards else 0)


def _utilization(device: Device, outside: int, *, on_cards: bool) -> float:
    """The largest part that leaves room for what lies outside of it, in hundredths."""
    total = _total(device, on_cards=on_cards)
    free = device.usable_bytes - (DRIVER_BYTES if on_cards else 0)
    return max(0, min(MOST_UTILIZATION, int(100 * (free - outside) / total) / 100))
