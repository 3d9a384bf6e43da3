"""Verdicts, ways out and placement: pure arithmetic."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.hardware.catalogue import parse_hardware
from hakaru.hardware.machine import Device
from hakaru.hardware.probe import probe_machine
from hakaru.memory.footprint import ContextSettings, Footprint, compute_footprint
from hakaru.models.catalogue import nearest_model
from hakaru.models.gguf import Tensor
from hakaru.models.quant_types import BY_NAME
from hakaru.planning.exact import exact_answer
from hakaru.planning.placement import GPU_CONTEXT_BYTES, SmallerType, alternatives, free_for_models, judge, max_context, place
from hakaru.testing import tiny_shape

LLAMA_70B = nearest_model(70 * 10**9)


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
    """The formula says no; layer by layer it fits, 40 layers on each card, up to some tens of thousands of tokens."""
    assert LLAMA_70B
    answer = exact_answer(LLAMA_70B, 16, parse_hardware("2x A100 80GB"), ContextSettings(n_ctx=4096))
    assert answer.verdict == "fits"
    assert [s.n_layer for s in answer.shares] == [40, 40]
    assert answer.weights_bytes == pytest.approx(2 * 70_553_706_496, rel=1e-3)
    assert answer.max_context % 256 == 0
    at_limit = place(
        LLAMA_70B.shape, 16, parse_hardware("2x A100 80GB"), ContextSettings(n_ctx=answer.max_context + 256), tied=False
    )
    assert any(judge(s.needed_bytes, s.device.usable_bytes) != "fits" for s in at_limit)


def test_70b_at_16_bits_on_two_l4_does_not_fit_at_any_context() -> None:
    """And then no context is named."""
    assert LLAMA_70B
    answer = exact_answer(LLAMA_70B, 16, parse_hardware("2x L4"), ContextSettings(n_ctx=4096))
    assert (answer.verdict, answer.max_context) == ("does_not_fit", 0)


@given(st.lists(st.integers(min_value=4, max_value=96), min_size=1, max_size=8))
def test_layers_are_placed_whole_and_once(sizes: list[int]) -> None:
    """Whatever the devices, every layer lies on exactly one of them, and nothing is lost."""
    shape = tiny_shape(n_layer=33)
    devices = parse_hardware(" + ".join(f"{n}GiB" for n in sizes))
    shares = place(shape, 16, devices, ContextSettings(n_ctx=256), tied=False)
    assert sum(s.n_layer for s in shares) == 33
    whole = sum(n * m for dims in dict(shape.tensors()).values() for n, m in [(dims[0], dims[1] if len(dims) > 1 else 1)])
    assert sum(s.weights_bytes for s in shares) == pytest.approx(2 * whole, abs=len(shares))


def test_more_memory_never_means_less_context() -> None:
    """The longest context grows with the memory."""
    assert LLAMA_70B
    found = [
        max_context(LLAMA_70B.shape, 4.89, parse_hardware(f"2x {n}GiB"), ContextSettings(n_ctx=4096), tied=False)
        for n in (20, 24, 32, 48)
    ]
    assert found == sorted(found)
    assert found[0] < found[-1]


def test_ways_out_free_what_they_say() -> None:
    """Each way is computed, not guessed; those that fit come first."""
    shape = tiny_shape(n_layer=8)
    tensors = [Tensor(name="w", shape=(256, 4096), type=BY_NAME["F16"], offset=0)]
    settings = ContextSettings(n_ctx=65536)

    def at(other: ContextSettings) -> Footprint:
        found = compute_footprint(shape, tensors, other)
        assert found
        return found

    needed = at(settings)
    total = needed.total_bytes
    smaller = SmallerType(preset="Q4_K_M", frees_bytes=10)
    ways = alternatives(needed, total * 6 // 10, settings, footprint_at=at, smaller=smaller)
    assert len(ways) == 3
    assert [w.fits for w in ways] == sorted((w.fits for w in ways), reverse=True)
    q8_0 = next(w for w in ways if "q8_0" in w.flag)
    assert q8_0.frees_bytes == total - at(ContextSettings(n_ctx=65536, type_k="q8_0", type_v="q8_0")).total_bytes
    context = int(next(w for w in ways if "--context" in w.flag).flag.split()[1])
    assert judge(at(settings.with_context(context)).total_bytes, total * 6 // 10) == "fits"
    assert judge(at(settings.with_context(context + 256)).total_bytes, total * 6 // 10) != "fits"
    assert ways[-1].frees_bytes == 10


def test_the_gpu_s_memory_counts_only_if_the_engine_uses_it() -> None:
    """A GPU beside an engine that was built without it changes nothing; otherwise its free memory less the driver's
    context counts.
    """
    gpu = Device(name="GPU", vendor="nvidia", total_bytes=24 * 2**30, free_bytes=20 * 2**30)
    machine = replace(probe_machine(), devices=(gpu,))
    on_host = Footprint(weights_bytes=1, kv_cache_bytes=1, compute_bytes=1, output_bytes=1, source="dry_run")
    assert free_for_models(machine, on_host) == machine.memory.available_bytes
    assert free_for_models(machine, replace(on_host, accelerator_bytes=2)) == 20 * 2**30 - GPU_CONTEXT_BYTES
