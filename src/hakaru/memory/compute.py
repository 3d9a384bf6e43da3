"""How large the engine's compute buffer becomes: its own allocator, played over its own graph.

A model's layers fall into a few kinds; each kind's steps are worked out once per model, and a run over all layers ends
early where a layer begins as one before it did.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal

from hakaru.memory.allocator import Memory, Steps, bytes_of, steps_of
from hakaru.memory.architectures import GRAPHS
from hakaru.memory.blocks import Build, Layer
from hakaru.memory.graph import OUTSIDE, Size, Tensor, size_of
from hakaru.memory.recurrent import n_last_inputs, state
from hakaru.models.caches import NO_CACHE
from hakaru.models.quant_types import BY_NAME
from hakaru.models.shape import Shape

if TYPE_CHECKING:
    from hakaru.memory.footprint import ContextSettings


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A whole graph: its inputs with their sizes, and the steps of its stretches one after another."""

    inputs: tuple[tuple[str, Size], ...]
    stretches: tuple[Steps, ...]


def layers_of(shape: Shape) -> list[Layer]:
    """What the graph of each layer depends on, draft layers left out."""
    caches = shape.caches or ()
    found = []
    n = shape.n_layer - shape.n_layer_nextn
    for i in range(n):
        cache = caches[i]
        n_ff = shape.n_ffs[i] if shape.n_ffs else 0
        n_head_kv = shape.n_head_kv[i]
        found.append(
            Layer(
                n_head=shape.n_heads[i] if shape.n_heads else 0,
                n_head_kv=n_head_kv,
                n_embd_head_k=cache.n_embd_head_k or shape.n_embd_head_k,
                n_embd_head_v=cache.n_embd_head_v or shape.n_embd_head_v,
                n_ff=n_ff,
                windowed=cache.window is not None,
                recurrent=cache.state > 0,
                attends=cache.n_embd_head_k > 0 or shape.architecture in NO_CACHE,
                sparse=shape.architecture == "gemma3n" and i < 10,
                shared_values=shape.architecture == "gemma4" and not shape.n_embd_per_layer and cache.window is None,
                own_kv=cache.k > 0,
                experts=_has_experts(shape, i, n_ff),
                rope=_has_rope(shape, i, cache.window is not None),
                first=i == 0 and shape.architecture in FIRST_DIFFERS,
                last=i == n - 1 and GRAPHS[shape.architecture].trimmed,
            )
        )
    found = _joined(found)
    n = len(found)
    return [
        replace(layer, hands=i + 1 < n and _takes(shape, i + 1, found[min(i + 1, n - 1)])) for i, layer in enumerate(found)
    ]


def _joined(layers: list[Layer]) -> list[Layer]:
    """Dense feed-forward layers join the layer before them, as in NVIDIA's Nemotron H."""
    found: list[Layer] = []
    for layer in layers:
        if found and not (layer.attends or layer.recurrent or layer.experts):
            found[-1] = replace(found[-1], then=(*found[-1].then, layer.n_ff))
        else:
            found.append(layer)
    return found


FIRST_DIFFERS: Final = frozenset({"gemma3n", "gemma4", "modern-bert", "qwen3vl", "qwen3vlmoe"})
EARLY: Final = frozenset({
    "mamba", "mamba2", "granitehybrid", "nemotron_h", "nemotron_h_moe", "plamo2", "lfm2", "lfm2moe", "jamba",
})  # fmt: skip
WITHOUT_ROPE_EVERY: Final = {"smollm3": 4, "llama4": 4}


def _has_rope(shape: Shape, layer: int, windowed: bool) -> bool:
    if shape.architecture == "cohere2":
        return windowed
    every = WITHOUT_ROPE_EVERY.get(shape.architecture)
    return not every or (layer + 1) % every != 0


