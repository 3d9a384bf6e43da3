"""Verdicts, ways out and placement: pure arithmetic."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from hakaru.formats.gguf import Tensor
from hakaru.formats.header_file import header_tensors
from hakaru.formats.metadata import Metadata
from hakaru.hardware.machine import Device
from hakaru.hardware.named_machine import parse_hardware
from hakaru.hardware.probe import probe_machine
from hakaru.memory.footprint import DeviceBuffers, Footprint, kv_cache_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import loaded
from hakaru.models.catalogue import known_models, nearest_model
from hakaru.models.mixture import preset_types
from hakaru.models.roster import quantizer_facts, roster
from hakaru.planning.backends import backend_named, backend_of, with_conversions
from hakaru.planning.exact import exact_answer
from hakaru.planning.explain import PARTS, explain_placement
from hakaru.planning.here import free_for_models
from hakaru.planning.load import load_of
from hakaru.planning.placement import GPU_CONTEXT_BYTES, Task, placement, shares_of, split_by
from hakaru.planning.search import max_context, place
from hakaru.planning.shares import Layout, judge
from hakaru.planning.ways_out import Change, Outcome, Search, alternatives

LLAMA_70B = nearest_model(70 * 10**9)


def tensors_at(id_: str, preset: str) -> tuple[Tensor, ...]:
    """The tensors of a known model at a preset, as llama.cpp loads them."""
    known = next(m for m in known_models() if m.id == id_)
    meta = Metadata(known.id, known.metadata())
    types = preset_types(
        roster(quantizer_facts(meta), header_tensors(known.tensors(), "F16")), preset
    )
    return tuple(loaded(meta, header_tensors(known.tensors(), types)))


def task_of(id_: str, preset: str, **settings: Any) -> Task:
    shape = next(m for m in known_models() if m.id == id_).shape
    return Task(
        load=load_of(tensors_at(id_, preset), shape.n_layer),
        shape=shape,
        settings=ContextSettings(**settings),
    )


def test_a_verdict_leaves_a_margin() -> None:
    """`fits` keeps three percent free, `tight` does not, and one byte too many does not fit."""
    assert judge(970, 1000) == "fits"
    assert judge(971, 1000) == "tight"
    assert judge(1000, 1000) == "tight"
    assert judge(1001, 1000) == "does_not_fit"


def test_the_nearest_known_model_of_70b_is_llama() -> None:
    """The worked example of the article; nothing is invented for a size that nobody has."""
    assert LLAMA_70B
    assert LLAMA_70B.n_params == 70_553_706_496
    assert LLAMA_70B.id.startswith("llama-3")
    assert nearest_model(20 * 10**12) is None


def test_70b_at_16_bits_on_two_a100_fits_up_to_a_computed_context() -> None:
    """The formula says no; layer by layer it fits, up to some tens of thousands of tokens.
    llama.cpp gives the first card 41 of the 81 items, and the embeddings stay in RAM.
    """
    assert LLAMA_70B
    hardware = parse_hardware("2x A100 80GB")
    answer = exact_answer(LLAMA_70B, 16, hardware, ContextSettings(n_ctx=4096))
    assert answer
    assert answer.placement.verdict == "fits"
    assert [s.layers for s in answer.placement.shares] == [41, 39]
    assert answer.placement.layout.flags() == ["-ngl", "81"]
    assert answer.weights_bytes == pytest.approx(2 * 70_553_706_496, rel=1e-3)
    assert answer.placement.ram.weights_bytes == 2 * 128_256 * 8192
    assert answer.max_context % 256 == 0
    beyond = exact_answer(LLAMA_70B, 16, hardware, ContextSettings(n_ctx=answer.max_context + 256))
    assert beyond
    assert beyond.placement.verdict != "fits"


def test_70b_on_two_l4_fits_at_4_bits_and_not_at_16() -> None:
    """At 16 bits no context is named."""
    assert LLAMA_70B
    answer = exact_answer(LLAMA_70B, 16, parse_hardware("2x L4"), ContextSettings(n_ctx=4096))
    assert answer
    assert (answer.placement.verdict, answer.max_context) == ("does_not_fit", 0)
    four_bits = exact_answer(LLAMA_70B, 4, parse_hardware("2x L4"), ContextSettings(n_ctx=4096))
    assert four_bits
    assert (four_bits.type, four_bits.placement.verdict) == ("Q4_K_M", "fits")


def test_the_placement_of_a_real_load_on_an_rtx_4090() -> None:
    """Llama 3 8B Q4_K_M at 8192 tokens, from a log: 4403.49 MiB of weights and 1024 MiB of KV cache
    on the card, the embeddings' 281.81 MiB on the host.
    """
    placement = place(
        task_of("llama-3.1-8b-instruct", "Q4_K_M", n_ctx=8192), parse_hardware("RTX 4090")
    )
    (card,) = placement.shares
    assert card.weights_bytes / 2**20 == pytest.approx(4403.49, abs=0.01)
    assert card.kv_cache_bytes == 1024 * 2**20
    assert placement.ram.weights_bytes / 2**20 == pytest.approx(281.81, abs=0.01)
    assert (card.layers, placement.verdict, placement.ram_known) == (32, "fits", False)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(min_value=1, max_value=96), min_size=1, max_size=6), st.booleans())
def test_everything_is_placed_whole_and_once(sizes: list[int], with_ram: bool) -> None:
    """Whatever the devices, every layer lies on exactly one of them, and weights and caches add up
    to the whole model.
    """
    task = task_of("qwen3-4b", "Q8_0", n_ctx=2048)
    hardware = parse_hardware(
        " + ".join(f"{n}GiB" for n in sizes) + (" + 64GiB RAM" if with_ram else "")
    )
    placement = place(task, hardware)
    shares = (*placement.shares, placement.ram)
    assert sum(s.layers for s in shares) == task.load.n_layer
    copy = task.load.tied_bytes if placement.layout.n_gpu_layers else 0
    assert sum(s.weights_bytes for s in shares) == task.load.total_bytes + copy
    assert sum(s.kv_cache_bytes for s in shares) == kv_cache_bytes(task.shape, task.settings)


@pytest.mark.parametrize(
    ("hardware", "copies"),
    [("64GiB RAM", 1), ("12GiB", 1), ("4GiB + 64GiB RAM", 2), ("2x 12GiB", 2)],
)
def test_rope_factors_lie_wherever_layers_do(hardware: str, copies: int) -> None:
    """Llama 3.1 has 256 bytes of them: one copy on every device with layers, RAM among them."""
    task = task_of("llama-3.1-8b-instruct", "Q4_K_M", n_ctx=4096)
    placement = place(task, parse_hardware(hardware))
    assert task.load.shared_bytes == 256
    assert (
        sum(s.weights_bytes for s in (*placement.shares, placement.ram))
        == task.load.total_bytes + (copies - 1) * 256
    )


def test_unequal_cards_are_filled_by_a_split_of_our_own() -> None:
    """With little to spare llama.cpp's proportional split overfills the smaller card; ours names
    `-ts`.
    """
    task = task_of("qwen3-32b", "Q5_K_M", n_ctx=8192)
    hardware = parse_hardware("19GiB + 7GiB")
    placement = place(task, hardware)
    assert placement.verdict == "fits"
    flags = placement.layout.flags()
    counts = [int(n) for n in flags[flags.index("-ts") + 1].split(",")]
    assert sum(counts) == task.load.n_layer + 1
    default = shares_of(task, hardware, Layout(counts=split_by([19.0, 7.0], 65)))[0]
    assert any(judge(s.needed_bytes, s.device.usable_bytes) != "fits" for s in default)


def test_experts_move_to_ram_before_layers_do() -> None:
    """A mixture of experts that is too large for the card keeps all layers there and only as many
    experts in RAM as needed.
    """
    task, hardware = (
        task_of("qwen3-30b-a3b", "Q8_0", n_ctx=32768),
        parse_hardware("RTX 4090 + 64GiB"),
    )
    placement = place(task, hardware)
    assert placement.verdict == "fits"
    assert placement.shares[0].layers == 48
    one_less = replace(placement.layout, n_cpu_moe=placement.layout.n_cpu_moe - 1)
    (card,), _ = shares_of(task, hardware, one_less)
    assert judge(card.needed_bytes, card.device.usable_bytes) != "fits"


def test_a_dense_model_leaves_its_first_layers_in_ram() -> None:
    """As many layers as fit go to the card, one more would not; without RAM it does not fit."""
    task, hardware = task_of("qwen3-32b", "Q8_0", n_ctx=4096), parse_hardware("RTX 4090 + 64GiB")
    placement = place(task, hardware)
    assert placement.verdict == "fits"
    assert 0 < placement.shares[0].layers < 64
    more = Layout(counts=(placement.layout.n_gpu_layers + 1,))
    (card,), _ = shares_of(task, hardware, more)
    assert judge(card.needed_bytes, card.device.usable_bytes) != "fits"
    assert place(task, parse_hardware("RTX 4090")).verdict == "does_not_fit"


def test_one_memory_for_both_counts_everything_once() -> None:
    """On unified memory the host's part lies in the same memory, and Metal recommends 81% of 64
    GB.
    """
    task = task_of("qwen3-32b", "Q8_0", n_ctx=4096)
    placement = place(task, parse_hardware("M4 Max 64GB"))
    (chip,) = placement.devices
    assert chip.device.usable_bytes == 53_084 * 2**20  # Metal's figure for 64 GB
    assert chip.weights_bytes == task.load.total_bytes
    assert placement.verdict == "fits"


def test_the_host_s_part_lies_in_the_memory_that_is_shared() -> None:
    """Not on a card that stands before it."""
    task = task_of("qwen3-32b", "Q8_0", n_ctx=4096)
    layout = Layout(counts=(30, 35))
    shares, ram = shares_of(task, parse_hardware("RTX 4090 + DGX Spark"), layout)
    card, chip = placement(task, parse_hardware("RTX 4090 + DGX Spark"), layout).shares
    assert card == shares[0]
    assert chip.weights_bytes == shares[1].weights_bytes + ram.weights_bytes


@pytest.mark.parametrize(
    ("text", "accelerators", "ram"),
    [
        ("2x L4", [24, 24], None),
        ("RTX 4090 + 64GiB", [24], 64),
        ("24GiB + 12GiB", [24, 12], None),
        ("64GiB RAM", [], 64),
        ("RAM 16GiB + L4", [24], 16),
        ("8x H100", [80] * 8, None),
    ],
)
def test_hardware_is_named_as_people_name_it(
    text: str, accelerators: list[int], ram: int | None
) -> None:
    """A size behind a card is the machine's RAM; sizes alone are cards."""
    found = parse_hardware(text)
    assert [d.total_bytes / 2**30 for d in found.accelerators] == accelerators
    assert (found.ram.total_bytes / 2**30 if found.ram else None) == ram


