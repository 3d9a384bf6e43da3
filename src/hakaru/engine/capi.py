"""llama.cpp's C interface, declared for exactly one version: structs, functions, and the library
that holds them.

The engine is one file, the shared object of the `xllamacpp` wheel, or a folder with the libraries
of a native build. Both are read by ctypes: importing the Python module of the wheel would take
longer than most calls last. A struct that is declared wrongly would give wrong figures in silence,
so `opened` refuses a library of another version, and one whose default parameters are not those
written down here.

Left out: every function that hakaru does not call. Only the child process opens a library. Source:
llama.cpp, include/llama.h, src/llama-ext.h, ggml/include/*.h, as they stand in the pinned version.
"""

import importlib.util
import json
import os
from collections.abc import Mapping, Sequence
from ctypes import (
    CDLL,
    CFUNCTYPE,
    POINTER,
    Structure,
    c_bool,
    c_char,
    c_char_p,
    c_float,
    c_int,
    c_int8,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_uint64,
    c_void_p,
)
from pathlib import Path
from typing import Any, Final

PINNED: Final = "2026.10.11549"
"""The version of xllamacpp whose headers are declared here."""
LIBRARY: Final = "HAKARU_ENGINE_LIBRARY"
"""The environment variable that names another library: a shared object, or the folder of a native
build.
"""
STAMP: Final = "engine.json"
"""The file in the folder of a native build that says, in `version`, which xllamacpp its sources are
from.
"""
NATIVE: Final = ("libllama", "libggml", "libggml-base", "libggml-cpu")
"""The libraries of a native build, without the ending."""

Token = c_int32
LogCallback = CFUNCTYPE(None, c_int, c_char_p, c_void_p)
EvalCallback = CFUNCTYPE(c_bool, c_void_p, c_bool, c_void_p)
ToFloat = CFUNCTYPE(None, c_void_p, c_void_p, c_int64)


class UnknownBuildError(Exception):
    """The library is not the one that is declared here: `args` are what was expected and what was
    found.
    """


class ModelParams(Structure):
    """struct llama_model_params."""

    _fields_ = (
        ("devices", c_void_p), ("tensor_buft_overrides", c_void_p), ("n_gpu_layers", c_int32),
        ("split_mode", c_int), ("load_mode", c_int), ("lazy_mode", c_int), ("main_gpu", c_int32),
        ("tensor_split", c_void_p), ("progress_callback", c_void_p),
        ("progress_callback_user_data", c_void_p), ("kv_overrides", c_void_p),
        ("vocab_only", c_bool), ("check_tensors", c_bool), ("use_extra_bufts", c_bool),
        ("no_host", c_bool), ("no_alloc", c_bool), ("load_mtp", c_bool),
    )  # fmt: skip


class ContextParams(Structure):
    """struct llama_context_params."""

    _fields_ = (
        ("n_ctx", c_uint32), ("n_batch", c_uint32), ("n_ubatch", c_uint32), ("n_seq_max", c_uint32),
        ("n_rs_seq", c_uint32), ("n_outputs_max", c_uint32), ("n_outputs_max_per_seq", c_uint32),
        ("n_threads", c_int32), ("n_threads_batch", c_int32), ("ctx_type", c_int),
        ("rope_scaling_type", c_int), ("pooling_type", c_int), ("attention_type", c_int),
        ("flash_attn_type", c_int), ("rope_freq_base", c_float), ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float), ("yarn_attn_factor", c_float), ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float), ("yarn_orig_ctx", c_uint32), ("defrag_thold", c_float),
        ("cb_eval", c_void_p), ("cb_eval_user_data", c_void_p), ("type_k", c_int),
        ("type_v", c_int), ("moe_cache_size", c_size_t), ("abort_callback", c_void_p),
        ("abort_callback_data", c_void_p), ("embeddings", c_bool), ("offload_kqv", c_bool),
        ("no_perf", c_bool), ("op_offload", c_bool), ("swa_full", c_bool), ("kv_unified", c_bool),
        ("samplers", c_void_p), ("n_samplers", c_size_t), ("ctx_other", c_void_p),
    )  # fmt: skip


class Batch(Structure):
    """struct llama_batch."""

    _fields_ = (
        ("n_tokens", c_int32), ("token", POINTER(Token)), ("embd", POINTER(c_float)),
        ("pos", POINTER(c_int32)), ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))), ("logits", POINTER(c_int8)),
    )  # fmt: skip


class ChatMessage(Structure):
    """struct llama_chat_message."""

    _fields_ = (("role", c_char_p), ("content", c_char_p))


class GgmlTensor(Structure):
    """struct ggml_tensor, as far as it is read here."""

    _fields_ = (
        ("type", c_int), ("buffer", c_void_p), ("ne", c_int64 * 4), ("nb", c_size_t * 4),
        ("op", c_int), ("op_params", c_int32 * 16), ("flags", c_int32), ("src", c_void_p * 10),
        ("view_src", c_void_p), ("view_offs", c_size_t), ("data", c_void_p), ("name", c_char * 64),
    )  # fmt: skip


