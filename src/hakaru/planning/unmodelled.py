"""A model whose graph hakaru does not know, placed all the same: by its tensor table and the
engine's dry run. Pure.

The table names the layer of every tensor, so the weights of each device are exact. The dry run
knows the caches and the compute buffer of the whole model on the processor. What it does not tell
is assumed, on the safe side:

- every layer with attention keeps a part of the cache in proportion to its keys and values; where
  that is less than all tokens would take, some layers see only a window, nobody knows which, and
  every device may have one more of the others than its part;
- every device needs the compute buffer that the processor needs, and what `compute_of` adds.

How safe: docs/memory.md, where the assumption is held against the arithmetic of the architectures
that hakaru does know.
"""

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Final

from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.formats.quant_types import BY_NAME
from hakaru.memory.allocator import bytes_of
from hakaru.memory.compute import PIPELINE_COPIES, DeviceCompute
from hakaru.memory.flash_attention import Attention, Backend, has_kernel, scratch
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.shape import Shape
from hakaru.planning.load import Load

DEVICE_MARGIN: Final = 1.05
"""A device's buffer over the processor's: at most 1.03 for 51 architectures, one device, all
layers.
"""
CROSSING_ROWS: Final = 12
"""Rows of n_embd per token that a cut between devices adds to a buffer: at most 11 where no layer
has a recurrent state.
"""
CROSSING_ROWS_RECURRENT: Final = 32
"""CROSSING_ROWS where layers have a recurrent state: at most 31."""
MASK_BYTES: Final = 2
"""Bytes per cell and token of the attention mask, with flash attention. Source: llama.cpp,
src/llama-graph.cpp.
"""
NEARLY: Final = 0.98
"""A cache of so much of what all tokens take is taken to hold all tokens."""
MOST_TRIES: Final = 6
"""Dry runs that a search for the longest context takes at most, beside the two at its ends."""


