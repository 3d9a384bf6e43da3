"""The child that asks the server's build of llama.cpp what a projector (mmproj) would take, without
loading its weights.

`python -m hakaru.engine.projector_child FILE` prints one JSON object: `total_bytes` of weights and
compute, and `image_max_tokens` (-1 for audio); or nothing, where this build cannot be asked or
refuses the file.

The function is C++ (`mtmd_get_memory_usage`) and gives back a struct with a `std::map` from devices
to bytes: a red-black tree, whose head and nodes are read here by their places in the GNU and LLVM
libraries' layout on 64 bits. The pinned build is told by its version; another one is not asked.
"""

import ctypes
import json
import sys
from typing import Final

from hakaru.engine.capi import PINNED, version_of, wheel_library
from hakaru.engine.orphan import die_with_parent

SYMBOL: Final = "_Z21mtmd_get_memory_usagePKc19mtmd_context_params"
HEAD_LEFTMOST, HEAD_COUNT, AFTER_MAP = 3, 5, 6
"""Words of 8 bytes in the result: the tree's leftmost node, how many nodes it has, and what stands
behind the map.
"""
NODE_VALUE = 5
"""The word of a node that holds the bytes; only the processor is asked, so there is one node."""


class ContextParams(ctypes.Structure):
    """mtmd_context_params, tools/mtmd/mtmd.h."""

    _fields_ = (
        ("use_gpu", ctypes.c_bool), ("device", ctypes.c_void_p), ("print_timings", ctypes.c_bool),
        ("n_threads", ctypes.c_int), ("image_marker", ctypes.c_char_p),
        ("media_marker", ctypes.c_char_p), ("flash_attn_type", ctypes.c_int),
        ("warmup", ctypes.c_bool), ("image_min_tokens", ctypes.c_int),
        ("image_max_tokens", ctypes.c_int), ("cb_eval", ctypes.c_void_p),
        ("cb_eval_user_data", ctypes.c_void_p), ("batch_max_tokens", ctypes.c_int32),
        ("progress_callback", ctypes.c_void_p), ("progress_callback_user_data", ctypes.c_void_p),
    )  # fmt: skip


class MemoryUsage(ctypes.Structure):
    """mtmd_memory_usage: a std::map of 48 bytes, an int and a bool, and room behind them."""

    _fields_ = (("words", ctypes.c_uint64 * 16),)


def ask(path: str) -> dict[str, int] | None:
    """What the engine says; None where it is another build or refuses the file."""
    library = wheel_library()
    if version_of(library) != PINNED or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    engine = ctypes.CDLL(str(library))
    engine.mtmd_context_params_default.restype = ContextParams
    usage = engine[SYMBOL]
    usage.argtypes, usage.restype = (ctypes.c_char_p, ContextParams), MemoryUsage
    params = engine.mtmd_context_params_default()
    # the defaults of the pinned build, read back
    if params.n_threads != 4 or params.batch_max_tokens != 1024:
        return None
    params.use_gpu = False
    words = usage(path.encode(), params).words
    if words[HEAD_COUNT] != 1:
        return None
    node = (ctypes.c_uint64 * 6).from_address(words[HEAD_LEFTMOST])
    return {
        "total_bytes": node[NODE_VALUE],
        "image_max_tokens": ctypes.c_int32(words[AFTER_MAP] & 0xFFFFFFFF).value,
    }


def main() -> None:
    """Answer once."""
    die_with_parent()
    if answer := ask(sys.argv[1]):
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
