"""What a device's attention needs beside its result: figures from logs and by hand."""

import pytest
from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.memory.compute import device_compute, runs_flash_attention
from hakaru.memory.flash_attention import Attention, Backend, has_kernel, scratch
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import KnownModel, known_models

MIB = 2**20


def model(id_: str) -> KnownModel:
    return next(m for m in known_models() if m.id == id_)


def added(
    id_: str, settings: ContextSettings, backend: Backend = "cuda", n_devices: int = 1
) -> int:
    """Bytes that the backend's attention adds to the first device's buffer, compared with one that
    needs none.
    """
    ours, plain = (
        device_compute(model(id_).shape, settings, n_devices=n_devices, backend=b)
        for b in (backend, "vulkan")
    )
    assert ours
    assert plain
    return ours.first_bytes - plain.first_bytes


@pytest.mark.parametrize(("type_", "gibibytes"), [("f16", 0.31), ("q8_0", 1.30)])
def test_qwen_at_its_whole_context_as_it_was_measured_on_a_card(
    type_: str, gibibytes: float
) -> None:
    """Qwen3.5-4B at 262,144 tokens (llama.cpp, PR #23907): 0.31 GiB of compute with F16, 1.30 GiB
    with Q8_0.
    """
    settings = ContextSettings(n_ctx=262_144, type_k=type_, type_v=type_)
    found = device_compute(
        model("qwen3.5-4b").shape, settings, n_devices=1, backend="cuda", mixed=False
    )
    assert found
    assert found.first_bytes / 2**30 == pytest.approx(gibibytes, abs=0.005)


@pytest.mark.parametrize("type_", ["q8_0", "q5_1", "q4_0", "bf16", "f32"])
def test_every_type_but_f16_is_converted(type_: str) -> None:
    """Llama 3.1 8B at 131,072 tokens: (1024 + 1024) × 131,072 × 2 bytes are 512 MiB, whatever the
    type was. A part of them lies where the feed-forward layer lies at another time.
    """
    settings = ContextSettings(n_ctx=131_072, type_k=type_, type_v=type_)
    assert 512 * MIB * 0.85 < added("llama-3.1-8b-instruct", settings) <= 512 * MIB


def test_only_what_is_not_f16_is_converted() -> None:
    """Keys in Q8_0 and values in F16 need half of it; the other way round, too."""
    both, k, v, none = (
        added("llama-3.1-8b-instruct", ContextSettings(n_ctx=131_072, type_k=type_k, type_v=type_v))
        for type_k, type_v in (("q4_0", "q4_0"), ("q4_0", "f16"), ("f16", "q4_0"), ("f16", "f16"))
    )
    assert both - k == pytest.approx(256 * MIB, rel=0.05)
    assert both - v == pytest.approx(256 * MIB, rel=0.05)
    assert none == 0


@pytest.mark.parametrize(("unified", "n_cells"), [(False, 131_072), (True, 131_072)])
def test_all_conversations_are_converted_at_once(unified: bool, n_cells: int) -> None:
    """Four conversations share the context, as parts or as one pool: as many cells as one alone
    has.
    """
    settings = ContextSettings(
        n_ctx=n_cells, type_k="q8_0", type_v="q8_0", n_parallel=4, kv_unified=unified
    )
    alone = added("llama-3.1-8b-instruct", replace(settings, n_parallel=1, kv_unified=False))
    assert added("llama-3.1-8b-instruct", settings) == pytest.approx(alone, rel=0.02)


def test_the_widest_layer_decides_and_windows_count_with_their_window() -> None:
    """Gemma 3 27B: layers without a window have 16 heads of 128 for keys and for values, 4,096 in
    all. At 131,072 tokens that is 1,024 MiB; the five of six layers with a window of 1,024 would
    need 1,536 cells, 12 MiB.
    """
    settings = ContextSettings(n_ctx=131_072, type_k="q8_0", type_v="q8_0")
    assert 1024 * MIB * 0.85 < added("gemma-3-27b-it", settings) <= 1024 * MIB


def test_the_values_of_mla_are_a_part_of_its_keys() -> None:
    """DeepSeek V3 keeps one row of 576 per cell: at 131,072 tokens 144 MiB, not 272. The result of
    128 MiB lies before the copy, and no longer where the queries were.
    """
    settings = ContextSettings(n_ctx=131_072, type_k="q8_0", type_v="q8_0")
    assert added("deepseek-v3-0324", settings) == (144 + 128) * MIB
    assert scratch(
        "cuda",
        Attention(k=576, v=0, n_head=128, n_embd_head_v=512, cells="C"),
        k_is_f16=False,
        v_is_f16=False,
    ) == ((1152, "CN"),)


@pytest.mark.parametrize("n_devices", [1, 2, 4])
def test_every_card_has_its_own(n_devices: int) -> None:
    """On two cards and on four each converts its own layers."""
    settings = ContextSettings(n_ctx=131_072, type_k="q8_0", type_v="q8_0")
    shape = model("llama-3.1-8b-instruct").shape
    ours, plain = (
        device_compute(shape, settings, n_devices=n_devices, backend=b) for b in ("cuda", "vulkan")
    )
    assert ours
    assert plain
    for i in range(n_devices):
        assert ours.of(i, n_devices) - plain.of(i, n_devices) > 435 * MIB
    assert ours.host_bytes == plain.host_bytes


