"""Ways out: each is what an independent placement with the change says, in the order in which a
person would take them.
"""

from functools import cache
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hakaru.hardware.machine import Hardware, named_ram
from hakaru.hardware.named_machine import parse_hardware
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import known_models
from hakaru.models.model import Model, as_preset, read_model
from hakaru.models.sources.find import find_model
from hakaru.planning.checkpoints import with_checkpoints
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task
from hakaru.planning.search import place
from hakaru.planning.shares import Placement
from hakaru.planning.variations import Variations
from hakaru.planning.ways_out import (
    GENTLE,
    Alternative,
    Change,
    Outcome,
    Search,
    alternatives,
    least_context,
)

MODELS: Final = (
    "qwen3-0.6b",
    "qwen3-4b",
    "gemma-3-4b-it",
    "llama-3.1-8b-instruct",
    "qwen3-30b-a3b",
    "qwen3.5-9b",
)


@cache
def model_of(name: str) -> Model:
    return read_model(find_model(name).path)


def named(text: str) -> Hardware:
    return replace(parse_hardware(text), text=text)


def task_of(model: Model, asked: ContextSettings) -> Task:
    return Task(load=load_of(model.loaded, model.shape.n_layer), shape=model.shape, settings=asked)


def ways_of(
    model: Model, asked: ContextSettings, hardware: Hardware
) -> tuple[Placement, list[Alternative]]:
    task = task_of(model, asked)
    return grown(task, hardware), Variations(model=model, task=task, hardware=hardware).ways_out()


def grown(task: Task, hardware: Hardware) -> Placement:
    """The placement as `hakaru fit` tells it: with as many checkpoints as have room."""
    return with_checkpoints(place(task, hardware), task)[0]


def applied(
    way: Alternative, model: Model, asked: ContextSettings, hardware: Hardware
) -> Placement:
    """The placement that the flags of `way` make, from the text of the flags alone."""
    words = way.flag.replace('"', "").split()
    preset, at, room = None, asked, hardware
    while words:
        match words.pop(0):
            case "`preset`":
                preset = words.pop(0)
            case "`type_k`":
                at = replace(at, type_k=words.pop(0))
            case "`type_v`":
                at = replace(at, type_v=words.pop(0))
            case "`n_ubatch`":
                at = replace(at, n_ubatch=int(words.pop(0)))
            case "`n_ctx`":
                at = at.with_context(int(words.pop(0)))
            case "`hardware`":
                end = next((i for i, word in enumerate(words) if word.startswith("`")), len(words))
                room = parse_hardware(" ".join(words[:end]))
                words = words[end:]
            case unknown:
                raise AssertionError(unknown)
    return grown(task_of(as_preset(model, preset) if preset else model, at), room)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(MODELS),
    st.sampled_from(["F16", "Q8_0", "Q4_K_M"]),
    st.sampled_from(
        ["4GiB", "RTX 4080", "2x L4", "12GiB + 24GiB", "8GiB + 16GiB RAM", "6GiB RAM", "M4 16GB"]
    ),
    st.sampled_from([1024, 4096, 32768, 131_072]),
    st.sampled_from([1, 4]),
)
def test_every_way_frees_what_it_says_and_has_the_verdict_that_it_says(
    name: str, preset: str, machine: str, n_ctx: int, n_parallel: int
) -> None:
    """Held against a placement that knows only the flags that would be typed."""
    model, hardware = as_preset(model_of(name), preset), named(machine)
    asked = ContextSettings(n_ctx=n_ctx, n_parallel=n_parallel)
    now, ways = ways_of(model, asked, hardware)
    if now.verdict == "fits":
        return
    for way in ways:
        then = applied(way, model, asked, hardware)
        assert (then.verdict, now.total_bytes - then.total_bytes) == (
            way.verdict,
            way.frees_bytes,
        ), way.flag
        assert way.change.n_ctx is None or way.change.n_ctx >= least_context(asked)
    assert [way.fits for way in ways] == sorted((way.fits for way in ways), reverse=True)


