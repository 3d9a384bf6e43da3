"""Context checkpoints: how large one is, by hand and by the engine's log, and a conversation that
grows for 40 turns.
"""

import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hakaru.engine.server import EngineServer
from hakaru.engine.server_log import ServerLog
from hakaru.formats.metadata import Metadata
from hakaru.memory.footprint import compute_footprint, overhead_bytes
from hakaru.memory.growth import (
    MOST_CACHE_RAM_MIB,
    MOST_CHECKPOINTS,
    REQUEST_BYTES,
    checkpoint_bytes,
    checkpoints_bytes,
    draft_copy_bytes,
    filled,
    most_cache_ram_mib,
    most_checkpoints,
    prompt_bytes,
    requests_bytes,
)
from hakaru.memory.settings import LEAST_CHECKPOINTS, ContextSettings
from hakaru.models.catalogue import known_models
from hakaru.models.model import read_model
from hakaru.models.shape import Shape, shape_of
from hakaru.testing import tiny_hyperparameters, tiny_shape, write_tiny

MIB = 2**20
SAVED = re.compile(r"saving prompt with length (\d+), total state size = ([\d.]+) MiB")
AT_32K = ContextSettings(n_ctx=32768)


def known(id_: str) -> Shape:
    return next(m.shape for m in known_models() if m.id == id_)


def tiny(architecture: str, **changes: Any) -> Shape:
    return shape_of(
        Metadata(Path("tiny.gguf"), tiny_hyperparameters(architecture, **changes)), n_vocab=512
    )


QWEN_27B = {
    "block_count": 64, "embedding_length": 5120, "full_attention_interval": 4,
    "ssm__conv_kernel": 4, "ssm__inner_size": 6144, "ssm__state_size": 128,
    "ssm__time_step_rank": 48, "ssm__group_count": 16, "attention__head_count": 24,
    "attention__head_count_kv": 4, "attention__key_length": 256, "attention__value_length": 256,
}  # fmt: skip
"""Qwen3.5-, 3.6- and 3.8-27B. A state: 3 × (6144 + 2 × 16 × 128) last inputs and 128 × 6144 sums,
F32, in 48 of 64 layers.
"""


def test_a_hybrid_of_27b_keeps_150_mib_each() -> None:
    """149.6 MiB, as its engine's log says; 18.7 GiB for four conversations with 32 each."""
    shape = tiny("qwen35", **QWEN_27B)
    each = checkpoint_bytes(shape, AT_32K)
    assert each == 48 * (4 * (3 * 10240 + 128 * 6144) + 24) + 20 + 8
    assert each / MIB == pytest.approx(149.6, abs=0.05)
    four = replace(AT_32K, n_parallel=4, n_checkpoints=32)
    assert checkpoints_bytes(shape, four) / 2**30 == pytest.approx(18.7, abs=0.05)


def test_a_windowed_model_of_27b_keeps_its_windows() -> None:
    """Gemma 3 27B: 52 of 62 layers, 1024 cells of 16 heads of 128 in F16: 416 MiB; 13 GiB a
    conversation.
    """
    each = checkpoint_bytes(known("gemma-3-27b-it"), AT_32K)
    assert each
    assert each // MIB == 52 * 1024 * 2 * 16 * 128 * 2 // MIB == 416
    assert checkpoints_bytes(
        known("gemma-3-27b-it"), replace(AT_32K, n_checkpoints=32)
    ) / 2**30 == pytest.approx(13.0, abs=0.05)


def test_a_window_is_never_longer_than_the_conversation_and_takes_the_cache_s_type() -> None:
    """4096 tokens of context in four conversations of 1024; Q8_0 takes 34 bytes for 32 values."""
    shape = known("gemma-3-27b-it")
    half = checkpoint_bytes(shape, ContextSettings(n_ctx=512))
    assert half and half // MIB == 208
    quantized = checkpoint_bytes(shape, replace(AT_32K, type_k="q8_0", type_v="q8_0"))
    assert quantized and quantized // MIB == 416 * 34 // 64


@pytest.mark.parametrize("architecture", ["llama", "qwen3moe", "deepseek2", "phi3"])
def test_a_model_that_sees_everything_makes_none(architecture: str) -> None:
    """It can go back by forgetting the last cells."""
    shape = tiny(architecture)
    assert checkpoint_bytes(shape, AT_32K) == 0
    assert most_checkpoints(shape, AT_32K, 2**40) is None