def test_a_card_offers_what_its_driver_reports() -> None:
    """Error correction takes a sixteenth of an L4: 23,034 MiB of its 24 GiB."""
    (card,) = parse_hardware("L4").accelerators
    assert (card.total_bytes, card.usable_bytes) == (24 * 2**30, 23_034 * 2**20)


def test_more_memory_never_means_less_context() -> None:
    """The longest context grows with the memory."""
    task = task_of("llama-3.1-70b-instruct", "Q4_K_M", n_ctx=4096)
    found = [max_context(task, parse_hardware(f"2x {n}GiB")) for n in (20, 24, 32, 48)]
    assert found == sorted(found)
    assert found[0] < found[-1]


@pytest.mark.parametrize(
    "hardware", ["2x A100 80GB", "RTX 4090 + 64GiB", "64GiB RAM", "M4 Max 64GB", "24GiB + 12GiB"]
)
@pytest.mark.parametrize("model", ["qwen3-30b-a3b", "gemma-3-4b-it", "qwen3.5-9b"])
def test_an_explanation_adds_up_to_the_byte(model: str, hardware: str) -> None:
    """The terms of every part sum to that part of the placement."""
    task = task_of(model, "Q8_0", n_ctx=8192, n_parallel=2)
    placement = place(task, parse_hardware(hardware))
    terms = explain_placement(task, tensors_at(model, "Q8_0"), placement)
    assert sum(t.bytes for t in terms) == placement.total_bytes
    shares = (*placement.shares, placement.ram)
    for part in PARTS:
        assert sum(t.bytes for t in terms if t.part == part) == sum(
            getattr(s, part) for s in shares
        ), part


