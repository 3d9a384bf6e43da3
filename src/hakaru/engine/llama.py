"""llama.cpp through its C API. Only the child process imports this module: ggml may abort, and then only the child dies.

Thin on purpose: a loaded model, a context, tokens in, logits out, and the exact bytes of every buffer.
"""

import ctypes
import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from hakaru.hardware.threads import n_threads


def _binding() -> Any:
    """The binding's ctypes half, without the package's own start, which would import ten times as much (0.3 s for every
    child).
    """
    spec = importlib.util.find_spec("llama_cpp")
    if spec is None or spec.submodule_search_locations is None:
        raise ImportError("llama_cpp")
    package = ModuleType("llama_cpp")
    package.__path__ = list(spec.submodule_search_locations)
    sys.modules["llama_cpp"] = package
    return importlib.import_module("llama_cpp.llama_cpp")


c = _binding()
LOAD_PLAIN: Final = 0  # llama.h: LLAMA_LOAD_MODE_NONE, no memory map
log_lines: list[str] = []
_partial_line = ""


@c.llama_log_callback  # type: ignore[untyped-decorator]  # the binding is loaded at run time
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
    """The model at this path gives logits that are not numbers, or this tensor of it holds weights that are none."""

    def __init__(self, path: str, tensor: str | None = None) -> None:
        super().__init__(path)
        self.path, self.tensor = path, tensor


class Refused(Exception):
    """llama.cpp returned an error for what was asked."""


@contextmanager
def model(path: Path, *, no_alloc: bool = False, use_extra_bufts: bool = True) -> Iterator[Any]:
    """A loaded model; with `no_alloc` only laid out, so that a header followed by a hole is enough. Without
    `use_extra_bufts` no weight is packed for faster kernels.
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
    """A context on a loaded model. `n_outputs_max` 0 keeps logits for every token of a batch. `on_node` is shown every node
    of the graph before it is computed, and after it if it says so (`cb_eval`).
    """
    params = c.llama_context_default_params()
    params.n_ctx, params.n_ubatch, params.n_batch = n_ctx, n_ubatch, max(n_batch, n_ubatch)
    params.n_outputs_max, params.n_seq_max = n_outputs_max, n_seq_max
    params.type_k, params.type_v = type_k, type_v
    params.swa_full, params.kv_unified = False, kv_unified
    params.n_threads = params.n_threads_batch = n_threads()
    if on_node is not None:
        params.cb_eval = ctypes.cast(on_node, type(params.cb_eval))
    made = c.llama_init_from_model(loaded, params)
    if not made:
        raise Refused("context")
    try:
        yield made
    finally:
        c.llama_free(made)


def tokenize(loaded: Any, text: str, *, special: bool = False) -> list[int]:
    """Token ids of `text`, without a beginning-of-text token; with `special` also control tokens written in it."""
    raw = text.encode()
    room = len(raw) + 8
    buffer = (c.llama_token * room)()
    n = c.llama_tokenize(c.llama_model_get_vocab(loaded), raw, len(raw), buffer, room, False, special)
    if n < 0:
        raise Refused("tokenize")
    return list(buffer[:n])


def opening(loaded: Any) -> list[int]:
    """The tokens with which every text begins: the beginning-of-text token if the model was trained with one, else
    nothing.
    """
    vocabulary = c.llama_model_get_vocab(loaded)
    return [c.llama_vocab_bos(vocabulary)] if c.llama_vocab_get_add_bos(vocabulary) else []


def n_vocab(loaded: Any) -> int:
    """Columns of the logits."""
    return int(c.llama_vocab_n_tokens(c.llama_model_get_vocab(loaded)))


def forget(ctx: Any) -> None:
    """Empty the context's memory."""
    c.llama_memory_clear(c.llama_get_memory(ctx), True)


# --- exact buffers -----------------------------------------------------------------------------------------------------------
# `llama_get_memory_breakdown` (llama.cpp, src/llama-ext.h) returns a C++ std::map by value. Its bytes are read here by the layout
# of libstdc++'s red-black tree, which is part of that library's stable ABI. Where the symbol is absent (another C++ library), the
# caller falls back to the log's MiB.


class _Node(ctypes.Structure):
    _fields_ = (
        ("color", ctypes.c_int), ("parent", ctypes.c_void_p), ("left", ctypes.c_void_p), ("right", ctypes.c_void_p),
        ("buffer_type", ctypes.c_void_p), ("model", ctypes.c_size_t), ("context", ctypes.c_size_t), ("compute", ctypes.c_size_t),
    )  # fmt: skip


class _Map(ctypes.Structure):
    _fields_ = (
        ("compare", ctypes.c_void_p), ("color", ctypes.c_int), ("root", ctypes.c_void_p), ("leftmost", ctypes.c_void_p),
        ("rightmost", ctypes.c_void_p), ("count", ctypes.c_size_t),
    )  # fmt: skip


def buffers(ctx: Any) -> dict[str, dict[str, int]] | None:
    """Bytes per buffer type: `{"CPU": {"model": …, "context": …, "compute": …}}`; None where this build cannot tell."""
    if sys.platform != "linux":
        return None
    try:
        breakdown = c._lib["_Z26llama_get_memory_breakdownPK13llama_context"]
    except AttributeError:
        return None
    breakdown.restype, breakdown.argtypes = _Map, [ctypes.c_void_p]
    base = ggml_base()
    base.ggml_backend_buft_name.restype, base.ggml_backend_buft_name.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    result = breakdown(ctx)
    found: dict[str, dict[str, int]] = {}

    def walk(address: int | None) -> None:
        if address:
            node = _Node.from_address(address)
            walk(node.left)
            name = base.ggml_backend_buft_name(node.buffer_type).decode()
            found[name] = {"model": node.model, "context": node.context, "compute": node.compute}
            walk(node.right)

    walk(result.root)
    return found if len(found) == result.count else None


def ggml_base() -> ctypes.CDLL:
    """The library that holds ggml's own functions, as the binding installed it."""
    return ctypes.CDLL(str(_libraries("libggml-base.*")[0]))


def ggml_cpu() -> ctypes.CDLL | None:
    """The library that holds ggml's functions for this processor; None where a build has several or none of that name."""
    found = _libraries("libggml-cpu.*")
    return ctypes.CDLL(str(found[0])) if found else None


def _libraries(pattern: str) -> list[Path]:
    return sorted((Path(c.__file__).parent / "lib").glob(pattern))
