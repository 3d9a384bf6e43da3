"""How large the engine's compute buffers become: llama.cpp's allocator, run over llama.cpp's graph.

On the processor the figures equal llama.cpp's dry run to the byte for almost every architecture;
docs/memory.md has the table. For devices the graph is cut as llama.cpp's scheduler cuts it: a layer
stays whole, and a device gets copies of the inputs that its layers read. Where several devices run
all layers, each device has four copies. `flash_attention` adds the bytes that a device's attention
needs beside its result. Left out: what other kernels of a device need, and weights that a GPU
fetches from host memory while a prompt is read (llama.cpp's op_offload), which come on top where
layers or experts stay in host memory.

Source: llama.cpp, src/llama-context.cpp (sched_reserve), ggml/src/ggml-backend.cpp
(ggml_backend_sched_split_graph).
"""

from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.formats.quant_types import BY_NAME
from hakaru.language import say
from hakaru.memory.allocator import bytes_of
from hakaru.memory.flash_attention import Backend, has_kernel
from hakaru.memory.layers import blueprint_of
from hakaru.memory.schedule import (
    WHOLE,
    Place,
    Schedule,
    Start,
    alive_at_peak,
    peak_bytes,
    schedule,
)
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures.parts.blueprint import Attention, Dense, Residual
from hakaru.models.shape import Shape

PIPELINE_COPIES: Final = 4
FEWEST_TENSORS: Final = Residual(Attention(fused=True), Dense(fused=True), late=True)
"""The layer of Phi 3, of six tensors."""
LEAST_THAT_DIE: Final = 40
"""Its layers from which `check_graph` refuses."""


class DeviceCompute(Struct, frozen=True, kw_only=True):
    """The compute buffers of a model on devices."""

    host_bytes: int  # in host memory
    first_bytes: int  # on the first device
    middle_bytes: int  # on each device between the first and the last
    last_bytes: int  # on the last of several devices
    flash: bool = True  # the devices run flash attention

    def of(self, index: int, n_devices: int) -> int:
        """Bytes on device `index` of `n_devices`."""
        if index == 0:
            return self.first_bytes
        return self.last_bytes if index == n_devices - 1 else self.middle_bytes


def compute_bytes(shape: Shape, settings: ContextSettings, *, mixed: bool = True) -> int | None:
    """Bytes of the processor's compute buffer, or None for an architecture without a known graph.

    `mixed` is True if micro-batches may have tokens and embeddings of images. The contexts of
    draft layers (multi-token prediction) have no such micro-batches.
    """
    if not is_known(shape):
        return None
    return peak_bytes(_part(shape, settings, Place(mixed=mixed)), _values(shape, settings))


def explain_compute(shape: Shape, settings: ContextSettings) -> list[tuple[str, int]]:
    """What lies in the processor's compute buffer when it is fullest: names and bytes, which add up
    to `compute_bytes`.

    One term holds all tensors below a hundredth of the buffer, another the gaps between tensors.
    The graph must be known.
    """
    graph, values = _part(shape, settings, WHOLE), _values(shape, settings)
    whole, terms = peak_bytes(graph, values), Counter[str]()
    for name, n_bytes in alive_at_peak(graph, values):
        terms[name] += n_bytes
    large = [(name, n_bytes) for name, n_bytes in terms.most_common() if 100 * n_bytes >= whole]
    small = terms.total() - sum(n_bytes for _, n_bytes in large)
    others = (say("smaller tensors"), small), (say("gaps"), whole - terms.total())
    return large + [term for term in others if term[1]]