def test_a_smaller_cache_is_no_way_out_where_its_copy_takes_what_it_saves() -> None:
    """Qwen3.5 4B with a long context: eight of 32 layers have a cache. On a card of NVIDIA's one of
    them is copied to F16, so Q8_0 saves less than on the processor; where a single layer has a
    cache, it saves nothing and is not proposed.
    """
    task = task_of("qwen3.5-4b", "Q4_K_M", n_ctx=262_144, type_k="q8_0", type_v="q8_0")
    assert place(task, parse_hardware("RTX 4060")).verdict == "does_not_fit"
    assert task.shape.caches
    first = next(i for i, c in enumerate(task.shape.caches) if c.k)
    empty = next(c for c in task.shape.caches if not c.k)
    alone = tuple(c if i == first or not c.k else empty for i, c in enumerate(task.shape.caches))
    few = replace(
        task, shape=replace(task.shape, caches=alone), settings=ContextSettings(n_ctx=262_144)
    )

    def ways(hardware: str) -> list[str]:
        def outcome(change: Change) -> Outcome:
            placed = place(
                replace(few, settings=change.applied(few.settings)), parse_hardware(hardware)
            )
            return Outcome(total_bytes=placed.total_bytes, verdict=placed.verdict)

        return [w.flag for w in alternatives(Search(settings=few.settings, presets=[]), outcome)]

    assert not any("q8_0" in way for way in ways("4GiB"))
    assert any("q8_0" in way for way in ways("4GiB RAM"))


