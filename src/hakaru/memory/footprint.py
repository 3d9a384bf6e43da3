"""What a model needs, part by part: weights, KV cache, compute buffers, output, and the process.

Pure arithmetic from the shape and the tensor table. Weights, KV cache and the processor's compute
buffer equal llama.cpp's dry run to the byte for every architecture whose record has a graph; for
another architecture `compute` gives None, and the dry run answers. The process is assumed. How far
the figures are off, also on devices: docs/memory.md. What comes with use: `growth`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from hakaru.errors import Misuse
from hakaru.formats.gguf import Tensor
from hakaru.formats.quant_types import BY_NAME
from hakaru.memory.compute import compute_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import buffer_bytes
from hakaru.models.caches import LayerCache
from hakaru.models.shape import Shape
from hakaru.units import Source

PROCESS_BYTES: Final = 34 * 2**20
PROCESS_BYTES_PER_TOKEN: Final = 384  # the vocabulary's texts and tables, per entry
GRAPH_BYTES_PER_NODE: Final = (
    3 * 423
)  # two graphs in use and the reserved one: a tensor's header, two lists, a hash table


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBuffers:
    """What the engine puts on one accelerator, by its name for it (CUDA0), in bytes."""

    name: str
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Footprint:
    """Bytes that a model needs at given settings, by part, and how we know.

    `accelerators` are the parts of the sum that the engine puts there, in its order; none on a
    build or a machine without.
    """

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    output_bytes: int
    source: Source
    overhead_bytes: int = 0
    accelerators: tuple[DeviceBuffers, ...] = ()

    @property
    def accelerator_bytes(self) -> int:
        """How much of the sum lies on accelerators."""
        return sum(d.weights_bytes + d.kv_cache_bytes + d.compute_bytes for d in self.accelerators)

    @property
    def total_bytes(self) -> int:
        """The sum of the parts."""
        return (
            self.weights_bytes
            + self.kv_cache_bytes
            + self.compute_bytes
            + self.output_bytes
            + self.overhead_bytes
        )

    def parts(self) -> dict[str, int]:
        """The parts by name, as they stand in `--json`."""
        return {
            "weights_bytes": self.weights_bytes,
            "kv_cache_bytes": self.kv_cache_bytes,
            "compute_bytes": self.compute_bytes,
            "output_bytes": self.output_bytes,
            "overhead_bytes": self.overhead_bytes,
        }


def compute_footprint(
    shape: Shape, tensors: Iterable[Tensor], settings: ContextSettings
) -> Footprint | None:
    """The footprint by arithmetic, or None for an architecture that we do not model (ask the dry
    run).
    """
    compute = compute_bytes(shape, settings)
    if shape.caches is None or compute is None:
        return None
    return Footprint(
        weights_bytes=buffer_bytes(tensors),
        kv_cache_bytes=kv_cache_bytes(shape, settings),
        compute_bytes=compute,
        output_bytes=output_bytes(shape, settings),
        overhead_bytes=overhead_bytes(shape, settings),
        source="computed",
    )


def layer_cache_bytes(cache: LayerCache, settings: ContextSettings) -> int:
    """Bytes that one layer keeps for all conversations: K and V for every cell, and a state that
    does not grow.

    A layer with a window keeps the window and one micro-batch. States are F32. Raises Misuse if the
    cache type's blocks do not divide a head, which llama.cpp refuses as well. Source: llama.cpp,
    src/llama-kv-cache*.cpp and src/llama-memory-recurrent.cpp.
    """
    n_streams = 1 if settings.kv_unified else settings.n_parallel
    row = row_bytes(settings.type_k, cache.k, cache.n_embd_head_k) + row_bytes(
        settings.type_v, cache.v, cache.n_embd_head_v
    )
    return row * cells_of(cache, settings) * n_streams + 4 * cache.state * settings.n_parallel


def cells_of(cache: LayerCache, settings: ContextSettings) -> int:
    """Cells that a layer keeps per pool: all, or what its window needs."""
    return settings.n_cells if cache.window is None else settings.window_cells(cache.window)


def kv_cache_bytes(shape: Shape, settings: ContextSettings) -> int:
    """Bytes that all layers keep. The shape must be modelled."""
    return sum(layer_cache_bytes(cache, settings) for cache in shape.caches or ())


def row_bytes(name: str, n: int, head: int) -> int:
    """Bytes of one cell's row of `n` elements in heads of `head`."""
    type_ = BY_NAME[name.upper()]
    if n and head % type_.block:
        raise Misuse(
            "the cache type {type} stores blocks of {block}, but this model's heads have {n} "
            "elements; choose f16.",
            type=name,
            block=type_.block,
            n=head,
        )
    return type_.row_bytes(n)


def overhead_bytes(shape: Shape, settings: ContextSettings) -> int:
    """Bytes that the server's process takes beside the engine's buffers: assumed, from what was
    measured on Linux.

    Seen: 27 to 51 MiB over the buffers for vocabularies of 512 to 128,256 tokens.
    """
    return (
        PROCESS_BYTES
        + PROCESS_BYTES_PER_TOKEN * shape.n_vocab
        + graph_records_bytes(shape, settings)
    )


def graph_records_bytes(shape: Shape, settings: ContextSettings) -> int:
    """Bytes of the records of graphs, for architectures whose graph may have nodes for every token
    of a micro-batch. A part of the process; those of other architectures are small and lie in
    PROCESS_BYTES.
    """
    return GRAPH_BYTES_PER_NODE * shape.record.graph_nodes_per_token * settings.n_tokens


def output_bytes(shape: Shape, settings: ContextSettings) -> int:
    """Bytes of the host buffer that logits are copied to: one F32 row per conversation."""
    return 4 * shape.n_vocab * settings.n_parallel