@pytest.mark.parametrize(
    ("asked", "least"), [(4096, 2048), (8192, 2048), (32768, 8192), (131_072, 32768), (1000, 2048)]
)
def test_a_way_out_is_never_a_context_of_no_use(asked: int, least: int) -> None:
    """2,048 tokens or a quarter of what was asked for."""
    assert least_context(ContextSettings(n_ctx=asked)) == least
    assert least_context(ContextSettings(n_ctx=asked, n_parallel=8)) >= 8 * 2048


def test_the_order_is_a_person_s() -> None:
    """Type, KV cache, micro-batch, context, where each alone is enough; the largest type and the
    longest context that fit.
    """
    model, room = (
        as_preset(model_of("qwen3-4b"), "F16"),
        Hardware(accelerators=(), ram=named_ram(15 * 2**30)),
    )
    asked = ContextSettings(n_ctx=55_000)
    _, ways = ways_of(model, asked, room)
    fitting = [way for way in ways if way.fits]
    assert [way.flag.split()[0] for way in fitting] == ["`preset`", "`type_k`", "`n_ctx`"]
    assert fitting[0].change == Change(preset="Q8_0")
    longer = asked.with_context((fitting[-1].change.n_ctx or 0) + 256)
    assert place(task_of(model, longer), room).verdict != "fits"


def test_two_changes_together_where_none_is_enough() -> None:
    """Four bits and a smaller cache, before two bits or a shorter context; nothing in it that is
    not needed.
    """
    model, room = (
        as_preset(model_of("qwen3-8b"), "F16"),
        Hardware(accelerators=(), ram=named_ram(int(7.7 * 2**30))),
    )
    asked = ContextSettings(n_ctx=32768)
    _, ways = ways_of(model, asked, room)
    first = ways[0]
    assert first.flag == "`preset` Q4_K_M `type_k` q8_0 `type_v` q8_0"
    assert first.verdict == "fits"
    assert {way.change for way in ways if not way.fits} >= {Change(cache=("q8_0", "q8_0"))}


def test_a_card_alone_is_told_what_ram_beside_it_would_give() -> None:
    """The least size that is sold; how many layers stay on the card."""
    model, card = as_preset(model_of("qwen3-32b"), "Q4_K_M"), named("RTX 4080")
    _, ways = ways_of(model, ContextSettings(n_ctx=8192), card)
    ram = next(way for way in ways if way.change.ram_bytes)
    assert (ram.flag, ram.verdict) == ('`hardware` "RTX 4080 + 16GiB"', "fits")
    assert 0 < ram.outcome.gpu_layers < 64
    assert 0 < ram.outcome.ram_bytes < 16 * 2**30
    beside = replace(card, ram=named_ram(16 * 2**30))
    assert not any(
        way.change.ram_bytes for way in ways_of(model, ContextSettings(n_ctx=8192), beside)[1]
    )


def test_a_cache_that_the_model_cannot_have_is_no_way_out() -> None:
    """Heads of 80 elements do not divide into blocks of 32: the other ways are told."""
    model = as_preset(model_of("sarashina2.2-0.5b-instruct-v0.1"), "F16")
    _, ways = ways_of(
        model, ContextSettings(n_ctx=8192), Hardware(accelerators=(), ram=named_ram(2**30))
    )
    assert ways
    assert not any(way.change.cache for way in ways)


def test_types_below_four_bits_come_after_everything_gentler() -> None:
    """A search over made-up outcomes: Q2_K alone would do, but so would Q4_K_M with a smaller
    cache.
    """

    def outcome(change: Change) -> Outcome:
        size = {None: 10, "Q8_0": 8, "Q4_K_M": 6, "Q2_K": 3}[change.preset] - (
            2 if change.cache else 0
        )
        return Outcome(total_bytes=size, verdict="fits" if size <= 4 else "does_not_fit")

    search = Search(settings=ContextSettings(n_ctx=2048), presets=["Q8_0", "Q4_K_M", "Q2_K"])
    ways = alternatives(search, outcome)
    assert [way.flag for way in ways if way.fits] == [
        "`preset` Q2_K",
        "`preset` Q4_K_M `type_k` q8_0 `type_v` q8_0",
    ]
    assert "Q2_K" not in GENTLE


def test_the_catalogue_has_the_models_of_these_tests() -> None:
    """Otherwise the properties above would hold for nothing."""
    assert set(MODELS) <= {known.id for known in known_models()}
