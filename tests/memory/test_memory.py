"""Memory arithmetic: golden numbers worked by hand."""

import pytest

from hakaru.errors import Misuse
from hakaru.memory.compute import compute_bytes
from hakaru.memory.footprint import (
    compute_footprint,
    kv_cache_bytes,
    layer_cache_bytes,
    output_bytes,
)
from hakaru.memory.formula import formula_gigabytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.caches import LayerCache
from hakaru.models.catalogue import known_models
from hakaru.models.shape import Shape
from hakaru.testing import tiny_shape


@pytest.mark.parametrize(("bits", "gigabytes"), [(16, 168.0), (4, 42.0), (8, 84.0), (32, 336.0)])
def test_the_article_s_own_figures(bits: float, gigabytes: float) -> None:
    """70B at 16 bits is 168 GB and at 4 bits 42 GB."""
    assert formula_gigabytes(70 * 10**9, bits) == pytest.approx(gigabytes)


@pytest.mark.parametrize("bits", [0, -4, 65, float("nan")])
def test_bits_without_meaning_are_refused(bits: float) -> None:
    """No negative memory."""
    with pytest.raises(Misuse, match="bits per weight"):
        formula_gigabytes(10**9, bits)


def shape(id_: str) -> Shape:
    return next(m.shape for m in known_models() if m.id == id_)


@pytest.mark.parametrize(
    ("model", "mebibytes"),
    [("llama-3.1-8b-instruct", 4096), ("qwen3-32b", 8192), ("llama-3.1-70b-instruct", 10240)],
)
def test_kv_cache_at_32k_tokens(model: str, mebibytes: int) -> None:
    """Golden rows: 32,768 tokens, F16, one conversation; the 8B and 70B rows were seen in dry
    runs.
    """
    settings = ContextSettings(n_ctx=32768)
    found = shape(model)
    assert kv_cache_bytes(found, settings) == mebibytes * 2**20


def test_kv_cache_types_and_padding() -> None:
    """q8_0 takes 34 bytes for 32 values; a conversation's cells are padded to 256."""
    tiny = (tiny_shape().caches or ())[0]  # 2 heads of 64: a row of 128 values
    f16 = layer_cache_bytes(tiny, ContextSettings(n_ctx=1))
    assert f16 == 256 * 2 * 128 * 2
    q8_0 = layer_cache_bytes(tiny, ContextSettings(n_ctx=256, type_k="q8_0", type_v="q8_0"))
    assert q8_0 == 256 * 2 * 128 // 32 * 34
    four = layer_cache_bytes(tiny, ContextSettings(n_ctx=300, n_parallel=4))
    assert four == 4 * f16
    shared = layer_cache_bytes(tiny, ContextSettings(n_ctx=300, n_parallel=4, kv_unified=True))
    assert shared == 2 * f16


def test_a_window_keeps_itself_and_one_micro_batch() -> None:
    """A window of 512 with a micro-batch of 128: 640 cells, padded to 768; at 256 tokens of context
    no more than these.
    """
    cache = LayerCache(k=64, v=64, n_embd_head_k=64, n_embd_head_v=64, window=512)
    assert layer_cache_bytes(cache, ContextSettings(n_ctx=8192, n_ubatch=128)) == 768 * 256
    assert layer_cache_bytes(cache, ContextSettings(n_ctx=256, n_ubatch=128)) == 256 * 256
    pooled = ContextSettings(n_ctx=8192, n_ubatch=128, n_parallel=2, kv_unified=True)
    assert (
        layer_cache_bytes(cache, pooled) == 1280 * 256
    )  # two windows and a micro-batch: 1152, padded


def test_a_state_does_not_grow() -> None:
    """A recurrent layer keeps F32 values per conversation, whatever the context."""
    cache = LayerCache(state=1000)
    assert layer_cache_bytes(cache, ContextSettings(n_ctx=256)) == 4000
    assert layer_cache_bytes(cache, ContextSettings(n_ctx=65536, n_parallel=3)) == 12000


def test_a_cache_row_that_no_block_divides_is_refused() -> None:
    """A head of 36 values cannot be stored in blocks of 32."""
    odd = tiny_shape(n_head_kv=(1, 1), n_embd_head_k=36)
    with pytest.raises(Misuse, match=r"q8_0 stores blocks of 32.*36 elements"):
        kv_cache_bytes(odd, ContextSettings(n_ctx=256, type_k="q8_0"))


def test_compute_of_llama_70b_with_all_logits() -> None:
    """Seen in dry runs: 378.5 MiB for a micro-batch of 512 and 1514.1 MiB for one of 2048."""
    llama = shape("llama-3.1-70b-instruct")
    for n_ubatch, mebibytes in ((512, 378.52), (2048, 1514.08)):
        settings = ContextSettings(n_ctx=32768, n_ubatch=n_ubatch, n_outputs_max=n_ubatch)
        assert compute_bytes(llama, settings) == pytest.approx(mebibytes * 2**20, rel=0.001)


def test_output_and_outputs_follow_the_conversations() -> None:
    """One row of logits per conversation is kept when serving."""
    tiny = tiny_shape()
    assert output_bytes(tiny, ContextSettings(n_ctx=1024, n_parallel=3)) == 3 * 4 * 512
    assert ContextSettings(n_ctx=1024, n_parallel=3).n_outputs == 3
    assert ContextSettings(n_ctx=100, n_ubatch=512).n_tokens == 100


def test_an_architecture_that_we_do_not_model_is_not_guessed() -> None:
    """None, so that the caller asks the dry run; never a wrong number."""
    assert (
        compute_footprint(
            tiny_shape(architecture="rwkv7", caches=None), (), ContextSettings(n_ctx=256)
        )
        is None
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n_ctx": -1}, "`n_ctx` is -1"),
        ({"n_ctx": 0}, "`n_ctx` is 0"),
        ({"n_ctx": 10**12}, "`n_ctx` is 1000000000000"),
        ({"n_ctx": 256, "n_ubatch": 0}, "`n_ubatch` is 0"),
        ({"n_ctx": 256, "n_parallel": 1000}, "`n_parallel` is 1000"),
        ({"n_ctx": 256, "type_k": "q3_k"}, "`type_k` is 'q3_k'"),
    ],
)
def test_settings_without_meaning_are_refused(changes: dict[str, object], words: str) -> None:
    """A negative or absurd context never reaches the engine."""
    with pytest.raises(Misuse, match=words):
        ContextSettings(**changes)  # type: ignore[arg-type]