def _has_experts(shape: Shape, layer: int, n_ff: int) -> bool:
    if shape.architecture == "nemotron_h_moe":
        return n_ff > 0
    return shape.n_expert > 0 and layer >= shape.n_layer_dense_lead and (layer + 1) % shape.n_moe_layer_step == 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which part of the graph a processor runs, and how many copies of its inputs it keeps.

    `start` says how tokens come to it: it looks them up itself (`tokens`), gets their embeddings, or the residual from a
    layer on another device or in host memory. `logits`: the graph ends there.
    """

    start: Literal["tokens", "embeddings", "device", "host"] = "tokens"
    logits: bool = True
    copies: int = 1


@lru_cache(maxsize=512)
def program(shape: Shape, *, one: bool, rotate_k: bool, rotate_v: bool, place: Place = Place()) -> Program:
    """The graph of a model. `one`: there is one conversation; `rotate_k`, `rotate_v`: see `blocks.rotated`."""
    architecture = GRAPHS[shape.architecture]
    layers = layers_of(shape)
    base = Build(
        model=shape, one=one, rotate_k=rotate_k, rotate_v=rotate_v, on_device=place.start != "tokens", copies=place.copies,
        cached=any(c.k or c.state for c in shape.caches or ()), windows=any(layer.windowed for layer in layers),
    )  # fmt: skip
    start = base.again(Layer(hands=_takes(shape, 0, layers[0])))
    stretches = [_stretch(start, (), _arrival(start, place))]
    kinds: dict[tuple[object, ...], Stretch] = {}
    for i, (before, layer) in enumerate(zip([start.layer, *layers], layers, strict=False)):
        received = stretches[-1].exits
        b = base.again(layer)
        b.normed = i == 0 and place.start == "device" and shape.architecture not in UNNORMED
        key = layer, before.hands, received[0].kept, b.normed
        if key not in kinds:
            entries = tuple(Tensor(t.name, t.shape, size_of(t.shape), kept=t.kept) for t in received)
            b.beside = entries[1] if before.hands else None
            kinds[key] = _stretch(b, entries, architecture.layer(b, entries[0]))
        stretches.append(kinds[key])
    if place.logits:
        b, last = base.again(Layer()), stretches[-1].exits[0]
        entry = Tensor("residual", last.shape, last.size)
        stretches.append(_stretch(b, (entry,), architecture.end(b, entry)))
    inputs = list(base.inputs.values())
    return Program(tuple((t.name, t.size) for t in inputs), tuple(_steps(stretches, inputs)))


UNNORMED: Final = frozenset({"bert", "exaone4", "gemma3n", "nomic-bert", "olmo2"})
"""Layers that do not begin with a norm of the residual."""


def _arrival(b: Build, place: Place) -> Tensor:
    """The residual as it comes to the first layer of a part."""
    if place.start in {"tokens", "embeddings"}:
        return GRAPHS[b.model.architecture].start(b)
    residual = b.row("residual from elsewhere")
    return residual if place.start == "device" else b.graph.expand(b.add(b.row("last block's output"), residual))


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A part of the graph, what it gets from the part before and hands to the next: the residual, and perhaps the next
    layer's last inputs.
    """

    nodes: list[Tensor]
    entries: tuple[Tensor, ...]
    exits: tuple[Tensor, ...]


def _stretch(b: Build, entries: tuple[Tensor, ...], residual: Tensor) -> Stretch:
    beside: tuple[Tensor, ...] = ()
    if b.layer.hands:
        early = b.model.architecture in EARLY
        beside = (state(b, n_last_inputs(b.model), "last inputs") if early or b.beside is None else b.beside,)
    b.graph.expand(residual)
    return Stretch(b.graph.nodes, entries, (residual, *beside))


def _takes(shape: Shape, i: int, layer: Layer) -> bool:
    """Whether layer `i` is handed something besides the residual."""
    if shape.architecture in EARLY:
        return layer.recurrent
    return i < shape.n_deepstack_layers or shape.n_embd_per_layer > 0 or shape.architecture == "gemma3n"


def _steps(stretches: list[Stretch], inputs: list[Tensor]) -> list[Steps]:
    """The steps of each stretch; equal ones are one object. An input is given back in the last stretch that needs it."""
    used: dict[Stretch, set[Tensor]] = {}
    last: dict[Tensor, int] = {}
    for i, stretch in enumerate(stretches):
        if stretch not in used:
            used[stretch] = {s.root or s for node in stretch.nodes for s in node.sources} & set(inputs)
        last |= dict.fromkeys(used[stretch], i)
    made: dict[tuple[Stretch, frozenset[Tensor]], Steps] = {}
    found = []
    for i, stretch in enumerate(stretches):
        key = stretch, frozenset(t for t in used[stretch] if last[t] == i)
        if key not in made:
            entries = (*stretch.entries, *(OUTSIDE,) * (2 - len(stretch.entries)))
            made[key] = steps_of(stretch.nodes, [*inputs, *entries], stretch.exits, {*key[1], *stretch.entries})
        found.append(made[key])
    return found


