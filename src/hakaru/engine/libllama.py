"""llama.cpp through its C API. Only the child process imports this module: ggml may abort, and then
only the child dies.

Thin on purpose: a loaded model, a context, tokens in, logits out, and the exact bytes of every
buffer.
"""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from hakaru.engine import capi
from hakaru.hardware.threads import n_threads

c: Final = capi.opened()
LOAD_PLAIN: Final = 0  # llama.h: LLAMA_LOAD_MODE_NONE, no memory map
log_lines: list[str] = []
_partial_line = ""


@capi.LogCallback  # type: ignore[untyped-decorator]  # ctypes has no types for it
def _on_log(level: int, text: bytes, user_data: object) -> None:
    """Keep what llama.cpp says and pass it on to stderr, where the parent reads it."""
    global _partial_line
    _partial_line += text.decode("utf-8", errors="replace")
    *whole, _partial_line = _partial_line.split("\n")
    for line in whole:
        log_lines.append(line)
        print(line, file=sys.stderr, flush=True)


def start() -> None:
    """Send llama.cpp's log here and load its backends."""
    c.llama_log_set(_on_log, None)
    c.llama_backend_init()


class NotNumbers(Exception):
    """The model at this path gives logits that are not numbers, or this tensor of it holds weights
    that are none.
    """

    def __init__(self, path: str, tensor: str | None = None) -> None:
        super().__init__(path)
        self.path, self.tensor = path, tensor


class Refused(Exception):
    """llama.cpp returned an error for what was asked."""


@contextmanager
def model(path: Path, *, no_alloc: bool = False, use_extra_bufts: bool = True) -> Iterator[Any]:
    """A loaded model; with `no_alloc` only laid out, so that a header followed by a hole is enough.
    Without `use_extra_bufts` no weight is packed for faster kernels.
    """
    params = c.llama_model_default_params()
    params.use_extra_bufts = use_extra_bufts
    if no_alloc:
        params.no_alloc = True
        params.load_mode = LOAD_PLAIN
    loaded = c.llama_model_load_from_file(os.fsencode(path), params)
    if not loaded:
        raise Refused("load")
    try:
        yield loaded
    finally:
        c.llama_model_free(loaded)


@contextmanager
def context(
    loaded: Any,
    *,
    n_ctx: int,
    n_ubatch: int = 512,
    n_outputs_max: int = 0,
    n_seq_max: int = 1,
    type_k: int = 1,
    type_v: int = 1,
    n_batch: int = 2048,
    kv_unified: bool = False,
    on_node: Any = None,
) -> Iterator[Any]:
    """A context on a loaded model. `n_outputs_max` 0 keeps logits for every token of a batch.
    `on_node` is called for every node of the graph before the node is computed, and again after
    that if the first call returned True (`cb_eval`).
    """
    params = c.llama_context_default_params()
    params.n_ctx, params.n_ubatch, params.n_batch = n_ctx, n_ubatch, max(n_batch, n_ubatch)
    params.n_outputs_max, params.n_seq_max = n_outputs_max, n_seq_max
    params.type_k, params.type_v = type_k, type_v
    params.swa_full, params.kv_unified = False, kv_unified
    params.n_threads = params.n_threads_batch = n_threads()
    if on_node is not None:
        params.cb_eval = ctypes.cast(on_node, ctypes.c_void_p)
    made = c.llama_init_from_model(loaded, params)
    if not made:
        raise Refused("context")
    try:
        yield made
    finally:
        c.llama_free(made)


def tokenize(loaded: Any, text: str, *, special: bool = False) -> list[int]:
    """Token ids of `text`, without a beginning-of-text token; with `special` also control tokens
    written in it.
    """
    raw = text.encode()
    room = len(raw) + 8
    buffer = (capi.Token * room)()
    n = c.llama_tokenize(
        c.llama_model_get_vocab(loaded), raw, len(raw), buffer, room, False, special
    )
    if n < 0:
        raise Refused("tokenize")
    return list(buffer[:n])


def opening(loaded: Any) -> list[int]:
    """The tokens with which every text begins: the beginning-of-text token if the model was trained
    with one, else nothing.
    """
    vocabulary = c.llama_model_get_vocab(loaded)
    return [c.llama_vocab_bos(vocabulary)] if c.llama_vocab_get_add_bos(vocabulary) else []


def n_vocab(loaded: Any) -> int:
    """Columns of the logits."""
    return int(c.llama_vocab_n_tokens(c.llama_model_get_vocab(loaded)))


def forget(ctx: Any) -> None:
    """Empty the context's memory."""
    c.llama_memory_clear(c.llama_get_memory(ctx), True)


# --- exact buffers --------------------------------------------------------------------------------
# `llama_get_memory_breakdown` (llama.cpp, src/llama-ext.h) returns a C++ std::map by value: its
# bytes are read here. Where the symbol is absent (another C++ library), the caller falls back to
# the log's MiB.


def buffers(ctx: Any) -> dict[str, dict[str, int]] | None:
    """Bytes per buffer type: `{"CPU": {"model": …, "context": …, "compute": …}}`; None where this
    build cannot tell.
    """
    if sys.platform != "linux":
        return None
    breakdown = getattr(c, capi.BREAKDOWN, None)
    if breakdown is None:
        return None
    result = breakdown(ctx)
    by_type: dict[str, dict[str, int]] = {}

    def walk(address: int | None) -> None:
        if address:
            node = capi.BreakdownNode.from_address(address)
            walk(node.left)
            name = c.ggml_backend_buft_name(node.buffer_type).decode()
            by_type[name] = {"model": node.model, "context": node.context, "compute": node.compute}
            walk(node.right)

    walk(result.root)
    return by_type if len(by_type) == result.count else None
