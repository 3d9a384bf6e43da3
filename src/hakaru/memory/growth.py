"""The memory that llama.cpp's server takes while it is used, beyond its load: context checkpoints,
prompts that no slot holds any more, and bodies of requests. Pure.

A model with recurrent states or sliding windows cannot go back: a state holds the whole past in one
sum, and a window has overwritten older tokens. So while the server reads a prompt, it copies states
and windows into host memory, a *context checkpoint*. When the next prompt departs from the tokens
that were read, the server goes back to the last checkpoint before the difference. It keeps some
checkpoints for every conversation (slot), each as large as the states and windows of one
conversation.

A prompt leaves up to three checkpoints: where the last message of the user begins, one micro-batch
and 4 tokens before the prompt's end, and 4 tokens before its end. The oldest checkpoint is dropped
when there is no place for a new one. The last checkpoint alone makes the usual next turn cheap: the
server reads only the tokens behind it, the answer as the template renders it and the new message.
Earlier checkpoints serve a person who edits an earlier message.

A conversation that takes the slot of another one, such as a coding agent's request for a title, has
the other one copied into RAM before, whole and with its checkpoints, so that the other one comes
back without being read again. The engine makes room before it copies, so that these copies never
take more than `cache_ram_mib`; the numbers of their tokens, 4 bytes each, it does not count.

Left out: architectures whose caches are not known (None), and one more copy per conversation that
drafting needs where the model itself cannot go back.

Source: llama.cpp, tools/server/server-context.cpp (create_checkpoint, prompt_save) and
server-task.cpp (server_prompt_cache), src/llama-kv-cache.cpp and src/llama-memory-recurrent.cpp
(state_write), src/llama-kv-cache-iswa.cpp; read in the build of xllamacpp 2026.10.11549.
"""

from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from hakaru.memory.footprint import layers_cache_bytes, row_bytes
from hakaru.memory.settings import LEAST_CHECKPOINTS, ContextSettings
from hakaru.models.caches import LayerCache
from hakaru.models.shape import Shape

MOST_CHECKPOINTS: Final = 32
"""Checkpoints that the engine keeps per conversation by default. llama.cpp, common/common.h."""
MOST_CACHE_RAM_MIB: Final = 8192
"""RAM that the engine takes for prompts by default. llama.cpp, common/common.h."""
PROMPTS_KEPT: Final = 2
"""Conversations for which the RAM is planned. One alone would be lost: when it comes back, the one
that took its slot is copied before it is read, and the oldest copy makes room.
"""
PART_FOR_PROMPTS: Final = 0.5
"""Of the memory that is left behind everything else: other programs need some, too."""
REQUEST_BYTES: Final = 64 * 2**20
"""What all bodies of requests that are read at the same time may take in the engine: their text,
the parsed JSON, the tokens. Assumed; the gateway lets no more bodies in than fit.
"""
REQUEST_BYTES_PER_TOKEN: Final = 512
"""What the bodies may take per token of a long `n_ctx`: a token has about 6 bytes of text, and the
engine was seen to take 85 to 90 bytes for every byte of a body.
"""

_BEGIN: Final = 8  # the number of the sequence
_CELL: Final = 12  # position, number of sequences, sequence
_CACHE: Final = 16  # order of V, layers, two rotations
_ROWS: Final = 12  # type and size of a row, for K and V of every layer
_STATES: Final = 20  # number of cells, position, number of sequences, order, layers


def checkpoint_bytes(shape: Shape, settings: ContextSettings) -> int | None:
    """Bytes of one context checkpoint at its largest: 0 for a model without checkpoints, None if
    the caches are not known.

    A recurrent layer adds its state. A layer with a window adds the tokens of the window, without
    the micro-batch for which its cache has room, too. Layers that see everything, and layers that
    read another layer's cache, add nothing.
    """
    return (
        None
        if shape.caches is None
        else _partial_copy_bytes(shape.caches, settings, settings.n_cells)
    )


def prompt_bytes(shape: Shape, settings: ContextSettings, n_tokens: int) -> int | None:
    """Bytes of the copy of a conversation of `n_tokens`, without its checkpoints; None if the
    caches are not known.
    """
    if shape.caches is None:
        return None
    whole = [c for c in shape.caches if not _goes_partly(c) and (c.k or c.v)]
    partial_bytes = _partial_copy_bytes(shape.caches, settings, n_tokens) or _BEGIN
    return partial_bytes + _kept_bytes(whole, settings, n_tokens)


def _goes_partly(cache: LayerCache) -> bool:
    """Whether a checkpoint has the layer's tokens."""
    return cache.window is not None or cache.copied_whole


def _partial_copy_bytes(
    caches: Sequence[LayerCache], settings: ContextSettings, n_tokens: int
) -> int:
    """Bytes of a copy of states and windows alone, of a conversation of `n_tokens`; 0 if no layer
    has either.
    """
    windowed = [cache for cache in caches if _goes_partly(cache) and (cache.k or cache.v)]
    recurrent = [cache for cache in caches if cache.state]
    size = _kept_bytes(windowed, settings, n_tokens) + _states_bytes(recurrent)
    return size + _BEGIN if size else 0


def _kept_bytes(layers: list[LayerCache], settings: ContextSettings, n_tokens: int) -> int:
    """Bytes of a copy of what `layers` keep of `n_tokens`: all, or those in the window."""
    if not layers:
        return 0
    n_streams = 1 if settings.kv_unified else settings.n_parallel
    cells = max(min(layer.window or n_tokens, n_tokens) for layer in layers)
    size = 4 + 4 * n_streams + _CACHE + _CELL * cells
    for cache in layers:
        for type_, n, head in (
            (settings.type_k, cache.k, cache.n_embd_head_k),
            (settings.type_v, cache.v, cache.n_embd_head_v),
        ):
            size += _ROWS + row_bytes(type_, n, head) * cells if n else 0
    return size