def play(graph: Program, values: Mapping[str, int]) -> int:
    """Bytes of the buffer that a program needs."""
    memory = Memory()
    n = len(graph.inputs)
    where = [memory.give(bytes_of(size, values)) for _, size in graph.inputs]
    where += [0] * (2 + max(len(s.names) for s in graph.stretches))
    sizes: dict[Steps, list[int]] = {}
    seen: dict[tuple[object, ...], tuple[list[int], list[tuple[int, int]]]] = {}
    for steps in graph.stretches:
        key = steps, where[n], where[n + 1], tuple(memory.free)
        if key not in seen:
            if steps not in sizes:
                sizes[steps] = [bytes_of(size, values) for size in steps.sizes]
            memory.run(steps, sizes[steps], where)
            seen[key] = [where[i] for i in steps.exits], memory.free.copy()
        exits, free = seen[key]
        where[n : n + len(exits)] = exits
        memory.free = free.copy()
    return memory.top


def compute_bytes(shape: Shape, settings: "ContextSettings") -> int | None:
    """Bytes of the processor's compute buffer, or None for an architecture whose graph we do not know."""
    if shape.architecture not in GRAPHS or shape.caches is None:
        return None
    return play(_program(shape, settings, Place()), values_of(shape, settings))


def _program(shape: Shape, settings: "ContextSettings", place: Place) -> Program:
    return program(
        shape,
        one=settings.n_parallel == 1,
        rotate_k=is_rotated(settings.type_k, shape.n_embd_head_k),
        rotate_v=is_rotated(settings.type_v, shape.n_embd_head_v),
        place=place,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCompute:
    """Compute buffers in bytes: in host memory, on the first device, on those between, and on the last one."""

    host_bytes: int
    first_bytes: int
    middle_bytes: int
    last_bytes: int


PIPELINE_COPIES: Final = 4


def device_compute(
    shape: Shape, settings: "ContextSettings", *, n_devices: int, all_layers: bool = True, experts_on_host: bool = False
) -> DeviceCompute | None:
    """Compute buffers where `n_devices` run the last layers, or all of them."""
    if shape.architecture not in GRAPHS or shape.caches is None:
        return None
    values = values_of(shape, settings)
    copies = PIPELINE_COPIES if n_devices > 1 and all_layers and not experts_on_host else 1

    def part(start: Literal["embeddings", "device", "host"], *, logits: bool) -> int:
        return play(_program(shape, settings, Place(start=start, logits=logits, copies=copies)), values)

    whole = _program(shape, settings, Place())
    if all_layers:
        host = copies * sum(bytes_of(size, values) for _, size in whole.inputs) + _embedding_rows(shape, values)
    else:
        host = play(_program(shape, settings, Place(logits=False)), values)
    return DeviceCompute(
        host_bytes=host,
        first_bytes=part("embeddings" if all_layers else "host", logits=n_devices == 1),
        middle_bytes=part("device", logits=False),
        last_bytes=part("device", logits=True),
    )


def _embedding_rows(shape: Shape, values: Mapping[str, int]) -> int:
    """Bytes of the rows that are looked up in the embedding tables, which lie in host memory."""
    return bytes_of(((4 * shape.n_embd, "T"),), values)


def is_rotated(type_: str, head: int) -> bool:
    """Whether keys or values are turned before they are stored. Source: llama.cpp, src/llama-kv-cache.cpp (attn_rot_k)."""
    return BY_NAME[type_.upper()].block > 1 and head % 64 == 0


def values_of(shape: Shape, settings: "ContextSettings") -> dict[str, int]:
    """What the letters in sizes stand for, see `graph`."""
    n_seqs = settings.n_parallel
    n_tokens = -(-settings.n_tokens // n_seqs) * n_seqs
    window = next((c.window for c in shape.caches or () if c.window is not None), None)
    return {
        "T": n_tokens, "t": n_tokens // n_seqs, "S": n_seqs, "O": settings.n_outputs,
        "C": settings.n_cells, "W": settings.n_cells if window is None else settings.window_cells(window),
    }  # fmt: skip