# all splits that a search tries, and all types of a model, ask for the same few figures
@lru_cache(maxsize=4096)
def device_compute(
    shape: Shape,
    settings: ContextSettings,
    *,
    n_devices: int,
    all_layers: bool = True,
    experts_on_host: bool = False,
    backend: Backend = "vulkan",
    flash: bool | None = None,
    mixed: bool = True,
) -> DeviceCompute | None:
    """Compute buffers where `n_devices` run the last layers, or all layers; None without a known
    graph. They are exact for a device that has layers of every kind of the model.

    With `experts_on_host` the experts of all layers stay and run in host memory. `flash` None means
    flash attention where `backend` has kernels for it. For `mixed` see `compute_bytes`.
    """
    if not is_known(shape):
        return None
    if not n_devices:
        host_bytes = compute_bytes(shape, settings, mixed=mixed) or 0
        return DeviceCompute(host_bytes=host_bytes, first_bytes=0, middle_bytes=0, last_bytes=0)
    values = _values(shape, settings)
    flash = runs_flash_attention(shape, settings, backend) if flash is None else flash
    split = n_devices > 1
    copies = PIPELINE_COPIES if split and all_layers and not experts_on_host else 1

    on_device = Place(
        start="embeddings", copies=copies, tied=all_layers, experts_on_host=experts_on_host,
        backend=backend, flash=flash, mixed=mixed,
    )  # fmt: skip

    def part(start: Start, *, logits: bool) -> int:
        place = replace(on_device, start=start, logits=logits)
        return peak_bytes(_part(shape, settings, place), values)

    rows = blueprint_of(shape).crossing_rows if copies > 1 else (0, 0)
    before, after = (n * copies * _row(shape, values) for n in rows)
    later: Start = "host" if experts_on_host and not shape.n_ff_shexp else "device"
    return DeviceCompute(
        host_bytes=_host(shape, settings, values, on_device, all_layers=all_layers),
        first_bytes=before + part("embeddings" if all_layers else "host", logits=not split),
        middle_bytes=after + part(later, logits=False) if split else 0,
        last_bytes=after + part(later, logits=True) if split else 0,
        flash=flash,
    )


def _host(
    shape: Shape,
    settings: ContextSettings,
    values: Mapping[str, int],
    on_device: Place,
    *,
    all_layers: bool,
) -> int:
    """Bytes of the buffer in host memory. If some layers run there, the peak of their graph; if
    none does, the inputs, the looked-up embeddings and the largest step of experts in host memory.
    """
    mixed = on_device.mixed
    if not all_layers:
        place = Place(logits=False, flash=on_device.flash, mixed=mixed)
        return peak_bytes(_part(shape, settings, place), values)
    inputs = _part(shape, settings, on_device).on_host
    host = on_device.copies * sum(bytes_of(size, values) for size in inputs)
    host += (1 + mixed) * _row(shape, values)
    if width := shape.n_embd_per_layer or blueprint_of(shape).n_embd_per_layer:
        host += bytes_of(((4 * width * shape.n_layer, "T"),), values)
    if on_device.experts_on_host and shape.n_expert:
        width = shape.moe_latent_size or shape.n_embd
        n_ff = shape.n_ff_exp or shape.n_ff or 0
        per_token = shape.n_expert_used * (3 * n_ff + width) + shape.n_expert
        host += bytes_of(((4 * per_token, "T"),), values)
    return host


def runs_flash_attention(shape: Shape, settings: ContextSettings, backend: Backend) -> bool:
    """True if the backend has a flash attention kernel for every layer. Raises Misuse if it has
    none and `type_v` needs one, which llama.cpp refuses.
    """
    heads = {_heads(shape, i) for i, cache in enumerate(shape.caches or ()) if cache.n_embd_head_k}
    kinds = {"type_k": settings.type_k, "type_v": settings.type_v}
    without = sorted(head for head in heads if not has_kernel(backend, head, **kinds))
    if without and BY_NAME[settings.type_v.upper()].block > 1 and not shape.n_embd_head_k_mla:
        raise Misuse(
            "the cache type {type} for values needs flash attention, and {backend} has no kernel "
            "for it (heads of {k} and {v}, keys in {type_k}); choose f16.",
            type=settings.type_v,
            type_k=settings.type_k,
            backend=backend,
            k=without[0][0],
            v=without[0][1],
        )
    return not without