def test_a_dry_run_is_raised_to_what_the_server_s_kernels_need() -> None:
    """The dry run's build may be older than the server's: a card that converts the cache gets at
    least our figure, another's stays.
    """
    shape = next(m for m in known_models() if m.id == "qwen3.5-4b").shape
    settings = ContextSettings(n_ctx=262_144, type_k="q8_0", type_v="q8_0")
    card = DeviceBuffers(name="CUDA0", weights_bytes=1, kv_cache_bytes=1, compute_bytes=320 * 2**20)
    dry_run = Footprint(
        weights_bytes=1, kv_cache_bytes=1, compute_bytes=586 * 2**20, output_bytes=1,
        source="dry_run", accelerators=(card,)
    )  # fmt: skip
    raised = with_conversions(dry_run, shape, settings)
    assert raised.accelerators[0].compute_bytes / 2**20 == pytest.approx(1340, abs=1)
    assert (
        raised.compute_bytes - dry_run.compute_bytes
        == raised.accelerators[0].compute_bytes - card.compute_bytes
    )
    assert (
        with_conversions(dry_run, shape, replace(settings, type_k="f16", type_v="f16")) == dry_run
    )
    vulkan = replace(dry_run, accelerators=(replace(card, name="Vulkan0"),))
    assert with_conversions(vulkan, shape, settings) == vulkan


@pytest.mark.parametrize(
    ("name", "backend"),
    [
        ("RTX 4090", "cuda"),
        ("RX 7900 XTX", "cuda"),
        ("Arc B580", "sycl"),
        ("M4 Max 64GB", "metal"),
        ("24GiB", "cuda"),
    ],
)
def test_a_maker_s_card_is_taken_to_run_what_needs_the_most(name: str, backend: str) -> None:
    """ROCm is CUDA's code; memory without a maker is taken for a card of NVIDIA's."""
    (device,) = parse_hardware(name).accelerators
    assert backend_of(device) == backend


def test_what_kernels_add_is_never_less_than_nothing() -> None:
    """Metal's larger graph of Qwen3 30B-A3B at 4,096 tokens packs tighter than the plain one: the
    larger of both is planned.
    """
    task = task_of("qwen3-30b-a3b", "Q4_K_M", n_ctx=4096)
    metal, plain = (
        place(replace(task, backend=b), parse_hardware("96GiB")).shares[0]
        for b in ("metal", "vulkan")
    )
    assert metal.compute_bytes >= plain.compute_bytes
    assert metal.conversion_bytes == metal.compute_bytes - plain.compute_bytes


def test_the_engine_s_names_tell_the_backend() -> None:
    """As they stand in its logs."""
    names = ("CUDA0", "ROCm1", "Vulkan0", "SYCL0", "MTL0", "RPC[10.0.0.1:50052]")
    assert [backend_named(n) for n in names] == ["cuda", "cuda", "vulkan", "sycl", "metal", None]


def test_the_gpu_s_memory_counts_only_if_the_engine_uses_it() -> None:
    """A GPU beside an engine that was built without it changes nothing; otherwise its free memory
    less the driver's context counts.
    """
    gpu = Device(name="GPU", vendor="nvidia", total_bytes=24 * 2**30, free_bytes=20 * 2**30)
    machine = replace(probe_machine(), devices=(gpu,))
    on_host = Footprint(
        weights_bytes=1, kv_cache_bytes=1, compute_bytes=1, output_bytes=1, source="dry_run"
    )
    card = DeviceBuffers(name="CUDA0", weights_bytes=1, kv_cache_bytes=1, compute_bytes=0)
    assert free_for_models(machine, on_host) == machine.memory.available_bytes
    assert (
        free_for_models(machine, replace(on_host, accelerators=(card,)))
        == 20 * 2**30 - GPU_CONTEXT_BYTES
    )
