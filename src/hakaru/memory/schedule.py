"""A model's whole graph as a schedule: the steps in which an allocator gives and takes back memory,
and the peak that these steps reach.

A model's layers are of a few kinds. The steps of each kind are worked out once per model, and
`peak_bytes` does not repeat a layer that begins with the same free blocks as an earlier one.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Final, Literal, TypeAlias

from msgspec import Struct

from hakaru.memory.allocator import TAKE_BACK, Memory, Steps, bytes_of, steps_of
from hakaru.memory.assembly import layer_of
from hakaru.memory.blocks import Build, Layer
from hakaru.memory.ends import ENDS, STARTS
from hakaru.memory.experts import summed
from hakaru.memory.flash_attention import Backend
from hakaru.memory.graph import Tensor, size_of
from hakaru.memory.layers import blueprint_of, layers_of, receives_extra_input
from hakaru.memory.recurrent import n_last_inputs, state
from hakaru.models.shape import Shape


class Stretch(Struct, frozen=True, eq=False):
    """A part of the graph: the start, a layer, or the end."""

    nodes: list[Tensor]
    entries: tuple[Tensor, ...]  # from the stretch before: the residual, perhaps an extra input
    exits: tuple[Tensor, ...]  # to the next stretch: the residual, perhaps its extra input


class Schedule:
    """What a whole graph does to memory."""

    def __init__(self, parts: Sequence[Stretch], base: Build) -> None:
        self._parts, self._inputs = parts, list(base.inputs.values())
        self.inputs = tuple((t.name, t.size) for t in self._inputs)
        self.on_host = tuple(base.on_host.values())  # one copy of each input in host memory

    @cached_property
    def stretches(self) -> tuple[Steps, ...]:
        """One after another: the start, every layer, the end. Many are asked only for inputs."""
        return tuple(_steps(self._parts, self._inputs))


Start: TypeAlias = Literal["tokens", "embeddings", "device", "host"]


class Place(Struct, frozen=True, kw_only=True):
    """The part of the graph that one device (or the processor) runs, and how."""

    start: Start = "tokens"
    """What comes in: tokens that are looked up here, embeddings, or the residual of a layer on
    another device or in host memory.
    """
    logits: bool = True  # the graph ends here
    mixed: bool = True  # micro-batches may have tokens and embeddings of images
    copies: int = 1  # of every input
    tied: bool = True
    """The first norm of a layer is tied to the layer's device, as where all layers lie on devices.
    Otherwise the device before computes it, too, and both rows are handed over. Source: llama.cpp,
    llama_context::graph_get_cb.
    """
    experts_on_host: bool = False  # the experts of all layers run in host memory
    backend: Backend = "cpu"
    flash: bool = True  # the backend runs flash attention


WHOLE: Final = Place()
"""One device that runs the whole graph."""


@lru_cache(maxsize=512)
def schedule(
    shape: Shape,
    *,
    one: bool,
    rotate_k: bool,
    rotate_v: bool,
    k_is_f16: bool = True,
    v_is_f16: bool = True,
    place: Place = WHOLE,
) -> Schedule:
    """The schedule of a model, or of the part of it that `place` runs.

    `one` is True if there is one conversation. For `rotate_k` and `rotate_v` see `blocks.rotated`,
    for `k_is_f16` and `v_is_f16` see `flash_attention`.
    """
    blueprint = blueprint_of(shape)
    build_layer, layers = layer_of(blueprint.layer), layers_of(shape)
    if place.start in {"device", "host"}:
        layers = layers[shape.n_layer_dense_lead :]
    base = Build(
        model=shape, blueprint=blueprint, one=one, rotate_k=rotate_k, rotate_v=rotate_v,
        on_device=place.start != "tokens", copies=place.copies,
        experts_on_host=place.experts_on_host, backend=place.backend, flash=place.flash,
        k_is_f16=k_is_f16, v_is_f16=v_is_f16, mixed=place.mixed,
        cached=any(cache.k or cache.state for cache in shape.caches or ()),
        windows=any(layer.windowed for layer in layers),
    )  # fmt: skip
    start = base.again(Layer(hands=receives_extra_input(shape, 0, layers[0])))
    stretches = [_stretch(start, (), _arrival(start, place))]
    kinds: dict[tuple[object, ...], Stretch] = {}
    for i, (before, layer) in enumerate(zip([start.layer, *layers], layers, strict=False)):
        received = stretches[-1].exits
        normed = i == 0 and place.start == "device" and not place.tied and blueprint.begins_normed
        key = layer, before.hands, received[0].kept, normed
        if key not in kinds:
            b = base.again(layer)
            b.normed = normed
            entries = tuple(
                Tensor(t.name, t.shape, size_of(t.shape), kept=t.kept) for t in received
            )
            b.beside = entries[1] if before.hands else None
            kinds[key] = _stretch(b, entries, build_layer(b, entries[0]))
        stretches.append(kinds[key])
    if place.logits:
        b, last = base.again(Layer()), stretches[-1].exits[0]
        entry = Tensor("residual", last.shape, last.size)
        stretches.append(_stretch(b, (entry,), ENDS[blueprint.end](b, entry)))
    return Schedule(stretches, base)


def _arrival(b: Build, place: Place) -> Tensor:
    """The residual as it comes to the first layer of a part."""
    if place.start in {"tokens", "embeddings"}:
        return STARTS[b.blueprint.start](b)
    m, g = b.model, b.graph
    residual = b.row("residual from elsewhere")
    if (n := b.blueprint.n_streams) > 1:
        streams = b.input("streams from elsewhere", ((4 * n * m.n_embd, "T"),))
        residual = g.view(streams, (m.n_embd, "T", n))
    if place.start == "device":
        return residual
    if not m.n_expert:
        return g.expand(b.add(b.row("last block's output"), residual))
    if m.n_ff_shexp and not place.experts_on_host:
        return g.expand(
            b.add(b.add(b.row("sum of experts"), b.row("shared expert's output")), residual)
        )
    outputs = b.input("experts from host memory", ((4 * m.n_embd * m.n_expert_used, "T"),))
    outputs.shape = m.n_embd, m.n_expert_used, "T"
    total = summed(b, g.expand(b.mul(outputs, b.input("weights", ((4 * m.n_expert_used, "T"),)))))
    return g.expand(b.add(total, residual))


def _stretch(b: Build, entries: tuple[Tensor, ...], residual: Tensor) -> Stretch:
    """The stretch whose last node is `residual`."""
    exits = [residual]
    if b.layer.hands:
        extra = None if b.blueprint.early_states else b.beside
        exits.append(extra or state(b, n_last_inputs(b.model), "last inputs"))
    b.graph.expand(residual)
    return Stretch(b.graph.nodes, entries, tuple(exits))


def _steps(stretches: Sequence[Stretch], inputs: Sequence[Tensor]) -> list[Steps]:
    """The steps of each stretch; equal stretches share one object. An input is given back in the
    last stretch that uses it.
    """
    used: dict[Stretch, set[Tensor]] = {}
    last_use: dict[Tensor, int] = {}
    for i, stretch in enumerate(stretches):
        if stretch not in used:
            sources = {s.root or s for node in stretch.nodes for s in node.sources}
            used[stretch] = sources & set(inputs)
        last_use |= dict.fromkeys(used[stretch], i)
    by_key: dict[tuple[Stretch, frozenset[Tensor]], Steps] = {}
    all_steps = []
    for i, stretch in enumerate(stretches):
        key = stretch, frozenset(tensor for tensor in used[stretch] if last_use[tensor] == i)
        if key not in by_key:
            absent = (Tensor("", (), ()) for _ in range(2 - len(stretch.entries)))
            outside = [*inputs, *stretch.entries, *absent]
            ending = {*key[1], *stretch.entries}
            by_key[key] = steps_of(stretch.nodes, outside, stretch.exits, ending)
        all_steps.append(by_key[key])
    return all_steps


def peak_bytes(graph: Schedule, values: Mapping[str, int]) -> int:
    """Bytes of the buffer that a schedule needs. `values` are those of the letters in sizes."""
    memory = Memory()
    n = len(graph.inputs)
    where = [memory.give(bytes_of(size, values)) for _, size in graph.inputs]
    where += [0] * (2 + max(len(steps.names) for steps in graph.stretches))
    sizes: dict[Steps, list[int]] = {}
    results: dict[tuple[object, ...], tuple[list[int], list[tuple[int, int]]]] = {}
    for steps in graph.stretches:
        key = steps, where[n], where[n + 1], tuple(memory.free)
        if key not in results:
            if steps not in sizes:
                sizes[steps] = [bytes_of(size, values) for size in steps.sizes]
            memory.run(steps, sizes[steps], where)
            results[key] = [where[i] for i in steps.exits], memory.free.copy()
        exits, free = results[key]
        where[n : n + len(exits)] = exits
        memory.free = free.copy()
    return memory.top


def alive_at_peak(graph: Schedule, values: Mapping[str, int]) -> list[tuple[str, int]]:
    """Name and bytes of every tensor that lies in the buffer when it has grown to its full size, in
    the order of addresses.
    """
    memory, alive = Memory(), {}
    n = len(graph.inputs)
    where = [0] * (n + 2 + max(len(steps.names) for steps in graph.stretches))
    for i, (name, size) in enumerate(graph.inputs):
        where[i] = memory.give(bytes_of(size, values))
        alive[where[i]] = name, bytes_of(size, values)
    peak = dict(alive)
    for steps in graph.stretches:
        sizes = [bytes_of(size, values) for size in steps.sizes]
        for step in steps.steps:
            action, tensor, index = step[:3]
            top = memory.top
            memory.run_step(step, sizes, where)
            if action == TAKE_BACK:
                del alive[where[tensor]]
            else:
                alive[where[tensor]] = steps.names[tensor], sizes[index]
            if memory.top > top:
                peak = dict(alive)
        where[n : n + len(steps.exits)] = [where[i] for i in steps.exits]
    return [peak[address] for address in sorted(peak)]
