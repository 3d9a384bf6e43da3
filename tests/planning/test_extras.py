"""What is loaded beside a model: drafts with contexts of their own, and refusals of pairs that
cannot be.
"""

from pathlib import Path

import pytest
from msgspec.structs import replace

from hakaru.errors import Misuse
from hakaru.formats.header_file import write_header_only
from hakaru.formats.metadata import MetadataValue
from hakaru.hardware.named_machine import parse_hardware
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.models.sources.find import find_model
from hakaru.planning.extras import bytes_of, draft_extra, mtp_extra
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task, placement
from hakaru.planning.search import max_context
from hakaru.planning.search import place as find_place
from hakaru.planning.shares import Layout
from hakaru.testing import llama_tensors, tiny_shape

MIB = 2**20


def known(name: str) -> Model:
    return read_model(find_model(name).path)


def test_mtp_layers_keep_a_cache_and_copies_of_the_states() -> None:
    """Qwen3.6-27B at 131,072 tokens, four conversations in one pool. Log: one layer of 131,072
    cells has 272 MiB in Q8_0, so 512 MiB in F16, which drafts use whatever the model's cache is.
    States: 598.5 MiB (log), kept three times more to go back.
    """
    settings = ContextSettings(
        n_ctx=131_072, n_parallel=4, kv_unified=True, type_k="q8_0", type_v="q8_0"
    )
    found = mtp_extra(known("qwen3.6-27b"), settings)
    assert found.kv_cache_bytes / MIB == pytest.approx(512 + 3 * 598.5, abs=0.1)
    assert found.compute_bytes > 0
    assert (
        found.weights_bytes > 400 * MIB
    )  # one layer and its projection of 27 thousand million weights in 65


def test_the_context_for_mtp_is_the_one_that_an_engine_told() -> None:
    """Qwen3.8-27B at 8,192 tokens, micro-batch 2,048, two drafted tokens, on Vulkan. The engine's
    log: a context of 552.06 MiB (32 of cache, 520.06 of compute), 448.88 MiB of states instead of
    149.62, and 568.18 MiB for the model's own compute instead of 520.06.
    """
    found = mtp_extra(
        known("qwen3.8-27b"),
        ContextSettings(n_ctx=8192, n_ubatch=2048),
        backend="vulkan",
        n_draft=2,
    )
    assert found.kv_cache_bytes / MIB == pytest.approx(32 + 448.88 - 149.62, abs=0.1)
    assert 520.06 + 48.12 <= found.compute_bytes / MIB < 520.06 + 48.12 + 2


def test_mtp_layers_of_a_dense_model_have_no_states() -> None:
    """GLM 4.5 Air: one layer of 8 heads of 128 for keys and for values."""
    found = mtp_extra(known("glm-4.5-air"), ContextSettings(n_ctx=32_768))
    assert found.kv_cache_bytes == 32_768 * 2 * 8 * 128 * 2


def test_mtp_layers_with_windows_keep_their_window_and_a_micro_batch() -> None:
    """Step 3.5 Flash: three blocks that chain, in one context. The engine told 12,582,912 bytes for
    its cache at 131,072 tokens: 1,024 cells of 8 heads of 128 for keys and for values.
    """
    found = mtp_extra(known("step-3.5-flash"), ContextSettings(n_ctx=131_072))
    assert found.kv_cache_bytes == 3 * 1024 * 2 * 8 * 128 * 2 == 12_582_912


def test_mtp_layers_draft_without_an_indexer() -> None:
    """DeepSeek 3.2 at 131,072 tokens: the engine told 150,994,944 bytes for the cache of one layer
    and 519,053,344 for its computation; with an indexer it would be twice as much.
    """
    found = mtp_extra(known("deepseek-v3.2"), ContextSettings(n_ctx=131_072))
    assert found.kv_cache_bytes == 131_072 * 576 * 2 == 150_994_944
    assert 519_053_344 <= found.compute_bytes < 1.2 * 519_053_344


def test_a_model_without_such_layers_says_so() -> None:
    """Exit code 2."""
    with pytest.raises(Misuse, match="no layers for multi-token prediction") as refusal:
        mtp_extra(known("qwen3-8b"), ContextSettings(n_ctx=4096))
    assert refusal.value.exit_code == 2


def test_a_draft_has_a_context_of_its_own_in_f16() -> None:
    """Qwen3 0.6B: 28 layers x (1,024 + 1,024) x 2 bytes x 32,768 cells are 3,584 MiB, also beside a
    model whose cache is Q8_0.
    """
    settings = ContextSettings(n_ctx=32_768)
    f16 = draft_extra(known("qwen3-32b"), known("qwen3-0.6b"), settings)
    q8_0 = draft_extra(
        known("qwen3-32b"), known("qwen3-0.6b"), replace(settings, type_k="q8_0", type_v="q8_0")
    )
    assert f16.kv_cache_bytes == q8_0.kv_cache_bytes == 3584 * MIB
    assert f16.bytes == f16.weights_bytes + f16.kv_cache_bytes + f16.compute_bytes + f16.host_bytes


