"""A model's whole graph as steps for the allocator, and the run over all its layers.

A model's layers fall into a few kinds; each kind's steps are worked out once per model, and a run
does not repeat a layer that begins as one before it did.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from hakaru.memory.allocator import TAKE_BACK, Memory, Steps, bytes_of, steps_of
from hakaru.memory.assembly import layer_of
from hakaru.memory.blocks import Build, Layer
from hakaru.memory.ends import ENDS, STARTS
from hakaru.memory.experts import summed
from hakaru.memory.flash_attention import Backend
from hakaru.memory.graph import Size, Tensor, size_of
from hakaru.memory.layers import blueprint_of, layers_of, takes
from hakaru.memory.recurrent import n_last_inputs, state
from hakaru.models.shape import Shape


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A whole graph: its inputs with their sizes, and the steps of its stretches one after
    another.
    """

    inputs: tuple[tuple[str, Size], ...]
    stretches: tuple[Steps, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A part of the graph, what it gets from the part before and hands to the next: the residual,
    and perhaps the next layer's last inputs.
    """

    nodes: list[Tensor]
    entries: tuple[Tensor, ...]
    exits: tuple[Tensor, ...]


Start: TypeAlias = Literal["tokens", "embeddings", "device", "host"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which part of the graph a processor runs, and how many copies of its inputs it keeps.

    `start` says how tokens come to it: it looks them up itself (`tokens`), gets their embeddings,
    or the residual from a layer on another device or in host memory. `logits`: the graph ends
    there. `mixed`: micro-batches may have tokens and embeddings of images. `backend` runs the
    attention, with flash attention or without.
    """

    start: Start = "tokens"
    logits: bool = True
    mixed: bool = True
    copies: int = 1
    experts_on_host: bool = False
    backend: Backend = "cpu"
    flash: bool = True


@lru_cache(maxsize=512)
def program(
    shape: Shape,
    *,
    one: bool,
    rotate_k: bool,
    rotate_v: bool,
    k_is_f16: bool = True,
    v_is_f16: bool = True,
    place: Place = Place(),
) -> Program:
    """The graph of a model. `one`: there is one conversation; `rotate_k`, `rotate_v`: see
    `blocks.rotated`; `k_is_f16`, `v_is_f16`: see `flash_attention`.
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
        cached=any(c.k or c.state for c in shape.caches or ()),
        windows=any(layer.windowed for layer in layers),
    )  # fmt: skip
    start = base.again(Layer(hands=takes(shape, 0, layers[0])))
    stretches = [_stretch(start, (), _arrival(start, place))]
    kinds: dict[tuple[object, ...], Stretch] = {}
    for i, (before, layer) in enumerate(zip([start.layer, *layers], layers, strict=False)):
        received = stretches[-1].exits
        b = base.again(layer)
        b.normed = i == 0 and place.start == "device" and blueprint.begins_normed
        key = layer, before.hands, received[0].kept, b.normed
        if key not in kinds:
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
    inputs = list(base.inputs.values())
    return Program(tuple((t.name, t.size) for t in inputs), tuple(_steps(stretches, inputs)))


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
    made = b.input("experts from host memory", ((4 * m.n_embd * m.n_expert_used, "T"),))
    made.shape = m.n_embd, m.n_expert_used, "T"
    total = summed(b, g.expand(b.mul(made, b.input("weights", ((4 * m.n_expert_used, "T"),)))))
    return g.expand(b.add(total, residual))


def _stretch(b: Build, entries: tuple[Tensor, ...], residual: Tensor) -> Stretch:
    beside: tuple[Tensor, ...] = ()
    if b.layer.hands:
        early = b.blueprint.early_states
        beside = (
            state(b, n_last_inputs(b.model), "last inputs")
            if early or b.beside is None
            else b.beside,
        )
    b.graph.expand(residual)
    return Stretch(b.graph.nodes, entries, (residual, *beside))


def _steps(stretches: list[Stretch], inputs: list[Tensor]) -> list[Steps]:
    """The steps of each stretch; equal ones are one object. An input is given back in the last
    stretch that needs it.
    """
    used: dict[Stretch, set[Tensor]] = {}
    last: dict[Tensor, int] = {}
    for i, stretch in enumerate(stretches):
        if stretch not in used:
            used[stretch] = {s.root or s for node in stretch.nodes for s in node.sources} & set(
                inputs
            )
        last |= dict.fromkeys(used[stretch], i)
    made: dict[tuple[Stretch, frozenset[Tensor]], Steps] = {}
    found = []
    for i, stretch in enumerate(stretches):
        key = stretch, frozenset(t for t in used[stretch] if last[t] == i)
        if key not in made:
            entries = (
                *stretch.entries,
                *(Tensor("", (), ()) for _ in range(2 - len(stretch.entries))),
            )
            made[key] = steps_of(
                stretch.nodes, [*inputs, *entries], stretch.exits, {*key[1], *stretch.entries}
            )
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


def alive_at_peak(graph: Program, values: Mapping[str, int]) -> list[tuple[str, int]]:
    """Name and bytes of every tensor that is alive when the buffer has grown to its full size, by
    address.
    """
    memory, alive = Memory(), {}
    n = len(graph.inputs)
    where = [0] * (n + 2 + max(len(s.names) for s in graph.stretches))
    for i, (name, size) in enumerate(graph.inputs):
        where[i] = memory.give(bytes_of(size, values))
        alive[where[i]] = name, bytes_of(size, values)
    peak = dict(alive)
    for steps in graph.stretches:
        sizes = [bytes_of(size, values) for size in steps.sizes]
        for step in steps.steps:
            what, tensor, index = step[:3]
            top = memory.top
            memory.run_step(step, sizes, where)
            if what == TAKE_BACK:
                del alive[where[tensor]]
            else:
                alive[where[tensor]] = steps.names[tensor], sizes[index]
            if memory.top > top:
                peak = dict(alive)
        where[n : n + len(steps.exits)] = [where[i] for i in steps.exits]
    return [peak[address] for address in sorted(peak)]
