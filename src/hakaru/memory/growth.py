"""The memory that llama.cpp's server takes while it is used, beyond its load: context checkpoints,
and bodies of requests. Pure.

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

The server's prompt cache in RAM does not grow: it is switched off (`cache_ram_mib`,
engine/server_child.py), so another conversation in a slot replaces the one before. Without states
and windows nothing is copied. Left out: architectures whose caches are not known (None), and one
more copy per conversation that drafting needs where the model itself cannot go back.

Source: llama.cpp, tools/server/server-context.cpp (create_checkpoint), src/llama-kv-cache.cpp and
src/llama-memory-recurrent.cpp (state_write), src/llama-kv-cache-iswa.cpp; read in the build of
xllamacpp 2026.10.11549.
"""

from collections.abc import Sequence
from typing import Final

from hakaru.memory.footprint import layers_cache_bytes, row_bytes
from hakaru.memory.settings import LEAST_CHECKPOINTS, ContextSettings
from hakaru.models.caches import LayerCache
from hakaru.models.shape import Shape

MOST_CHECKPOINTS: Final = 32
"""Checkpoints that the engine keeps per conversation by default. llama.cpp, common/common.h."""
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
    return None if shape.caches is None else _partial_copy_bytes(shape.caches, settings)


def _partial_copy_bytes(caches: Sequence[LayerCache], settings: ContextSettings) -> int:
    """Bytes of a copy of states and windows alone; 0 if no layer has either."""
    windowed = [
        cache
        for cache in caches
        if (cache.window is not None or cache.copied_whole) and (cache.k or cache.v)
    ]
    recurrent = [cache for cache in caches if cache.state]
    size = _windows_bytes(windowed, settings) + _states_bytes(recurrent)
    return size + _BEGIN if size else 0


def _windows_bytes(layers: list[LayerCache], settings: ContextSettings) -> int:
    if not layers:
        return 0
    n_streams = 1 if settings.kv_unified else settings.n_parallel
    cells = max(min(layer.window or settings.n_cells, settings.n_cells) for layer in layers)
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
    if partial_bytes := _partial_copy_bytes(caches, settings):
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
