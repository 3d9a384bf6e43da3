"""How vLLM keeps what layers remember of a user: in blocks of one size for all layers. Pure.

A layer keeps keys and values of all tokens, of the last ones (a window), or a state of fixed size.
vLLM's hybrid manager sorts the layers by that into groups of equally many layers; a block has room
for one page of each layer of a group, and any group may take any block. Pages are made equal: where
there are states, a page of attention gets so many tokens that a state goes in.

Example: Gemma 3 1B has 22 layers with a window and 4 without, so groups of 4 layers: one without,
and six with a window, of which two have an empty place.

Source: vLLM, v1/core/kv_cache_utils.py, v1/kv_cache_interface.py, and _align_hybrid_block_size in
platforms/interface.py.
"""

from collections.abc import Iterator
from typing import Final, Literal

from msgspec import Struct

from hakaru.models.shape import Shape
from hakaru.vllm.mixers import held_as, state_bytes
from hakaru.vllm.parallel import kv_heads_of_rank, n_own_layers

BLOCK_TOKENS: Final = 16
CPU_BLOCK_TOKENS: Final = 128
"""Tokens of a block that are asked for. Source: vLLM, config/cache.py and platforms/cpu.py."""
MLA_BLOCK_TOKENS: Final = 64
"""With latent attention: what most of its kernels for cards take. Source: vLLM,
get_supported_kernel_block_sizes in v1/attention/backends/mla.
"""
CPU_MLA_BLOCK_TOKENS: Final = 16
"""And what the one for processors takes; with AMX another one runs, whose blocks are larger."""
_NEARLY_EQUAL: Final = 1.5
"""Where the largest set of layers is less than so many times the smallest, groups are as large as
that. Source: vLLM, _get_kv_cache_groups_uniform_page_size.
"""

Keeps = Literal["all", "window", "state"]


class LayerKv(Struct, frozen=True, kw_only=True):
    """What a layer keeps of a user on one rank."""

    layer: int
    keeps: Keeps
    n_bytes: int  # of a token, or of the state
    window: int = 0  # tokens that a layer with a window sees

    @property
    def kind(self) -> tuple[Keeps, int, int]:
        """What layers of one group have in common."""
        return self.keeps, self.n_bytes, self.window

    def read_bytes(self, n_ctx: int) -> int:
        """What a token of a user with a full context reads."""
        if self.keeps == "state":
            return self.n_bytes
        return self.n_bytes * (min(n_ctx, self.window) if self.window else n_ctx)


class Group(Struct, frozen=True, kw_only=True):
    """Layers that take the same blocks."""

    keeps: Keeps
    window: int
    layers: tuple[int, ...]


class KvGroups(Struct, frozen=True, kw_only=True):
    """How a model's layers share the blocks of one rank."""

    groups: tuple[Group, ...]
    page_bytes: int  # of a block, in one layer
    block_tokens: int  # of attention
    state_blocks: int  # that a user holds of each group of states

    def block_bytes(self, part: range) -> int:
        """A block on a rank that has these layers."""
        return self.page_bytes * max(
            sum(layer in part for layer in group.layers) for group in self.groups
        )

    def blocks_each(self, n_ctx: int, in_flight: int) -> int:
        """Blocks that vLLM reserves for a user of `n_ctx` tokens, while up to `in_flight` tokens of
        all users are on their way.
        """
        return sum(self._blocks(group, n_ctx, in_flight) for group in self.groups)

    def _blocks(self, group: Group, n_ctx: int, in_flight: int) -> int:
        """A window may begin and end within a block, so it takes one more."""
        match group.keeps:
            case "state":
                return self.state_blocks
            case "window":
                n_tokens = min(group.window - 1 + in_flight, n_ctx)
                return -(-n_tokens // self.block_tokens) + 1
        return -(-n_ctx // self.block_tokens)


def kv_layers(shape: Shape, tp: int, *, on_cards: bool) -> Iterator[LayerKv]:
    """What each layer keeps on one of `tp` ranks; a layer with two parts is told twice. Latent
    attention keeps the same on every rank.
    """
    for layer, cache in enumerate((shape.caches or ())[: n_own_layers(shape)]):
        if cache.state:
            n_bytes = state_bytes(shape, tp, on_cards=on_cards)
            yield LayerKv(layer=layer, keeps="state", n_bytes=n_bytes)
        if not cache.k:
            continue
        heads = kv_heads_of_rank(shape.n_head_kv[layer], tp)
        n_bytes = 2 * heads * (cache.n_embd_head_k + cache.n_embd_head_v)
        if cache.window:
            window = cache.window + held_as(shape).window_more
            yield LayerKv(layer=layer, keeps="window", n_bytes=n_bytes, window=window)
        else:
            yield LayerKv(layer=layer, keeps="all", n_bytes=n_bytes)


def asked_block_tokens(shape: Shape, *, on_cards: bool) -> int:
    """The argument of `--block-size`, which states may raise."""
    if shape.n_lora_kv:
        return MLA_BLOCK_TOKENS if on_cards else CPU_MLA_BLOCK_TOKENS
    return BLOCK_TOKENS if on_cards else CPU_BLOCK_TOKENS


def kv_groups(shape: Shape, tp: int, *, on_cards: bool) -> KvGroups:
    """The groups of a whole model; each stage of a pipeline has a part of each."""
    layers = tuple(kv_layers(shape, tp, on_cards=on_cards))
    kinds: dict[tuple[Keeps, int, int], list[int]] = {}
    for kept in layers:
        kinds.setdefault(kept.kind, []).append(kept.layer)
    token_bytes = max(kept.n_bytes for kept in layers if kept.keeps != "state")
    block = asked_block_tokens(shape, on_cards=on_cards)
    states = [kept.n_bytes for kept in layers if kept.keeps == "state"]
    if states:
        block *= -(-max(states) // (block * token_bytes))
    return KvGroups(
        groups=tuple(_groups(kinds)),
        page_bytes=block * token_bytes,
        block_tokens=block,
        state_blocks=_state_blocks(shape),
    )


def _groups(kinds: dict[tuple[Keeps, int, int], list[int]]) -> Iterator[Group]:
    """Every n-th layer of a kind, so that each stage has layers of each group."""
    counts = [len(layers) for layers in kinds.values()]
    size = max(counts) if max(counts) < _NEARLY_EQUAL * min(counts) else min(counts)
    for (keeps, _, window), layers in kinds.items():
        n = -(-len(layers) // size)
        for i in range(n):
            yield Group(keeps=keeps, window=window, layers=tuple(layers[i::n]))


def _state_blocks(shape: Shape) -> int:
    """The state, that before it, and with Mamba 2 that at the end of the prompt: since beginnings
    of prompts are cached. Source: vLLM, MambaSpec.max_memory_usage_bytes.
    """
    return 3 if held_as(shape).recurrent == "mamba 2" else 2