def test_layers_that_read_another_layer_s_cache_keep_nothing() -> None:
    """Gemma 3n: 20 of 35 layers have a cache, 16 of these a window of 512 tokens with 2 heads of
    256.
    """
    shape = tiny(
        "gemma3n",
        block_count=35,
        attention__head_count_kv=2,
        attention__key_length=256,
        attention__value_length=256,
        attention__sliding_window=512,
    )
    each = checkpoint_bytes(shape, AT_32K)
    assert each and each // MIB == 16 * 512 * 2 * 512 * 2 // MIB == 16


def test_a_window_that_is_stated_and_not_used_is_copied_whole() -> None:
    """EXAONE 4 has windows with 64 layers only; with fewer and the key the engine copies the whole
    cache of a conversation.
    """
    row = 4 * (2 * 2 * 64 * 2) + 12
    for n_parallel, cells in ((1, 8192), (2, 4096)):
        each = checkpoint_bytes(
            tiny("exaone4", block_count=4), ContextSettings(n_ctx=8192, n_parallel=n_parallel)
        )
        assert each and 0 < each - cells * row < 200
    assert (
        checkpoint_bytes(tiny("exaone4", block_count=4, attention__sliding_window=None), AT_32K)
        == 0
    )


def test_what_is_not_known_is_not_none_at_all() -> None:
    """An architecture without arithmetic of ours: its size is None, and its checkpoints are
    switched off.
    """
    shape = replace(tiny_shape(), architecture="rwkv7", caches=None)
    assert checkpoint_bytes(shape, AT_32K) is None
    assert most_checkpoints(shape, AT_32K, 2**40) == 0


def test_as_many_as_there_is_room_for() -> None:
    """Between the least and the engine's own number, over all conversations."""
    shape, two = known("gemma-3-27b-it"), replace(AT_32K, n_parallel=2)
    each = checkpoint_bytes(shape, two)
    assert each
    assert most_checkpoints(shape, two, -1) == LEAST_CHECKPOINTS
    assert most_checkpoints(shape, two, 2 * 5 * each) == 5
    assert most_checkpoints(shape, two, 2 * 5 * each - 1) == 4
    assert most_checkpoints(shape, two, 2**50) == MOST_CHECKPOINTS == 32
    assert two.checkpoints_kept == LEAST_CHECKPOINTS


def test_of_a_draft_a_checkpoint_holds_what_it_could_not_restore() -> None:
    """Of a draft that sees everything the whole cache of one conversation, of one with windows the
    windows.
    """
    plain, two = tiny("llama"), ContextSettings(n_ctx=8192, n_parallel=2)
    assert draft_copy_bytes(plain.caches or (), two) == 4096 * (2 * 2 * 2 * 64 * 2 + 12)
    windowed = tiny("gemma3", block_count=6)
    assert draft_copy_bytes(windowed.caches or (), two) == checkpoint_bytes(windowed, two)


def test_requests_are_told_apart_by_context_only_where_it_is_long() -> None:
    """64 MiB; for a million tokens of context half a GiB."""
    assert requests_bytes(ContextSettings(n_ctx=131072)) == REQUEST_BYTES
    assert requests_bytes(ContextSettings(n_ctx=2**20)) == 512 * MIB


def test_the_engine_keeps_records_of_graphs_per_token_for_some() -> None:
    """40 nodes a token, 423 bytes each in three graphs: 24.8 MiB for Qwen3.5 with a micro-batch of
    512, which were missing.
    """
    hybrid, plain = tiny("qwen35"), tiny("llama")
    assert overhead_bytes(hybrid, AT_32K) - overhead_bytes(plain, AT_32K) == 512 * 40 * 3 * 423
    assert overhead_bytes(tiny("granitehybrid"), AT_32K) == overhead_bytes(plain, AT_32K)


def test_what_was_measured_before_is_still_found() -> None:
    """The number of checkpoints is no part of a key in the ledger."""
    assert replace(AT_32K, n_checkpoints=7).as_json() == AT_32K.as_json() == {
        "n_ctx": 32768, "n_ubatch": 512, "type_k": "f16", "type_v": "f16", "n_parallel": 1,
        "n_outputs_max": 1, "kv_unified": False,
    }  # fmt: skip