def test_layers_that_stay_in_ram_convert_nothing() -> None:
    """The processor's kernels read the cache as it is: host memory is the same whatever the card's
    backend.
    """
    settings = ContextSettings(n_ctx=131_072, type_k="q8_0", type_v="q8_0")
    shape = model("qwen3-4b").shape
    ours, plain = (
        device_compute(shape, settings, n_devices=1, all_layers=False, backend=b)
        for b in ("cuda", "vulkan")
    )
    assert ours
    assert plain
    assert ours.host_bytes == plain.host_bytes
    assert ours.first_bytes > plain.first_bytes


def test_metal_reserves_the_copies_whatever_the_type() -> None:
    """Its buffer has room for a layer in F16 even where the cache is F16
    (ggml_metal_op_flash_attn_ext_extra_kv_f16).
    """
    f16 = ContextSettings(n_ctx=131_072)
    q8_0 = replace(f16, type_k="q8_0", type_v="q8_0")
    assert 512 * MIB * 0.85 < added("llama-3.1-8b-instruct", f16, "metal") < 560 * MIB
    assert 512 * MIB * 0.85 < added("llama-3.1-8b-instruct", q8_0, "metal") < 560 * MIB


@pytest.mark.parametrize(("n_ctx", "mebibytes"), [(8192, 560.00), (512, 258.50)])
def test_without_flash_attention_the_scores_of_all_heads_are_written_down(
    n_ctx: int, mebibytes: float
) -> None:
    """Llama 3 8B on an RTX 4090 and an RTX 3070, logs of engines that had none by default: 32 heads
    x 512 x 8,192 x 4 bytes are 512 MiB.
    """
    settings = ContextSettings(n_ctx=n_ctx, n_outputs_max=512)
    found = device_compute(
        model("llama-3.1-8b-instruct").shape,
        settings,
        n_devices=1,
        backend="cuda",
        flash=False,
        mixed=False,
    )
    assert found
    assert found.first_bytes / MIB == pytest.approx(mebibytes, abs=0.02)


def test_experts_in_ram_without_flash_attention() -> None:
    """Qwen3-30B-A3B at 16,384 tokens with its experts in RAM, log of the first card: 1,080.00
    MiB.
    """
    settings = ContextSettings(n_ctx=16_384, n_outputs_max=512)
    found = device_compute(
        model("qwen3-30b-a3b").shape,
        settings,
        n_devices=2,
        experts_on_host=True,
        backend="cuda",
        flash=False,
        mixed=False,
    )
    assert found
    assert found.first_bytes / MIB == pytest.approx(1080.00, abs=0.02)


def test_a_head_that_has_no_kernel_turns_flash_attention_off() -> None:
    """Sarashina 2.2 3B has heads of 160: CUDA and Metal have no kernel for them. 16 heads x 512 x
    8,192 x 4 bytes are 256 MiB.
    """
    shape = model("sarashina2.2-3b-instruct-v0.1").shape
    settings = ContextSettings(n_ctx=8192)
    assert added("sarashina2.2-3b-instruct-v0.1", settings) > 200 * MIB
    assert not runs_flash_attention(shape, settings, "metal")
    assert runs_flash_attention(shape, settings, "vulkan")
    with pytest.raises(Misuse, match="heads of 160 and 160"):
        device_compute(
            shape, replace(settings, type_k="q8_0", type_v="q8_0"), n_devices=1, backend="cuda"
        )
    quantized_keys = device_compute(
        shape, replace(settings, type_k="q8_0"), n_devices=1, backend="cuda"
    )
    assert quantized_keys  # values in F16 need no flash attention


@pytest.mark.parametrize(
    ("backend", "heads", "types", "has"),
    [
        ("cuda", (576, 512, 128), ("f16", "f16"), True),  # DeepSeek
        ("cuda", (320, 256, 32), ("f16", "f16"), True),  # Mistral Small 4
        ("cuda", (320, 256, 20), ("f16", "f16"), False),
        ("cuda", (192, 128, 8), ("f16", "f16"), True),  # MiMo
        ("cuda", (192, 192, 1), ("f16", "f16"), False),
        ("cuda", (512, 512, 1), ("f16", "f16"), False),
        ("cuda", (128, 128, 4), ("iq4_nl", "iq4_nl"), False),
        ("cuda", (128, 128, 4), ("q8_0", "f16"), True),
        ("metal", (192, 192, 1), ("f16", "f16"), True),
        ("metal", (128, 128, 4), ("q8_0", "f16"), False),  # one type for both
        ("sycl", (160, 160, 2), ("f16", "f16"), False),
        ("vulkan", (160, 160, 2), ("q8_0", "f16"), True),
    ],
)
def test_kernels_by_head_and_type(
    backend: Backend, heads: tuple[int, int, int], types: tuple[str, str], has: bool
) -> None:
    """As the pinned engine's sources list them."""
    assert has_kernel(backend, heads, type_k=types[0], type_v=types[1]) is has