class TypeTraits(Structure):
    """struct ggml_type_traits."""

    _fields_ = (
        ("type_name", c_char_p), ("blck_size", c_int64), ("blck_size_interleave", c_int64),
        ("type_size", c_size_t), ("is_quantized", c_bool), ("to_float", ToFloat),
        ("from_float_ref", c_void_p),
    )  # fmt: skip


class BreakdownNode(Structure):
    """A node of the std::map that `llama_get_memory_breakdown` gives back, by the layout of
    libstdc++'s red-black tree.
    """

    _fields_ = (
        ("color", c_int), ("parent", c_void_p), ("left", c_void_p), ("right", c_void_p),
        ("buffer_type", c_void_p), ("model", c_size_t), ("context", c_size_t),
        ("compute", c_size_t),
    )  # fmt: skip


class Breakdown(Structure):
    """The head of that std::map. The layout is part of libstdc++'s stable interface."""

    _fields_ = (
        ("compare", c_void_p), ("color", c_int), ("root", c_void_p), ("leftmost", c_void_p),
        ("rightmost", c_void_p), ("count", c_size_t),
    )  # fmt: skip


BREAKDOWN: Final = "_Z26llama_get_memory_breakdownPK13llama_context"
_WIDEN: Final = (None, (c_void_p, c_void_p, c_int64))
FUNCTIONS: Final[Mapping[str, tuple[Any, tuple[Any, ...]]]] = {
    "llama_log_set": (None, (LogCallback, c_void_p)),
    "llama_backend_init": (None, ()),
    "llama_model_default_params": (ModelParams, ()),
    "llama_context_default_params": (ContextParams, ()),
    "llama_model_load_from_file": (c_void_p, (c_char_p, ModelParams)),
    "llama_model_free": (None, (c_void_p,)),
    "llama_model_size": (c_uint64, (c_void_p,)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_model_chat_template": (c_char_p, (c_void_p, c_char_p)),
    "llama_chat_apply_template": (c_int32,
        (c_char_p, POINTER(ChatMessage), c_size_t, c_bool, c_char_p, c_int32)),
    "llama_init_from_model": (c_void_p, (c_void_p, ContextParams)),
    "llama_free": (None, (c_void_p,)),
    "llama_get_model": (c_void_p, (c_void_p,)),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_memory_clear": (None, (c_void_p, c_bool)),
    "llama_batch_init": (Batch, (c_int32, c_int32, c_int32)),
    "llama_batch_get_one": (Batch, (POINTER(Token), c_int32)),
    "llama_decode": (c_int32, (c_void_p, Batch)),
    "llama_get_logits": (POINTER(c_float), (c_void_p,)),
    "llama_tokenize": (c_int32,
        (c_void_p, c_char_p, c_int32, POINTER(Token), c_int32, c_bool, c_bool)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    "llama_vocab_bos": (Token, (c_void_p,)),
    "llama_vocab_get_add_bos": (c_bool, (c_void_p,)),
    "llama_vocab_is_eog": (c_bool, (c_void_p, Token)),
    BREAKDOWN: (Breakdown, (c_void_p,)),
    "ggml_get_type_traits": (POINTER(TypeTraits), (c_int,)),
    "ggml_op_name": (c_char_p, (c_int,)),
    "ggml_quantize_chunk": (c_size_t,
        (c_int, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p)),
    "ggml_quantize_requires_imatrix": (c_bool, (c_int,)),
    "ggml_validate_row_data": (c_bool, (c_int, c_void_p, c_size_t)),
    "ggml_cpu_fp16_to_fp32": _WIDEN,
    "ggml_cpu_bf16_to_fp32": _WIDEN,
    "ggml_vec_dot_f32": (
        None, (c_int, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p, c_size_t, c_int),
    ),
    "ggml_backend_buft_name": (c_char_p, (c_void_p,)),
    "ggml_backend_buft_get_alloc_size": (c_size_t, (c_void_p, c_void_p)),
    "ggml_backend_buft_alloc_buffer": (c_void_p, (c_void_p, c_size_t)),
    "ggml_backend_buffer_get_type": (c_void_p, (c_void_p,)),
    "ggml_backend_buffer_set_usage": (None, (c_void_p, c_int)),
    "ggml_backend_buffer_get_base": (c_void_p, (c_void_p,)),
    "ggml_backend_buffer_init_tensor": (c_int, (c_void_p, c_void_p)),
    "ggml_backend_buffer_free": (None, (c_void_p,)),
    "ggml_backend_buffer_is_host": (c_bool, (c_void_p,)),
    "ggml_backend_tensor_set": (None, (c_void_p, c_void_p, c_size_t, c_size_t)),
    "ggml_backend_tensor_get": (None, (c_void_p, c_void_p, c_size_t, c_size_t)),
    "ggml_backend_dev_count": (c_size_t, ()),
    "ggml_backend_dev_get": (c_void_p, (c_size_t,)),
    "ggml_backend_dev_name": (c_char_p, (c_void_p,)),
    "ggml_backend_dev_description": (c_char_p, (c_void_p,)),
    "ggml_backend_dev_type": (c_int, (c_void_p,)),
}  # fmt: skip
"""What a function gives back and what it takes, by its symbol."""

DEFAULTS: Final[Mapping[str, Mapping[str, float | None]]] = {
    "llama_model_default_params": {
        "devices": None, "tensor_buft_overrides": None, "n_gpu_layers": -1, "split_mode": 1,
        "load_mode": -1, "lazy_mode": 1, "main_gpu": 0, "tensor_split": None,
        "progress_callback": None, "progress_callback_user_data": None, "kv_overrides": None,
        "vocab_only": False, "check_tensors": False, "use_extra_bufts": True, "no_host": False,
        "no_alloc": False, "load_mtp": False,
    },
    "llama_context_default_params": {
        "n_ctx": 512, "n_batch": 2048, "n_ubatch": 512, "n_seq_max": 1, "n_rs_seq": 0,
        "n_outputs_max": 0, "n_outputs_max_per_seq": 1, "n_threads": 4, "n_threads_batch": 4,
        "ctx_type": 0, "rope_scaling_type": -1, "pooling_type": -1, "attention_type": -1,
        "flash_attn_type": -1, "rope_freq_base": 0.0, "rope_freq_scale": 0.0,
        "yarn_ext_factor": -1.0, "yarn_attn_factor": -1.0, "yarn_beta_fast": -1.0,
        "yarn_beta_slow": -1.0, "yarn_orig_ctx": 0, "defrag_thold": -1.0, "cb_eval": None,
        "cb_eval_user_data": None, "type_k": 1, "type_v": 1, "moe_cache_size": 0,
        "abort_callback": None, "abort_callback_data": None, "embeddings": False,
        "offload_kqv": True, "no_perf": True, "op_offload": True, "swa_full": True,
        "kv_unified": False, "samplers": None, "n_samplers": 0, "ctx_other": None,
    },
}  # fmt: skip
"""The default parameters of the pinned version. A field that has moved shows another value than its
own.
"""


class Library:
    """llama.cpp's functions as attributes, with their signatures: `library.llama_decode(…)`."""

    def __init__(self, parts: Sequence[CDLL]) -> None:
        self._parts = parts  # the shared objects, in the order in which a symbol is looked for

    def __getattr__(self, symbol: str) -> Any:
        """The function of this name. Raises AttributeError for one that is not declared or not
        there.
        """
        if symbol not in FUNCTIONS:
            raise AttributeError(symbol)
        part = next((part for part in self._parts if hasattr(part, symbol)), None)
        if part is None:
            raise AttributeError(symbol)
        function = getattr(part, symbol)
        function.restype, function.argtypes = FUNCTIONS[symbol]
        setattr(self, symbol, function)
        return function


def opened(path: Path | None = None) -> Library:
    """The library at `path`, else the one named by the environment, else the wheel's.

    Raises UnknownBuildError, ImportError where xllamacpp is not installed, and OSError for what is
    no library.
    """
    if path is None:
        path = Path(os.environ[LIBRARY]) if os.environ.get(LIBRARY) else wheel_library()
    if (version := version_of(path)) != PINNED:
        raise UnknownBuildError(f"xllamacpp {PINNED}", version or str(path))
    library = Library([CDLL(str(file)) for file in _files(path)])
    for symbol, expected in DEFAULTS.items():
        if odd := difference(expected, getattr(library, symbol)()):
            raise UnknownBuildError(*odd)
    return library


def wheel_library() -> Path:
    """The shared object of the installed wheel. Raises ImportError."""
    spec = importlib.util.find_spec("xllamacpp")  # finds the package without running it
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in sorted(Path(folder).glob("xllamacpp*.so")):
            return file
    raise ImportError("xllamacpp")


def version_of(path: Path) -> str | None:
    """The version of xllamacpp that a library belongs to, without the part for its GPU; None where
    nothing says it.

    Example: the wheel `2026.10.11549+cu128` -> `2026.10.11549`. A wheel's version stands in the
    name of its folder of metadata, which is read in a hundredth of the time that
    `importlib.metadata` takes.
    """
    if path.is_dir():
        try:
            stamp = json.loads((path / STAMP).read_text(encoding="utf-8"))
            return str(stamp["version"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
    folders = sorted(path.parent.parent.glob("xllamacpp-*.dist-info"))
    return (
        folders[0].name.removesuffix(".dist-info").split("-")[1].partition("+")[0]
        if len(folders) == 1
        else None
    )


def difference(expected: Mapping[str, float | None], found: Structure) -> tuple[str, str] | None:
    """The first field whose value is not the expected one, as two texts such as `n_ctx = 512` and
    `n_ctx = 0`.
    """
    for field, value in expected.items():
        if getattr(found, field) != value:
            return f"{field} = {value}", f"{field} = {getattr(found, field)}"
    return None


def _files(path: Path) -> list[Path]:
    """The shared objects at `path`: itself, or those of the folder of a native build."""
    if not path.is_dir():
        return [path]
    files = [path / f"{name}{ending}" for name in NATIVE for ending in (".so", ".dylib")]
    return [file for file in files if file.exists()]