def _states_bytes(layers: list[LayerCache]) -> int:
    """Bytes of the states of all layers: F32, in two rows per layer, the convolution's last inputs
    and the state.
    """
    return _STATES + sum(2 * _ROWS + 4 * cache.state for cache in layers) if layers else 0


def checkpoints_bytes(shape: Shape, settings: ContextSettings, copied_bytes: int = 0) -> int:
    """Bytes of all checkpoints, when every conversation has as many as it may; 0 where the size of
    a checkpoint is not known. `copied_bytes` are those of a draft in one checkpoint.
    """
    one_bytes = checkpoint_bytes(shape, settings)
    if not one_bytes:
        return 0
    return (one_bytes + copied_bytes) * settings.checkpoints_kept * settings.n_parallel


def draft_copy_bytes(caches: Sequence[LayerCache], settings: ContextSettings) -> int:
    """Bytes that a context checkpoint of a model holds of its draft, whose layers keep `caches`:
    the states and windows of the draft, or if it has none, its whole cache of one conversation.
    """
    if partial_bytes := _partial_copy_bytes(caches, settings, settings.n_cells):
        return partial_bytes
    n_streams = 1 if settings.kv_unified else settings.n_parallel
    return sum(layers_cache_bytes(caches, settings)) // n_streams + _CELL * settings.n_cells


def requests_bytes(settings: ContextSettings) -> int:
    """Bytes for the bodies of requests: assumed, see REQUEST_BYTES."""
    return max(REQUEST_BYTES, REQUEST_BYTES_PER_TOKEN * settings.n_ctx)


def most_checkpoints(
    shape: Shape, settings: ContextSettings, spare_bytes: float, copied_bytes: int = 0
) -> int | None:
    """How many checkpoints per conversation fit into `spare_bytes`, from LEAST_CHECKPOINTS to
    MOST_CHECKPOINTS. None for a model without checkpoints.

    0 where the size of a checkpoint is not known: checkpoints that cannot be counted are switched
    off.
    """
    one_bytes = checkpoint_bytes(shape, settings)
    if not one_bytes:
        return 0 if one_bytes is None else None
    fitting = int(spare_bytes // ((one_bytes + copied_bytes) * settings.n_parallel))
    return max(LEAST_CHECKPOINTS, min(MOST_CHECKPOINTS, fitting))


def most_cache_ram_mib(
    shape: Shape, settings: ContextSettings, spare_bytes: float, copied_bytes: int = 0
) -> int:
    """RAM for prompts within `spare_bytes`, in MiB: for PROMPTS_KEPT whole conversations with their
    checkpoints and a draft's `copied_bytes`, at most MOST_CACHE_RAM_MIB. 0 where the caches are not
    known, and where not even a quarter of one conversation would go in.
    """
    one_bytes = prompt_bytes(shape, settings, settings.tokens_each)
    if one_bytes is None:
        return 0
    one_bytes += copied_bytes + checkpoints_bytes(shape, settings, copied_bytes) // (
        settings.n_parallel
    )
    wanted = min(MOST_CACHE_RAM_MIB, -(-PROMPTS_KEPT * one_bytes // 2**20))
    fitting = int(spare_bytes // 2**20)
    return min(wanted, fitting) if 4 * PROMPTS_KEPT * fitting >= wanted else 0


def filled(
    shape: Shape, settings: ContextSettings, spare_bytes: float, copied_bytes: int = 0
) -> ContextSettings:
    """The settings with as many checkpoints, and as much RAM for prompts, as `spare_bytes` have
    room for. What was named stays. Checkpoints beyond the second give way to prompts.
    """
    if settings.n_checkpoints is None:
        spare = spare_bytes - settings.cache_ram_bytes
        n = _beside_prompts(shape, settings, spare, copied_bytes)
        settings = replace(
            settings, n_checkpoints=n or most_checkpoints(shape, settings, spare, copied_bytes)
        )
    if settings.cache_ram_mib is None:
        mib = 0
        if settings.keeps_prompts:  # `choose` makes thousands of plans without
            spare_bytes -= checkpoints_bytes(shape, settings, copied_bytes)
            spare_bytes *= PART_FOR_PROMPTS
            mib = most_cache_ram_mib(shape, settings, spare_bytes, copied_bytes)
        settings = replace(settings, cache_ram_mib=mib, keeps_prompts=False)  # it is said now
    return settings


def _beside_prompts(
    shape: Shape, settings: ContextSettings, spare_bytes: float, copied_bytes: int
) -> int:
    """How many checkpoints per conversation go into `spare_bytes` beside all the prompts that are
    wanted, each with as many; 0 where that are fewer than two, or none of either are to be planned.
    """
    if not settings.keeps_prompts or settings.cache_ram_mib is not None:
        return 0
    checkpoint = checkpoint_bytes(shape, settings)
    prompt = prompt_bytes(shape, settings, settings.tokens_each)
    if not checkpoint or prompt is None:
        return 0
    checkpoint += copied_bytes
    prompts = PROMPTS_KEPT * (prompt + copied_bytes) + 2**20  # rounded up to a MiB
    n = max(
        (spare_bytes - prompts) // (checkpoint * (settings.n_parallel + PROMPTS_KEPT)),
        (spare_bytes - MOST_CACHE_RAM_MIB * 2**20) // (checkpoint * settings.n_parallel),
    )
    return min(MOST_CHECKPOINTS, int(n)) if n > LEAST_CHECKPOINTS else 0
