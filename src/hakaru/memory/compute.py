"""How large the engine's compute buffers become: its own allocator, played over its own graph.

On the processor the figures equal llama.cpp's dry run to the byte for almost every architecture;
docs/memory.md has the table. For devices the graph is cut as llama.cpp's scheduler cuts it: layers
go whole, every device gets copies of the inputs that its layers read, and with several devices that
run all layers each keeps four of them. `flash_attention` adds what a device's attention needs
beside its result. Left out: what other kernels of a device need, and weights that a GPU fetches
from host memory while a prompt is read (llama.cpp's op_offload), which come on top where layers or
experts stay in host memory.

Source: llama.cpp, src/llama-context.cpp (sched_reserve), ggml/src/ggml-backend.cpp
(ggml_backend_sched_split_graph).
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hakaru.errors import Misuse
from hakaru.formats.quant_types import BY_NAME
from hakaru.language import say
from hakaru.memory.allocator import bytes_of
from hakaru.memory.flash_attention import Backend, has_kernel
from hakaru.memory.layers import blueprint_of
from hakaru.memory.program import Place, Program, Start, alive_at_peak, play, program
from hakaru.memory.settings import ContextSettings
from hakaru.models.shape import Shape

PIPELINE_COPIES: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCompute:
    """Compute buffers in bytes: in host memory, on the first device, on those between, and on the
    last one. `flash`: with flash attention.
    """

    host_bytes: int
    first_bytes: int
    middle_bytes: int
    last_bytes: int
    flash: bool = True

    def of(self, index: int, n_devices: int) -> int:
        """Bytes on the device of that index."""
        return (
            self.last_bytes
            if index == n_devices - 1 > 0
            else self.middle_bytes
            if index
            else self.first_bytes
        )


def compute_bytes(shape: Shape, settings: ContextSettings, *, mixed: bool = True) -> int | None:
    """Bytes of the processor's compute buffer, or None for an architecture whose graph we do not
    know.

    `mixed`: micro-batches may have tokens and embeddings of images. Contexts for multi-token
    prediction take none.
    """
    if not is_known(shape):
        return None
    return play(_part(shape, settings, Place(mixed=mixed)), _values(shape, settings))


def explain_compute(shape: Shape, settings: ContextSettings) -> list[tuple[str, int]]:
    """What is in the processor's compute buffer when it is fullest: names and bytes, which add up
    to `compute_bytes`.

    Tensors below a hundredth of it are one term, and so is the room between tensors that none of
    them fits. The graph must be known.
    """
    graph, values = _part(shape, settings, Place()), _values(shape, settings)
    whole, terms = play(graph, values), Counter[str]()
    for name, n_bytes in alive_at_peak(graph, values):
        terms[name] += n_bytes
    large = [(name, n_bytes) for name, n_bytes in terms.most_common() if 100 * n_bytes >= whole]
    small = terms.total() - sum(n_bytes for _, n_bytes in large)
    rest = (say("smaller tensors"), small), (say("gaps"), whole - terms.total())
    return large + [term for term in rest if term[1]]


@lru_cache(
    maxsize=4096
)  # every split that a search tries, and every type of a model, asks for the same few
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
    """Compute buffers where `n_devices` run the last layers, or all of them; None for a graph that
    we do not know.

    `experts_on_host`: the experts of all layers stay in host memory and run there. `backend` runs
    the devices, with flash attention where it has kernels for it (`flash` says otherwise). `mixed`
    as in `compute_bytes`. The buffers hold for a device that has layers of every kind that the
    model has.
    """
    if not n_devices:
        whole = compute_bytes(shape, settings, mixed=mixed)
        return (
            None
            if whole is None
            else DeviceCompute(host_bytes=whole, first_bytes=0, middle_bytes=0, last_bytes=0)
        )
    if not is_known(shape):
        return None
    values = _values(shape, settings)
    flash = runs_flash_attention(shape, settings, backend) if flash is None else flash
    split = n_devices > 1
    copies = PIPELINE_COPIES if split and all_layers and not experts_on_host else 1

    def part(start: Start, *, logits: bool) -> int:
        place = Place(
            start=start, logits=logits, copies=copies, experts_on_host=experts_on_host,
            backend=backend, flash=flash, mixed=mixed
        )  # fmt: skip
        return play(_part(shape, settings, place), values)

    rows = blueprint_of(shape).crossing_rows if copies > 1 else (0, 0)
    before, after = (n * copies * _row(shape, values) for n in rows)
    later: Start = "host" if experts_on_host and not shape.n_ff_shexp else "device"
    return DeviceCompute(
        host_bytes=_host(
            shape,
            settings,
            values,
            copies,
            all_layers=all_layers,
            experts_on_host=experts_on_host,
            flash=flash,
            mixed=mixed,
        ),
        first_bytes=before + part("embeddings" if all_layers else "host", logits=not split),
        middle_bytes=after + part(later, logits=False) if split else 0,
        last_bytes=after + part(later, logits=True) if split else 0,
        flash=flash,
    )


def _host(
    shape: Shape,
    settings: ContextSettings,
    values: Mapping[str, int],
    copies: int,
    *,
    all_layers: bool,
    experts_on_host: bool,
    flash: bool,
    mixed: bool,
) -> int:
    """Host memory: everything, where layers run there; else the inputs and what is looked up for
    the devices, and the largest step of the experts if these run there.
    """
    if not all_layers:
        return play(_part(shape, settings, Place(logits=False, flash=flash, mixed=mixed)), values)
    inputs = _part(shape, settings, Place(flash=flash, mixed=mixed)).inputs
    host = copies * sum(bytes_of(size, values) for _, size in inputs) + (1 + mixed) * _row(
        shape, values
    )
    if width := shape.n_embd_per_layer or blueprint_of(shape).n_embd_per_layer:
        host += bytes_of(((4 * width * shape.n_layer, "T"),), values)
    if experts_on_host and shape.n_expert:
        width = shape.moe_latent_size or shape.n_embd
        n_ff = shape.n_ff_exp or shape.n_ff or 0
        per_token = shape.n_expert_used * (3 * n_ff + width) + shape.n_expert
        host += bytes_of(((4 * per_token, "T"),), values)
    return host


def runs_flash_attention(shape: Shape, settings: ContextSettings, backend: Backend) -> bool:
    """Whether every layer's attention has a kernel there. Raises Misuse for values in a type that
    needs it where it has not: llama.cpp refuses them.
    """
    heads = {_heads(shape, i) for i, cache in enumerate(shape.caches or ()) if cache.n_embd_head_k}
    kinds = {"type_k": settings.type_k, "type_v": settings.type_v}
    without = sorted(h for h in heads if not has_kernel(backend, h, **kinds))
    if without and BY_NAME[settings.type_v.upper()].block > 1 and not shape.n_embd_head_k_mla:
        raise Misuse(
            "the cache type {type} for values needs flash attention, and {backend} has no kernel "
            "for it (heads of {k} and {v}, keys in "
            "{type_k}); choose f16.",
            type=settings.type_v,
            type_k=settings.type_k,
            backend=backend,
            k=without[0][0],
            v=without[0][1],
        )
    return not without


def _heads(shape: Shape, layer: int) -> tuple[int, int, int]:
    """Lengths of keys and values, and query heads of a KV head. MLA has one KV head, whose values
    are a part of its keys.
    """
    assert shape.caches
    cache, n_head = shape.caches[layer], shape.n_heads[layer] if shape.n_heads else shape.n_head
    if shape.n_embd_head_k_mla:
        return shape.n_lora_kv + shape.n_rot, shape.n_lora_kv, n_head
    return cache.n_embd_head_k, cache.n_embd_head_v, n_head // max(1, shape.n_head_kv[layer])


def is_known(shape: Shape) -> bool:
    """Whether the graph of this model is known. DeepSeek's first files, without the lengths of MLA,
    are not.
    """
    blueprint = shape.record.graph
    if blueprint is None or shape.caches is None:
        return False
    return shape.n_embd_head_k_mla > 0 or not blueprint.needs_mla_lengths


def knows_partial_offload(shape: Shape) -> bool:
    """Whether the buffers are known with some layers in RAM. LFM2's attention is then split over
    devices, llama.cpp turns flash attention off, and its buffers grow by gigabytes.
    """
    return shape.record.graph is None or not shape.record.graph.splits_attention


def is_rotated(type_: str, head: int) -> bool:
    """Whether keys or values are turned before they are stored. Source: llama.cpp,
    src/llama-kv-cache.cpp (attn_rot_k).
    """
    return BY_NAME[type_.upper()].block > 1 and head % 64 == 0


def _part(shape: Shape, settings: ContextSettings, place: Place) -> Program:
    return program(
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
    """What the letters in sizes stand for, see `graph`."""
    n_seqs = settings.n_parallel
    n_tokens = -(-settings.n_tokens // n_seqs) * n_seqs
    window = next((c.window for c in shape.caches or () if c.window is not None), None)
    return {
        "T": n_tokens, "t": n_tokens // n_seqs, "S": n_seqs, "O": settings.n_outputs,
        "N": 1 if settings.kv_unified else n_seqs,
        "C": settings.n_cells,
        "W": settings.n_cells if window is None else settings.window_cells(window),
    }  # fmt: skip
