"""The bytes that flash attention needs on an accelerator beside its result: copies of one layer's
keys and values in F16.

The kernels of CUDA, HIP and SYCL read keys and values in F16, so all cells of a cache of another
type are converted before each layer's attention. Metal's kernels reserve the copies whatever the
type, and room for partial results. The copies lie behind the attention's result in the compute
buffer and are reserved at start, for the longest context. The processor and Vulkan's kernels
convert nothing. For some lengths of heads a backend has no kernel; then the scores of all heads lie
in the buffer (`blocks.attend`). Left out: CUDA's micro-batches of one or two tokens, which read
most types as they are, and Metal's summary of the mask, a byte per 512 elements of the mask.

Source: llama.cpp (pinned in constraints.txt), ggml/src/ggml-cuda/fattn.cu
(ggml_cuda_flash_attn_ext_get_alloc_size), ggml/src/ggml-metal/ggml-metal-ops.cpp
(ggml_metal_op_flash_attn_ext_extra_*), ggml/src/ggml-sycl/fattn.cpp (ggml_sycl_fattn_get_extra).
"""

from typing import Final, Literal, TypeAlias

from msgspec import Struct

from hakaru.memory.graph import Size

Backend: TypeAlias = Literal["cpu", "vulkan", "cuda", "sycl", "metal"]
"""The part of ggml that runs a device. HIP is CUDA's code, so `cuda` stands for both."""

METAL_PARTS: Final = 32
"""Workgroups whose partial results Metal keeps, and the most queries for which Metal keeps them."""
METAL_TILE: Final = 64  # cells at the cache's end that are copied, to be padded


class Attention(Struct, frozen=True, kw_only=True):
    """One layer's attention."""

    k: int  # elements of one cell's keys
    v: int  # elements of one cell's values; 0 where values are a part of the keys, as in MLA
    n_head: int  # of the queries
    n_embd_head_v: int  # elements of a result
    cells: str  # the letter for the cells of one pool (see `graph`)


CUDA_HEADS: Final = frozenset({40, 64, 72, 80, 96, 112, 128, 256})
"""Lengths of a head for which CUDA, HIP and SYCL have kernels, keys and values alike."""
CUDA_PAIRS: Final = {(192, 128): 8, (320, 256): 32, (512, 512): 2, (576, 512): 2}
"""For these lengths of keys and values, CUDA, HIP and SYCL have kernels if a KV head has a multiple
of this number of query heads. Where the number is 2, any number from 2 on will do.
"""
METAL_HEADS: Final = frozenset({32, 40, 48, 64, 72, 80, 96, 112, 128, 192, 256, 320, 512, 576})
METAL_PAIRS: Final = frozenset({(96, 64), (128, 96), (192, 128), (320, 256), (576, 512)})


def has_kernel(backend: Backend, heads: tuple[int, int, int], *, type_k: str, type_v: str) -> bool:
    """True if the backend has a flash attention kernel for `heads`: the lengths of keys and of
    values, and the query heads of a KV head.

    Without a kernel for one layer, llama.cpp turns flash attention off for the whole model.
    """
    k, v, shared = heads
    if backend in {"cuda", "sycl"}:
        by = CUDA_PAIRS.get((k, v))
        fits = shared >= 2 if by == 2 else by is not None and shared % by == 0
        return "iq4_nl" not in {type_k, type_v} and (fits or (k == v and k in CUDA_HEADS))
    if backend == "metal":
        return (
            type_k == type_v != "iq4_nl" and k in METAL_HEADS and (k == v or (k, v) in METAL_PAIRS)
        )
    return True


def makes_copies(backend: Backend, type_k: str, type_v: str) -> bool:
    """True if `scratch` is not empty for this backend and these types."""
    return backend in {"metal", "sycl"} or (
        backend == "cuda" and (type_k, type_v) != ("f16", "f16")
    )


def scratch(backend: Backend, attention: Attention, *, k_is_f16: bool, v_is_f16: bool) -> Size:
    """Bytes behind the attention's result, as a size by the letters of `graph`; empty where the
    kernels read the cache as it is.
    """
    k, v, every_cell = attention.k, attention.v, attention.cells + "N"
    n_head, n_embd_head_v = attention.n_head, attention.n_embd_head_v
    if backend in {"cpu", "vulkan"}:
        return ()
    if backend == "metal":
        partial = 4 * n_head * METAL_PARTS * (n_embd_head_v + 2)
        tail = (2 * METAL_TILE * (k + v), "N"), (2 * METAL_TILE, "T")
        return ((2 * (k + v), every_cell), (METAL_PARTS * partial, "N"), *tail)
    for_one_dnn = backend == "sycl" and v > 0  # oneDNN: queries and result are in F16, too
    queries = ((4 * n_head * n_embd_head_v, "T"),) if for_one_dnn else ()
    keys = () if k_is_f16 else ((2 * k, every_cell),)
    values = () if v_is_f16 or not v else ((2 * v, every_cell),)
    return (*queries, *keys, *values)