def spread(total_bytes: int, widths: Sequence[int]) -> tuple[int, ...]:
    """`total_bytes` over layers in proportion to `widths`, or evenly where all are 0. The parts add
    up to `total_bytes`.
    """
    parts = widths if any(widths) else [1] * len(widths)
    edges = [total_bytes * edge // sum(parts) for edge in accumulate(parts)]
    return tuple(edge - before for before, edge in pairwise([0, *edges]))


def uneven_bytes(total_bytes: int, widths: Sequence[int], settings: ContextSettings) -> int:
    """By how much the cache of one layer may exceed its part of `total_bytes`; 0 where
    `total_bytes` is what all tokens take in all layers.
    """
    types = [BY_NAME[name.upper()] for name in settings.cache]
    bytes_per_element = sum(type_.block_bytes / type_.block for type_ in types) / 2
    cells = settings.n_cells * (1 if settings.kv_unified else settings.n_parallel)
    whole = [int(cells * width * bytes_per_element) for width in widths]
    if total_bytes >= NEARLY * sum(whole):
        return 0
    return max(w - part for w, part in zip(whole, spread(total_bytes, widths), strict=True))


def compute_of(
    engine: Footprint,
    load: Load,
    shape: Shape,
    settings: ContextSettings,
    *,
    n_devices: int,
    all_layers: bool,
    backend: Backend,
) -> DeviceCompute:
    """The compute buffers where `n_devices` run the last layers, or all of them: assumed from the
    processor's buffer.

    Several devices that run all layers keep four copies of their inputs, of which the attention
    mask is the largest. What the kernels for attention of `backend` copy is that of the widest
    layer; where it has no kernel, the scores of every head are written down, and llama.cpp does so
    on the processor, too.
    """
    if not n_devices:
        return DeviceCompute(
            host_bytes=engine.compute_bytes, first_bytes=0, middle_bytes=0, last_bytes=0
        )
    flash = _runs_flash_attention(engine, shape, settings, backend)
    scores = 0 if flash else 4 * shape.n_head * settings.n_cells * settings.n_tokens
    whole, masks = engine.compute_bytes + scores, 0
    device = int(whole * DEVICE_MARGIN) + (_copies(load, shape, settings, backend) if flash else 0)
    if n_devices > 1 or not all_layers:
        device += (
            (CROSSING_ROWS_RECURRENT if load.has_states else CROSSING_ROWS)
            * 4
            * shape.n_embd
            * settings.n_tokens
        )
    if n_devices > 1 and all_layers:
        masks = (
            (PIPELINE_COPIES - 1)
            * (MASK_BYTES if flash else 2 * MASK_BYTES)
            * settings.n_cells
            * settings.n_tokens
        )
    return DeviceCompute(
        host_bytes=whole + masks,
        first_bytes=device + masks,
        middle_bytes=device + masks,
        last_bytes=device + masks,
    )


def _runs_flash_attention(
    engine: Footprint, shape: Shape, settings: ContextSettings, backend: Backend
) -> bool:
    """Whether `backend` has a kernel for attention over heads of the lengths that the header
    states.

    Raises Misuse for values in a type that needs one where it has none: llama.cpp refuses them.
    """
    heads_kv = [n for n in shape.n_head_kv if n]
    if not heads_kv or not shape.n_head:
        return True
    heads = shape.n_embd_head_k, shape.n_embd_head_v, shape.n_head // max(heads_kv)
    has_one = has_kernel(backend, heads, type_k=settings.type_k, type_v=settings.type_v)
    if not has_one and engine.kv_cache_bytes and BY_NAME[settings.type_v.upper()].block > 1:
        raise Misuse(
            "the cache type {type} for values needs flash attention, and {backend} has no kernel "
            "for it (heads of {k} and {v}, keys in {type_k}); choose f16.",
            type=settings.type_v,
            type_k=settings.type_k,
            backend=backend,
            k=heads[0],
            v=heads[1],
        )
    return has_one


def _copies(load: Load, shape: Shape, settings: ContextSettings, backend: Backend) -> int:
    """Bytes of the copies of one layer's keys and values that the kernels of `backend` make."""
    half = -(-max(load.kv_widths, default=0) // 2)
    heads = Attention(
        k=half, v=half, n_head=shape.n_head, n_embd_head_v=shape.n_embd_head_v, cells="C"
    )
    size = scratch(
        backend, heads, k_is_f16=settings.type_k == "f16", v_is_f16=settings.type_v == "f16"
    )
    n_pools = 1 if settings.kv_unified else settings.n_parallel
    return (
        bytes_of(size, {"C": settings.n_cells, "N": n_pools, "T": settings.n_tokens}) if half else 0
    )


def longest_context(
    ask: Callable[[int], Footprint], fits: Callable[[int, Footprint], bool], *, most: int
) -> int:
    """The longest context, a multiple of 256 up to `most`, that `fits`; 0 if not even 256 tokens
    do.

    `ask` is a dry run at a context. A cache grows in a straight line, or in one with a bend (a
    window that is full), so few dry runs are enough: one at each end, then one where the line
    between those known says that the room ends, again and again. What is returned was itself
    dry-run, so it never promises more than the engine says.
    """
    high = max(1, most // 256)
    dry_runs: dict[int, Footprint] = {}  # by 256 tokens of context

    def at(steps: int) -> Footprint:
        if steps not in dry_runs:
            dry_runs[steps] = ask(256 * steps)
        return dry_runs[steps]

    if not fits(256, at(1)):
        return 0
    if high == 1 or fits(256 * high, at(high)):
        return 256 * high
    low = 1
    for _ in range(MOST_TRIES):
        left, right = low, high
        while right - left > 1:
            middle = (left + right) // 2
            if fits(256 * middle, _between(dry_runs, middle)):
                left = middle
            else:
                right = middle
        if left == low:
            break
        if fits(256 * left, at(left)):
            low = left
        else:
            high = left
    return 256 * low


def _between(dry_runs: dict[int, Footprint], steps: int) -> Footprint:
    """The footprint on the straight line between the nearest two dry runs."""
    left, right = max(n for n in dry_runs if n <= steps), min(n for n in dry_runs if n >= steps)
    if left == right:
        return dry_runs[left]
    part = (steps - left) / (right - left)

    def value(name: str) -> int:
        low, high = getattr(dry_runs[left], name), getattr(dry_runs[right], name)
        return int(low + part * (high - low))

    return replace(
        dry_runs[left],
        kv_cache_bytes=value("kv_cache_bytes"),
        compute_bytes=value("compute_bytes"),
        output_bytes=value("output_bytes"),
        accelerators=(),
    )