def _heads(shape: Shape, layer: int) -> tuple[int, int, int]:
    """The lengths of a layer's keys and values, and its number of query heads per KV head. MLA has
    one KV head, whose values are a part of its keys.
    """
    assert shape.caches
    cache, n_head = shape.caches[layer], shape.n_heads[layer] if shape.n_heads else shape.n_head
    if shape.n_embd_head_k_mla:
        return shape.n_lora_kv + shape.n_rot, shape.n_lora_kv, n_head
    return cache.n_embd_head_k, cache.n_embd_head_v, n_head // max(1, shape.n_head_kv[layer])


def is_known(shape: Shape) -> bool:
    """True if the graph of this model is known. DeepSeek's first files, which lack the lengths of
    MLA, have an unknown graph.
    """
    blueprint = shape.record.graph
    if blueprint is None or shape.caches is None:
        return False
    return shape.n_embd_head_k_mla > 0 or not blueprint.needs_mla_lengths


def knows_partial_offload(shape: Shape) -> bool:
    """True if the buffers are known with some layers in RAM. They are not for LFM2: its attention
    is then split over devices, llama.cpp turns flash attention off, and buffers grow by gigabytes.
    """
    return shape.record.graph is None or not shape.record.graph.splits_attention


def check_graph(shape: Shape, settings: ContextSettings) -> None:
    """Raise Misuse where the engine has no room for the nodes of its own graph, and dies at the
    load. It keeps room for eight nodes per tensor; Phi has few tensors per layer, and turning what
    is stored, for several conversations, takes more. Seen with 40 layers, not with 32. Source:
    llama.cpp, src/llama-context.cpp (graph_max_nodes).
    """
    graph = shape.record.graph
    if not graph or graph.layer != FEWEST_TENSORS or shape.n_layer < LEAST_THAT_DIE:
        return
    several = settings.n_parallel > 1 and not settings.kv_unified
    kept = {settings.type_k: shape.n_embd_head_k, settings.type_v: shape.n_embd_head_v}
    turned = [type_ for type_, head in kept.items() if is_rotated(type_, head)]
    if several and turned:
        raise Misuse(
            "the cache type {type} with {n} conversations needs a larger graph than llama.cpp "
            "makes for this model, and llama.cpp dies of it; choose f16, or one conversation.",
            type=turned[0],
            n=settings.n_parallel,
        )


def is_rotated(type_: str, head: int) -> bool:
    """True if keys or values of this type are turned before they are stored. Source: llama.cpp,
    src/llama-kv-cache.cpp (attn_rot_k).
    """
    return BY_NAME[type_.upper()].block > 1 and head % 64 == 0


def _part(shape: Shape, settings: ContextSettings, place: Place) -> Schedule:
    return schedule(
        shape,
        one=settings.n_parallel == 1,
        rotate_k=is_rotated(settings.type_k, shape.n_embd_head_k),
        rotate_v=is_rotated(settings.type_v, shape.n_embd_head_v),
        k_is_f16=settings.type_k == "f16",
        v_is_f16=settings.type_v == "f16",
        place=place,
    )


def _row(shape: Shape, values: Mapping[str, int]) -> int:
    """Bytes of one row of n_embd per token."""
    return bytes_of(((4 * shape.n_embd, "T"),), values)


def _values(shape: Shape, settings: ContextSettings) -> dict[str, int]:
    """The values of the letters in sizes (see `graph`)."""
    n_seqs = settings.n_parallel
    n_tokens = -(-settings.n_tokens // n_seqs) * n_seqs
    windows = (cache.window for cache in shape.caches or () if cache.window is not None)
    window = next(windows, None)
    return {
        "T": n_tokens, "t": n_tokens // n_seqs, "S": n_seqs, "O": settings.n_outputs,
        "N": 1 if settings.kv_unified else n_seqs,
        "C": settings.n_cells, "K": min(settings.n_cells, shape.n_indexer_top_k),
        "W": settings.n_cells if window is None else settings.window_cells(window),
    }  # fmt: skip