def test_extras_lie_on_the_first_accelerator_and_in_ram_and_sums_are_kept() -> None:
    """Their device's part on one card, their host's part in RAM; without a card all of it in
    RAM.
    """
    model = known("qwen3-4b")
    task = Task(
        load=load_of(model.loaded, model.shape.n_layer),
        shape=model.shape,
        settings=ContextSettings(n_ctx=4096),
    )
    more = replace(task, extras_bytes=700, extras_host_bytes=30)
    n = task.load.n_layer + 1
    for text, layout in (
        ("2x RTX 4090 + 64GiB", Layout(counts=(n, 0))),
        ("64GiB RAM", Layout(counts=())),
        ("M4 Max 64GB", Layout(counts=(n,))),
    ):
        place = parse_hardware(text)
        before, after = placement(task, place, layout), placement(more, place, layout)
        assert after.total_bytes - before.total_bytes == 730
    cards = placement(more, parse_hardware("2x RTX 4090 + 64GiB"), Layout(counts=(n, 0)))
    assert ([s.extras_bytes for s in cards.shares], cards.ram.extras_bytes) == ([700, 0], 30)


def test_the_longest_context_knows_that_a_draft_grows_with_it() -> None:
    """Qwen3 8B beside its draft on a card of 24 GiB: at the longest context the draft's cache is
    that of this context, and 256 tokens more do not fit.
    """
    target, draft = known("qwen3-8b"), known("qwen3-0.6b")
    place = parse_hardware("24GiB")

    def task_at(n_ctx: int) -> Task:
        load = load_of(target.loaded, target.shape.n_layer)
        at = ContextSettings(n_ctx=n_ctx)
        return Task(
            load=load,
            shape=target.shape,
            settings=at,
            extras_at=lambda s: bytes_of([draft_extra(target, draft, s)]),
        )

    longest = max_context(task_at(4096), place)
    assert 4096 < longest < 40_960
    assert find_place(task_at(longest), place).verdict == "fits"
    assert find_place(task_at(longest + 256), place).verdict != "fits"
    assert task_at(longest).extras_bytes > task_at(4096).extras_bytes


def with_tokens(path: Path, tokens: list[str], *, bos: int = 1, kind: str = "llama") -> Model:
    """A tiny model's header with that vocabulary."""
    shape = tiny_shape(n_vocab=len(tokens))
    keys: dict[str, MetadataValue] = {
        "general.architecture": "llama", "llama.block_count": 2, "llama.embedding_length": 256,
        "llama.feed_forward_length": 512, "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2, "tokenizer.ggml.model": kind,
        "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.add_bos_token": True,
        "tokenizer.ggml.bos_token_id": bos,
    }  # fmt: skip
    return read_model(
        write_header_only(path, keys, [(name, dims[::-1]) for name, dims in llama_tensors(shape)])
    )


TOKENS = [f"t{i}" for i in range(512)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "gpt2"}, "BPE tokens instead of SPM"),
        ({"bos": 2}, "BOS is token 2"),
        ({"tokens": TOKENS + [f"more{i}" for i in range(129)]}, "641 tokens instead of 512"),
        (
            {"tokens": [*TOKENS[:300], "other", *TOKENS[301:]]},
            "token 300 is 'other' instead of 't300'",
        ),
    ],
)
def test_a_draft_with_another_vocabulary_is_refused_with_the_reason(
    change: dict[str, object], reason: str, tmp_path: Path
) -> None:
    """llama.cpp's conditions, each with both values; exit code 2."""
    target = with_tokens(tmp_path / "target.gguf", TOKENS)
    draft = with_tokens(tmp_path / "draft.gguf", **({"tokens": TOKENS} | change))  # type: ignore[arg-type]
    with pytest.raises(Misuse, match=reason) as refusal:
        draft_extra(target, draft, ContextSettings(n_ctx=256))
    assert refusal.value.exit_code == 2


def test_a_draft_that_llama_cpp_takes_is_taken(tmp_path: Path) -> None:
    """Up to 128 more tokens at the end, and other texts among the first five."""
    target = with_tokens(tmp_path / "target.gguf", TOKENS)
    for name, tokens in (
        ("more", TOKENS + [f"x{i}" for i in range(128)]),
        ("first", ["a", "b", "c", "d", "e", *TOKENS[5:]]),
    ):
        draft = with_tokens(tmp_path / f"{name}.gguf", tokens)
        assert draft_extra(target, draft, ContextSettings(n_ctx=256)).bytes > 0


def test_catalogue_models_are_compared_by_what_is_known_of_them() -> None:
    """Of a model that nobody has downloaded the number of tokens is known, and no text."""
    with pytest.raises(Misuse, match="151,936 tokens instead of 128,256"):
        draft_extra(
            known("llama-3.1-70b-instruct"), known("qwen3-0.6b"), ContextSettings(n_ctx=4096)
        )