HYBRID = {
    "block_count": 4, "full_attention_interval": 4, "ssm__inner_size": 4096, "ssm__state_size": 128,
    "ssm__time_step_rank": 32, "ssm__group_count": 16, "context_length": 16384,
}  # fmt: skip
WINDOWED = {
    "block_count": 6, "attention__head_count": 4, "attention__head_count_kv": 4,
    "attention__key_length": 256, "attention__value_length": 256, "rope__dimension_count": 256,
    "attention__sliding_window": 512, "context_length": 16384,
}  # fmt: skip
SCANNED = {
    "ssm__conv_kernel": 4, "ssm__inner_size": 512, "ssm__state_size": 64, "ssm__time_step_rank": 8,
    "ssm__group_count": 1,
}  # fmt: skip
PER_LAYER = {
    "block_count": 22, "embedding_length_per_layer_input": 64, "altup__num_inputs": 4,
    "altup__active_idx": 0, "laurel__rank": 64,
}  # fmt: skip
_SIZE = re.compile(r"created context checkpoint .* size = ([0-9.]+) MiB")


def sizes_of(server: EngineServer) -> set[float]:
    return {float(found[1]) for line in server.log.lines if (found := _SIZE.search(line))}


@pytest.mark.engine
@pytest.mark.parametrize(
    ("architecture", "changes", "settings"),
    [
        ("qwen35", HYBRID, ContextSettings(n_ctx=2048)),
        ("qwen35", HYBRID, ContextSettings(n_ctx=2048, n_parallel=2)),
        ("gemma3", WINDOWED, ContextSettings(n_ctx=2048)),
        ("gemma3", WINDOWED, ContextSettings(n_ctx=4096, n_parallel=2)),
        ("gemma3", WINDOWED, ContextSettings(n_ctx=2048, type_k="q8_0", type_v="q8_0")),
        (
            "gpt-oss",
            {"attention__sliding_window": 512, "context_length": 16384},
            ContextSettings(n_ctx=2048),
        ),
        (
            "lfm2",
            {"attention__sliding_window": 512, "context_length": 16384},
            ContextSettings(n_ctx=2048),
        ),
        ("lfm2", {"context_length": 16384}, ContextSettings(n_ctx=2048)),
        ("mamba", {"context_length": 16384}, ContextSettings(n_ctx=2048)),
        ("granitehybrid", {"context_length": 16384}, ContextSettings(n_ctx=2048)),
        ("llama", {"context_length": 16384}, ContextSettings(n_ctx=2048)),
        ("falcon-h1", {**SCANNED, "context_length": 16384}, ContextSettings(n_ctx=2048)),
        (
            "gemma3n",
            {**PER_LAYER, "attention__sliding_window": 512, "context_length": 16384},
            ContextSettings(n_ctx=2048),
        ),
    ],
)
def test_the_engine_s_own_log_says_the_same(
    architecture: str, changes: dict[str, Any], settings: ContextSettings, tmp_path: Path
) -> None:
    """The largest checkpoint behind a window that is full, to the last digit that the log has."""
    metadata = tiny_hyperparameters(architecture, **changes)
    model = read_model(
        write_tiny(
            tmp_path / "m.gguf", metadata, tied=architecture.startswith("gemma"), vocabulary=True
        )
    )
    with EngineServer(model.path, settings) as server, server.client() as client:
        client.post(
            "/completion", json={"prompt": [5 + i % 200 for i in range(700)], "n_predict": 1}
        ).raise_for_status()
    each = checkpoint_bytes(model.shape, settings)
    assert each is not None
    assert max(sizes_of(server), default=0.0) == pytest.approx(
        each / MIB, abs=0.0006
    )  # the log is whole when it has ended


