"""What a model needs, part by part: weights, KV cache, compute buffers, output, and the process.

Pure arithmetic from the shape and the tensor table. Weights, KV cache and the processor's compute
buffer equal llama.cpp's dry run to the byte for every architecture whose record has a graph; for
another architecture `compute` gives None, and only the dry run can tell. The process is assumed.
How far the figures are off, also on devices: docs/memory.md. What comes with use: `growth`.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.formats.gguf import Tensor
from hakaru.formats.quant_types import BY_NAME
from hakaru.memory.compute import check_graph, compute_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import buffer_bytes
from hakaru.models.caches import LayerCache
from hakaru.models.shape import Shape
from hakaru.units import Source

PROCESS_BYTES: Final = 34 * 2**20
PROCESS_BYTES_PER_TOKEN: Final = 384  # the vocabulary's texts and tables, per entry
GRAPH_BYTES_PER_NODE: Final = 3 * 423
"""A tensor's header, two lists and a hash table, in two graphs in use and the reserved one."""


class DeviceBuffers(Struct, frozen=True, kw_only=True):
    """The buffers that the engine puts on one accelerator."""

    name: str  # the engine's, such as CUDA0
    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int


class Footprint(Struct, frozen=True, kw_only=True):
    """Bytes that a model needs at given settings, by part."""

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    output_bytes: int
    source: Source  # of the figures, such as "computed" or "dry_run"
    overhead_bytes: int = 0  # of the process
    accelerators: tuple[DeviceBuffers, ...] = ()
    """What of all these the engine puts on each accelerator, in the engine's order."""

    @property
    def accelerator_bytes(self) -> int:
        """Bytes of the sum that lie on accelerators."""
        return sum(d.weights_bytes + d.kv_cache_bytes + d.compute_bytes for d in self.accelerators)

    @property
    def total_bytes(self) -> int:
        """The sum of the parts."""
        return sum(self.parts().values())

    def parts(self) -> dict[str, int]:
        """The parts by name, as they stand in `--json`."""
        return {
            "weights_bytes": self.weights_bytes,
            "kv_cache_bytes": self.kv_cache_bytes,
            "compute_bytes": self.compute_bytes,
            "output_bytes": self.output_bytes,
            "overhead_bytes": self.overhead_bytes,
        }

    def as_json(self) -> dict[str, int]:
        """The parts and their sum."""
        return self.parts() | {"total_bytes": self.total_bytes}


def compute_footprint(
    shape: Shape, tensors: Iterable[Tensor], settings: ContextSettings
) -> Footprint | None:
    """The footprint by arithmetic, or None for an architecture without a known graph."""
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
    """Bytes that one layer keeps for all conversations: keys, values and the indexer's keys for
    every cell, and a state that does not grow.

    A layer with a window keeps the window and one micro-batch. States are F32. Raises Misuse if the
    cache type's blocks do not divide a head, which llama.cpp refuses as well. Source: llama.cpp,
    src/llama-kv-cache*.cpp and src/llama-memory-recurrent.cpp.
    """
    n_streams = 1 if settings.kv_unified else settings.n_parallel
    keys = row_bytes(settings.type_k, cache.k, cache.n_embd_head_k)
    keys += row_bytes(settings.type_k, cache.indexer, cache.indexer)
    values = row_bytes(settings.type_v, cache.v, cache.n_embd_head_v)
    states = 4 * cache.state * settings.n_parallel
    return (keys + values) * cells_of(cache, settings) * n_streams + states


def cells_of(cache: LayerCache, settings: ContextSettings) -> int:
    """Cells that a layer keeps per pool: all cells, or those that its window needs."""
    return settings.n_cells if cache.window is None else settings.window_cells(cache.window)


def layers_cache_bytes(caches: Sequence[LayerCache], settings: ContextSettings) -> tuple[int, ...]:
    """Bytes that each of these layers keeps. They are of a few kinds; each is counted once."""
    by_kind = {kind: layer_cache_bytes(kind, settings) for kind in set(caches)}
    return tuple(by_kind[cache] for cache in caches)


def kv_cache_bytes(shape: Shape, settings: ContextSettings) -> int:
    """Bytes that all layers keep. The caches of the shape must be known. Raises Misuse for a cache
    with which the engine does not load the model.
    """
    check_graph(shape, settings)
    return sum(layers_cache_bytes(shape.caches or (), settings))


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
    """Bytes that the server's process takes beside the engine's buffers. Assumed: on Linux, 27 to
    51 MiB were measured for vocabularies of 512 to 128,256 tokens.
    """
    vocabulary_bytes = PROCESS_BYTES_PER_TOKEN * shape.n_vocab
    return PROCESS_BYTES + vocabulary_bytes + graph_records_bytes(shape, settings)


def graph_records_bytes(shape: Shape, settings: ContextSettings) -> int:
    """Bytes of the records of graphs, for architectures whose graph may have nodes for every token
    of a micro-batch; 0 for others, whose small records are part of PROCESS_BYTES.
    """
    return GRAPH_BYTES_PER_NODE * shape.record.graph_nodes_per_token * settings.n_tokens


def output_bytes(shape: Shape, settings: ContextSettings) -> int:
    """Bytes of the host buffer that logits are copied to: one F32 row per conversation."""
    return 4 * shape.n_vocab * settings.n_parallel
