"""What the server of llama.cpp takes beyond its load, while it is used: context checkpoints, and
bodies of requests. Pure.

A model with recurrent states or sliding windows cannot go back: a state holds the whole past in one
sum, and a window has overwritten what left it. So the server copies what it could not restore, a
*context checkpoint*, into host memory while it reads a prompt, and goes back to the last one that
fits when the next prompt departs from what was read. It keeps a number of them for every
conversation (slot), each as large as the states and windows of one conversation.

How it goes on: a prompt leaves up to three checkpoints, where its last message of the user begins,
one micro-batch and 4 tokens before its end, and 4 tokens before its end. When the number is
reached, the oldest is dropped before a new one is made. The last of them alone makes the usual next
turn cheap: what comes behind it, the answer as the template renders it and the new message, is
read, and nothing before. Those before it serve whoever edits an earlier message.

What does not grow here: the server's prompt cache in RAM is switched off (`cache_ram_mib`,
engine/server_child.py), so another conversation in a slot replaces the one before; without states
and windows nothing is copied at all. Left out: architectures without arithmetic of ours (None), and
the one copy more per conversation that drafting needs where the model itself cannot go back.

Source: llama.cpp, tools/server/server-context.cpp (create_checkpoint), src/llama-kv-cache.cpp and
src/llama-memory-recurrent.cpp (state_write), src/llama-kv-cache-iswa.cpp; read in the build of
xllamacpp 2026.10.11549.
"""

from collections.abc import Sequence
from typing import Final

from hakaru.memory.footprint import layer_cache_bytes, row_bytes
from hakaru.memory.settings import LEAST_CHECKPOINTS, ContextSettings
from hakaru.models.caches import LayerCache
from hakaru.models.shape import Shape

MOST_CHECKPOINTS: Final = 32
"""Per conversation; more than these the engine does not keep unless it is asked to. llama.cpp,
common/common.h.
"""
REQUEST_BYTES: Final = 64 * 2**20
"""What the bodies of requests may take in the engine, all that are read at the same time together:
their text, the parsed JSON, the tokens. Assumed; the gateway lets no more bodies in at once than
the engine reads with it.
"""
REQUEST_BYTES_PER_TOKEN: Final = 512
"""The same for long contexts, per token of `n_ctx`: about 6 bytes of text per token, and the engine
was seen to take 85 to 90 bytes for every byte of a body.
"""

_BEGIN: Final = 8  # which sequence it is
_CELL: Final = 12  # position, number of sequences, sequence
_CACHE: Final = 16  # order of V, layers, two rotations
_ROWS: Final = 12  # type and size of a row, for K and V of every layer
_STATES: Final = 20  # number of cells, position, number of sequences, order, layers


def checkpoint_bytes(shape: Shape, settings: ContextSettings) -> int | None:
    """Bytes of one context checkpoint at its largest: 0 where the engine makes none, None where we
    cannot tell.

    A recurrent layer adds its state; a layer with a window adds the tokens of the window, never
    those of the micro-batch that its cache has room for as well. Layers that see everything, and
    those that read another layer's cache, add nothing.
    """
    if shape.caches is None:
        return None
    return _partly_bytes(shape.caches, settings)


def _partly_bytes(caches: Sequence[LayerCache], settings: ContextSettings) -> int:
    windowed = [c for c in caches if (c.window is not None or c.copied_whole) and (c.k or c.v)]
    recurrent = [c for c in caches if c.state]
    size = _windows_bytes(windowed, settings) + _states_bytes(recurrent)
    return size + _BEGIN if size else 0


def _windows_bytes(layers: list[LayerCache], settings: ContextSettings) -> int:
    if not layers:
        return 0
    n_streams = 1 if settings.kv_unified else settings.n_parallel
    cells = max(min(c.window or settings.n_cells, settings.n_cells) for c in layers)
    size = 4 + 4 * n_streams + _CACHE + _CELL * cells
    for cache in layers:
        for type_, n, head in (
            (settings.type_k, cache.k, cache.n_embd_head_k),
            (settings.type_v, cache.v, cache.n_embd_head_v),
        ):
            size += _ROWS + row_bytes(type_, n, head) * cells if n else 0
    return size


def _states_bytes(layers: list[LayerCache]) -> int:
    """States are F32, and stand in two rows per layer: the convolution's last inputs and the state
    itself.
    """
    return _STATES + sum(2 * _ROWS + 4 * cache.state for cache in layers) if layers else 0


def checkpoints_bytes(shape: Shape, settings: ContextSettings, copied_bytes: int = 0) -> int:
    """Bytes of all checkpoints of all conversations, when each has as many as it may; 0 where the
    size is not known. `copied_bytes`: what each of them holds of a draft.
    """
    each = checkpoint_bytes(shape, settings)
    return (each + copied_bytes) * settings.checkpoints_kept * settings.n_parallel if each else 0


def draft_copy_bytes(caches: Sequence[LayerCache], settings: ContextSettings) -> int:
    """Bytes that a context checkpoint of the model holds of its draft, whose context keeps
    `caches`: what the draft itself could not restore, and where it could restore everything, its
    whole cache of one conversation.
    """
    if partly := _partly_bytes(caches, settings):
        return partly
    n_streams = 1 if settings.kv_unified else settings.n_parallel
    return (
        sum(layer_cache_bytes(cache, settings) for cache in caches) // n_streams
        + _CELL * settings.n_cells
    )


def requests_bytes(settings: ContextSettings) -> int:
    """Bytes that are kept free for the bodies of requests: assumed, see REQUEST_BYTES."""
    return max(REQUEST_BYTES, REQUEST_BYTES_PER_TOKEN * settings.n_ctx)


def most_checkpoints(
    shape: Shape, settings: ContextSettings, spare_bytes: float, copied_bytes: int = 0
) -> int | None:
    """How many checkpoints per conversation go into `spare_bytes`: at least the least, at most the
    engine's own number.

    None for a model that makes none. 0 where their size is not known: what cannot be counted is
    switched off.
    """
    each = checkpoint_bytes(shape, settings)
    if each is None:
        return 0
    if not each:
        return None
    return max(
        LEAST_CHECKPOINTS,
        min(MOST_CHECKPOINTS, int(spare_bytes // ((each + copied_bytes) * settings.n_parallel))),
    )
