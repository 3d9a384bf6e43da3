"""What a token reads and computes, against numbers worked by hand from published shapes."""

import pytest
from msgspec.structs import replace

from hakaru.formats.header_file import header_tensors
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.planning.shares import Layout
from hakaru.planning.speed import split_work
from hakaru.planning.token_work import ItemWork, TokenWork, item_works, total, whole_work


def known(id_: str) -> KnownModel:
    return next(model for model in known_models() if model.id == id_)


def items_of(id_: str, **cache: str) -> tuple[ItemWork, ...]:
    model = known(id_)
    return item_works(header_tensors(model.tensors()), model.shape, **cache)


def test_a_dense_model_reads_all_but_its_embedding() -> None:
    """Llama 3.1 8B has 8.03B weights of two bytes; 128,256 rows of 4,096 are the embedding, of
    which a token reads one row.
    """
    work = whole_work(items_of("llama-3.1-8b-instruct"))
    assert work.read_bytes == pytest.approx(2 * (8_030_261_312 - 128_256 * 4096), rel=1e-4)
    assert work.read_bytes == work.stored_bytes
    assert work.n_layer == 32
    assert work.n_expert == 0


def test_a_tied_embedding_is_read_as_the_output() -> None:
    """Llama 3.2 1B has one matrix for both: every weight is read."""
    work = whole_work(items_of("llama-3.2-1b-instruct"))
    assert work.read_bytes == pytest.approx(2 * 1_235_814_400, rel=1e-4)


def test_a_mixture_reads_the_experts_in_use() -> None:
    """Qwen3 30B A3B: 8 of 128 experts, so 3.35B of 30.5B weights with the output, of which 0.31B
    are the embedding that is not read.
    """
    work = whole_work(items_of("qwen3-30b-a3b"))
    assert work.n_expert_layer == 48
    assert work.expert_products == pytest.approx(48 * 8 * 3 * 2048 * 768)
    assert work.part_of_experts(1) == pytest.approx(8 / 128)
    assert work.part_of_experts(512) == pytest.approx(1, abs=1e-6)
    assert work.stored_bytes / work.read_bytes == pytest.approx(30.2 / 3.04, rel=0.02)


def test_the_cache_grows_with_the_depth() -> None:
    """Qwen3 8B keeps 36 layers x 8 heads x 128 keys and values in F16: 147,456 bytes a token; in
    Q8_0 17/32 of that.
    """
    f16 = whole_work(items_of("qwen3-8b"))
    q8 = whole_work(items_of("qwen3-8b", type_k="q8_0", type_v="q8_0"))
    assert f16.cache_bytes(1000) == 147_456_000
    assert q8.cache_bytes(1000) == pytest.approx(147_456_000 * 17 / 32)


def test_windows_end_the_growth() -> None:
    """Gemma 3 4B: 29 of 34 layers see at most 1,024 tokens."""
    work = whole_work(items_of("gemma-3-4b-it"))
    more = work.cache_bytes(20_000) - work.cache_bytes(10_000)
    assert more == 10_000 * 5 * 4 * 256 * 2 * 2


def test_layers_of_a_hybrid_have_a_state_or_a_cache() -> None:
    """Of Qwen3.6 35B A3B every fourth of 40 layers has attention, all others a state."""
    items = items_of("qwen3.6-35b-a3b")
    work, attending = whole_work(items), [item for item in items if item.rest.attention]
    assert (len(attending), work.n_state_layer) == (10, 30)
    (one,), (all_,) = attending[0].rest.attention, work.attention
    assert all_.cell_bytes == 10 * one.cell_bytes and all_.products == 10 * one.products
    assert work.state_bytes > 0


def test_work_is_split_as_the_layout_says() -> None:
    """Two cards and RAM hold together what the model is; experts that stay in RAM are there."""
    items = items_of("qwen3-30b-a3b")
    works, ram = split_work(items, Layout(counts=(20, 21), n_cpu_moe=10))
    whole = whole_work(items)
    assert sum(work.stored_bytes for work in works) + ram.stored_bytes == pytest.approx(
        whole.stored_bytes
    )
    assert [work.n_layer for work in works] == [20, 20]
    assert ram.n_layer == 8
    assert [work.n_expert_layer for work in (ram, *works)] == [10, 18, 20]


def test_a_copy_of_a_tensor_is_read_once() -> None:
    """llama.cpp lists a tied embedding twice."""
    model = known("llama-3.2-1b-instruct")
    tensors = header_tensors(model.tensors())
    twice = (*tensors, next(t for t in tensors if t.name == "token_embd.weight"))
    works = [whole_work(item_works(some, model.shape)) for some in (tensors, twice)]
    assert works[0] == works[1]


def test_nothing_adds_nothing() -> None:
    """The empty work is the zero of the sum, in whatever order."""
    work = whole_work(items_of("qwen3-30b-a3b"))
    assert total((work, TokenWork())) == total((TokenWork(), work)) == work


def test_equal_items_count_as_often_as_they_stand_there() -> None:
    """One object that stands three times, and three that are alike, have one sum."""
    work = whole_work(items_of("qwen3-30b-a3b"))
    alike = [replace(work), replace(work), replace(work)]
    assert total([work] * 3) == total(alike)
    assert total(alike).products == 3 * work.products
    assert total(alike).n_expert == work.n_expert
    assert total(()) == TokenWork()