@pytest.mark.engine
@pytest.mark.parametrize("n_parallel", [1, 2])
@pytest.mark.parametrize(("architecture", "changes"), [("qwen35", HYBRID), ("gemma3", WINDOWED)])
def test_forty_turns_stay_within_the_plan(
    architecture: str, changes: dict[str, Any], n_parallel: int, tmp_path: Path
) -> None:
    """Every conversation grows for 40 turns; the resident memory ends within 3% of what was
    planned.

    A turn of less than 8192 tokens makes the engine tidy up when one more would fill the number, so
    it keeps 31 of 32.
    """
    settings = ContextSettings(
        n_ctx=2048 * n_parallel, n_parallel=n_parallel, n_checkpoints=MOST_CHECKPOINTS
    )
    metadata = tiny_hyperparameters(architecture, **changes)
    model = read_model(
        write_tiny(tmp_path / "m.gguf", metadata, tied=architecture == "gemma3", vocabulary=True)
    )
    loaded = compute_footprint(model.shape, model.loaded, settings)
    assert loaded
    grows = checkpoints_bytes(model.shape, settings)
    assert grows > loaded.total_bytes / 2  # otherwise this test could not fail
    with EngineServer(model.path, settings) as server, server.client() as client:
        for turn in range(1, 41):
            for slot in range(n_parallel):
                prompt = [5 + slot] * 512 + [5 + i % 200 for i in range(25 * turn)]
                asked = {"prompt": prompt, "n_predict": 2, "id_slot": slot}
                client.post("/completion", json=asked).raise_for_status()
        peak = server.peak_rss_bytes()
    assert server.log.grown_bytes() == pytest.approx(
        grows * (MOST_CHECKPOINTS - 1) / MOST_CHECKPOINTS, rel=0.001
    )
    if peak is not None:
        planned = loaded.total_bytes + grows
        assert 0.97 * (planned - grows / MOST_CHECKPOINTS) <= peak <= 1.03 * planned


def test_a_copy_of_a_conversation_by_hand() -> None:
    """Llama 3.1 8B, 1,000 tokens: 32 layers with 2 × 1,024 halves for each token, 12 bytes more for
    each, and the heads of the rows. The last window of a model that has windows alone.
    """
    settings = ContextSettings(n_ctx=8192)
    whole = prompt_bytes(known("llama-3.1-8b-instruct"), settings, 1000)
    assert whole == 8 + (4 + 4 + 16 + 12 * 1000 + 64 * 12) + 32 * 2 * 2048 * 1000
    gemma = known("gemma-3-27b-it")
    short, long = (prompt_bytes(gemma, settings, n) or 0 for n in (4096, 8192))
    of_windows = checkpoint_bytes(gemma, settings) or 0
    assert long - of_windows == pytest.approx(2 * (short - of_windows), rel=1e-4)


def test_no_prompts_where_hardly_one_would_go_in() -> None:
    """A copy of 8,192 tokens of Llama 3.1 8B has 1 GiB: a quarter of it is the least."""
    shape, settings = known("llama-3.1-8b-instruct"), ContextSettings(n_ctx=8192)
    kept = [most_cache_ram_mib(shape, settings, n * MIB) for n in (-5, 255, 257.5, 3000)]
    assert kept == [0, 0, 257, 2049]
    long = ContextSettings(n_ctx=131072)
    assert most_cache_ram_mib(shape, long, 2**40) == MOST_CACHE_RAM_MIB


@pytest.mark.engine
def test_conversations_that_come_back_are_not_read_again(tmp_path: Path) -> None:
    """Three conversations take one slot in turn, for which there is RAM for two: what is copied is
    as large as was computed, and all copies together stay within the plan. Two find all of their
    prompts but the last tokens.
    """
    metadata = tiny_hyperparameters("llama", block_count=48)
    model = read_model(write_tiny(tmp_path / "m.gguf", metadata, vocabulary=True))
    two = ContextSettings(n_ctx=512, n_checkpoints=2, keeps_prompts=True)
    settings = filled(model.shape, two, 2**40)
    loaded = compute_footprint(model.shape, model.loaded, settings)
    assert loaded and settings.cache_ram_bytes > loaded.total_bytes / 10  # else this could not fail
    lines = list[str]()
    with EngineServer(model.path, settings, log=ServerLog(lines.append)) as server:
        with server.client() as client:
            for turn in range(1, 6):
                for which in range(3 if turn < 3 else 2):
                    prompt = [5 + which] * 40 + [50 + i % 100 for i in range(300 + 20 * turn)]
                    asked = {"prompt": prompt, "n_predict": 2}
                    answer = client.post("/completion", json=asked).raise_for_status().json()
                    if turn > 3:
                        assert answer["timings"]["cache_n"] >= len(prompt) - 30
        peak = server.peak_rss_bytes()
    copies = [found.groups() for line in lines if (found := SAVED.search(line))]
    assert len(copies) > 8
    for n_tokens, size in copies:
        computed = prompt_bytes(model.shape, settings, int(n_tokens)) or 0
        assert float(size) == pytest.approx(computed / MIB, abs=0.0006)
    if peak is not None:
        grows = checkpoints_bytes(model.shape, settings) + settings.cache_ram_bytes
        assert peak <= 1.03 * (loaded.total_bytes + grows)
