"""What a model needs, part by part: weights, KV cache, compute buffers, output, and the process.

Pure arithmetic from the shape and the tensor table. Weights, KV cache and the processor's compute
buffer equal llama.cpp's dry run to the byte for every architecture in `architectures.GRAPHS`; for
another architecture `compute` gives None, and the dry run answers. The process is assumed. How far
the figures are off, also on devices: docs/memory.md. What comes with use: `growth`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from hakaru.errors import Misuse
from hakaru.memory.compute import compute_bytes
from hakaru.models.architectures import buffer_bytes
from hakaru.models.caches import LayerCache
from hakaru.models.gguf import Tensor
from hakaru.models.quant_types import BY_NAME, CACHE_TYPES
from hakaru.models.shape import Shape
from hakaru.units import Source

MAX_CONTEXT: Final = 2**24
CELL_PADDING: Final = 256  # llama.cpp, src/llama-context.cpp: n_ctx_seq is padded to 256 cells
PROCESS_BYTES: Final = 34 * 2**20
PROCESS_BYTES_PER_TOKEN: Final = 384  # the vocabulary's texts and tables, per entry
GRAPH_BYTES_PER_NODE: Final = 3 * 423  # two graphs in use and the reserved one: a tensor's header, two lists, a hash table


Cache = tuple[str, str]
"""The types of a KV cache: of its keys and of its values."""
F16_CACHE: Final[Cache] = ("f16", "f16")


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextSettings:
    """How the engine is asked to run. `n_ctx` is shared by the `n_parallel` conversations, as in llama-server.

    `n_outputs_max` is for how many tokens of a micro-batch logits are kept: one per conversation when serving (None),
    all of them when evaluating. With `kv_unified` the conversations share one pool of cells, instead of a part each.
    `n_checkpoints`: context checkpoints that the server keeps per conversation, None where nobody has chosen (memory/growth.py).
    """

    n_ctx: int
    n_ubatch: int = 512
    type_k: str = "f16"
    type_v: str = "f16"
    n_parallel: int = 1
    n_outputs_max: int | None = None
    kv_unified: bool = False
    n_checkpoints: int | None = None

    def __post_init__(self) -> None:
        for name, value, high in (
            ("context", self.n_ctx, MAX_CONTEXT),
            ("ubatch", self.n_ubatch, 2**16),
            ("parallel", self.n_parallel, 256),
        ):
            if not 1 <= value <= high:
                raise Misuse("--{name} is {found}, expected a whole number from 1 to {high}.", name=name, found=value, high=high)
        for name, type_ in (("cache-type-k", self.type_k), ("cache-type-v", self.type_v)):
            if type_ not in CACHE_TYPES:
                raise Misuse(
                    "--{name} is '{found}', expected one of {known}.", name=name, found=type_, known=", ".join(CACHE_TYPES)
                )

    @property
    def cache(self) -> Cache:
        """The types of the KV cache."""
        return self.type_k, self.type_v

    def with_cache(self, cache: Cache) -> "ContextSettings":
        """The same with another KV cache."""
        return replace(self, type_k=cache[0], type_v=cache[1])

    @property
    def n_cells(self) -> int:
        """KV cells of one conversation, padded as llama.cpp pads them."""
        return _padded(self.n_ctx if self.kv_unified else max(1, self.n_ctx // self.n_parallel))

    def window_cells(self, window: int) -> int:
        """KV cells of a layer with a sliding window: the window and one micro-batch, padded."""
        shared = window * (self.n_parallel if self.kv_unified else 1)
        return _padded(min(self.n_cells, shared + self.n_tokens))

    @property
    def n_outputs(self) -> int:
        """Rows of logits that the output buffer and the graph hold."""
        return min(self.n_outputs_max or self.n_parallel, max(self.n_tokens, self.n_parallel))

    @property
    def n_tokens(self) -> int:
        """Tokens of the largest micro-batch: never more than the context, before it is padded."""
        return min(self.n_ubatch, self.n_ctx)

    def with_context(self, n_ctx: int) -> "ContextSettings":
        """The same settings at another context."""
        return replace(self, n_ctx=n_ctx)


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

    `accelerators` are the parts of the sum that the engine puts there, in its order; none on a build or a machine without.
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
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes + self.output_bytes + self.overhead_bytes

    def parts(self) -> dict[str, int]:
        """The parts by name, as they stand in `--json`."""
        return {
            "weights_bytes": self.weights_bytes,
            "kv_cache_bytes": self.kv_cache_bytes,
            "compute_bytes": self.compute_bytes,
            "output_bytes": self.output_bytes,
            "overhead_bytes": self.overhead_bytes,
        }


def compute_footprint(shape: Shape, tensors: Iterable[Tensor], settings: ContextSettings) -> Footprint | None:
    """The footprint by arithmetic, or None for an architecture that we do not model (ask the dry run)."""
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
    """Bytes that one layer keeps for all conversations: K and V for every cell, and a state that does not grow.

    A layer with a window keeps the window and one micro-batch. States are F32.
    Raises Misuse if the cache type's blocks do not divide a head, which llama.cpp refuses as well. Source: llama.cpp,
    src/llama-kv-cache*.cpp and src/llama-memory-recurrent.cpp.
    """
    n_streams = 1 if settings.kv_unified else settings.n_parallel
    row = row_bytes(settings.type_k, cache.k, cache.n_embd_head_k) + row_bytes(settings.type_v, cache.v, cache.n_embd_head_v)
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
            "the cache type {type} stores blocks of {block}, but this model's heads have {n} elements; choose f16.",
            type=name, block=type_.block, n=head,
        )  # fmt: skip
    return type_.row_bytes(n)


def _padded(n_cells: int) -> int:
    return -(-n_cells // CELL_PADDING) * CELL_PADDING


def overhead_bytes(shape: Shape, settings: ContextSettings) -> int:
    """Bytes that the server's process takes beside the engine's buffers: assumed, from what was measured on Linux.

    Seen: 27 to 51 MiB over the buffers for vocabularies of 512 to 128,256 tokens. The server's build also reserves one
    more row of n_embd per token of a micro-batch than the dry run's.
    """
    own = PROCESS_BYTES + PROCESS_BYTES_PER_TOKEN * shape.n_vocab + 4 * shape.n_embd * settings.n_tokens
    return own + graph_records_bytes(shape, settings)


def graph_records_bytes(shape: Shape, settings: ContextSettings) -> int:
    """Bytes of the records of graphs, for architectures whose graph may have nodes for every token of a micro-batch. A part of
    the process; those of other architectures are small and lie in PROCESS_BYTES.
    """
    return GRAPH_BYTES_PER_NODE * shape.record.graph_nodes_per_token * settings.n_tokens


def output_bytes(shape: Shape, settings: ContextSettings) -> int:
    """Bytes of the host buffer that logits are copied to: one F32 row per conversation."""
    return 4 * shape.n_vocab * settings.n_parallel
