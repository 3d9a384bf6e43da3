"""What layers keep: golden rows, worked by hand and seen in dry runs of llama.cpp (llama-cpp-python
0.3.36).
"""

import pytest

from hakaru.formats.metadata import Metadata, MetadataValue
from hakaru.memory.footprint import kv_cache_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import architecture
from hakaru.models.caches import LayerCache, layer_caches
from hakaru.models.catalogue import known_models


def caches(architecture: str, n_layer: int, **keys: MetadataValue) -> tuple[LayerCache, ...]:
    values: dict[str, MetadataValue] = {
        "general.architecture": architecture,
        f"{architecture}.embedding_length": 256,
    }
    values |= {f"{architecture}.{key.replace('__', '.')}": value for key, value in keys.items()}
    found = layer_caches(Metadata("here", values), n_layer)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "mebibytes"),
    [
        ("llama-3.1-8b-instruct", 4096),  # 32 layers × 2048 elements × 2 bytes × 32,768 cells
        ("qwen3-32b", 8192),  # heads of 128, although 5120 / 64 is 80
        ("qwen3-30b-a3b", 3072),
        (
            "gpt-oss-20b",
            786,
        ),  # 12 layers keep everything: 768 MiB; 12 keep 128 + 512 tokens, padded to 768: 18 MiB
        ("gemma-3-27b-it", 3184),  # 10 layers: 2560 MiB; 52 layers keep 1024 + 512 tokens: 624 MiB
        (
            "qwen3.5-9b",
            1074.25,
        ),  # 8 layers: 1024 MiB; 24 states of (24,576 + 524,288) × 4 bytes: 50.25 MiB
        ("deepseek-v3-0324", 2196),  # 61 layers × (512 + 64) elements, no V
        ("falcon-h1-7b-instruct", None),
    ],
)
def test_kv_cache_at_32k_tokens(model: str, mebibytes: float | None) -> None:
    """F16, one conversation, a micro-batch of 512."""
    shape = next(m.shape for m in known_models() if m.id == model)
    found = kv_cache_bytes(shape, ContextSettings(n_ctx=32768))
    if mebibytes is None:  # attention and a state in every layer: the sum of both
        states = sum(4 * c.state for c in shape.caches or ())
        assert 0 < states < found
        assert found - states == sum(2 * (c.k + c.v) for c in shape.caches or ()) * 32768
    else:
        assert found == mebibytes * 2**20


def test_windows_follow_the_architecture_s_own_rhythm() -> None:
    """Gemma 3: five windows, then everything; Cohere 2 MoE begins with everything; a list in the
    file counts before both.
    """
    seen = [
        c.window
        for c in caches("gemma3", 7, attention__head_count=2, attention__sliding_window=512)
    ]
    assert seen == [512] * 5 + [None, 512]
    first = [
        c.window
        for c in caches("cohere2moe", 5, attention__head_count=2, attention__sliding_window=64)
    ]
    assert first == [None, 64, 64, 64, None]
    listed = caches(
        "gemma3",
        3,
        attention__head_count=2,
        attention__sliding_window=9,
        attention__sliding_window_pattern=[True, False, True],
    )
    assert [c.window for c in listed] == [9, None, 9]
    assert [c.window for c in caches("gemma3", 2, attention__head_count=2)] == [None, None]


def test_draft_layers_keep_nothing() -> None:
    """The last layer of a GLM 4.5 is for drafting; the model itself never fills its cache."""
    *own, draft = caches("glm4moe", 4, attention__head_count=4, nextn_predict_layers=1)
    assert all(c.k == 256 for c in own)
    assert draft == LayerCache()


def test_a_draft_layer_has_a_window_if_the_file_lists_it() -> None:
    """Step 3.5's last three layers are for drafting, and see 512 tokens."""
    found = caches(
        "step35",
        3,
        attention__head_count=4,
        attention__sliding_window=512,
        attention__sliding_window_pattern=[False, True, True],
        nextn_predict_layers=1,
    )
    assert [(bool(c.k), c.window) for c in found] == [(True, None), (True, 512), (False, 512)]


def test_layers_that_read_another_s_cache_have_none() -> None:
    """Gemma 4 states how many of its last layers do."""
    found = caches(
        "gemma4",
        6,
        attention__head_count=2,
        attention__sliding_window=512,
        attention__shared_kv_layers=2,
    )
    assert [bool(c.k) for c in found] == [True] * 4 + [False] * 2


def test_mla_keeps_one_row_and_no_values() -> None:
    """The compressed row of DeepSeek: kv_lora_rank and the rotary part."""
    keys = {
        "attention__head_count": 8,
        "attention__head_count_kv": 1,
        "attention__key_length": 576,
        "attention__value_length": 512,
    }
    (found,) = caches(
        "deepseek2", 1, **keys, attention__key_length_mla=192, attention__value_length_mla=128
    )
    assert (found.k, found.v) == (576, 0)
    (plain,) = caches("deepseek2", 1, **keys)
    assert (plain.k, plain.v) == (576, 512)


def test_an_indexer_keeps_small_keys_in_the_layers_that_have_one() -> None:
    """DeepSeek 3.2 in every layer, GLM 5.2 where the file says so, or else in the first two and
    from then on in every fourth; a draft layer keeps nothing.
    """
    keys = {"attention__head_count": 8, "attention__indexer__key_length": 128}

    def indexers(architecture: str, n_layer: int, **more: MetadataValue) -> list[int]:
        return [c.indexer for c in caches(architecture, n_layer, **keys, **more)]

    assert indexers("deepseek32", 3, nextn_predict_layers=1) == [128, 128, 0]
    assert indexers("glm-dsa", 3, attention__indexer__types=[1, 0, 1]) == [128, 0, 128]
    assert indexers("glm-dsa", 3, context_length=202_752) == [128] * 3
    assert indexers("glm-dsa", 7, context_length=2**20) == [128, 128, 128, 0, 0, 0, 128]
    assert indexers("deepseek2", 1) == [0]


def test_recurrent_layers_are_found_by_every_architecture_s_own_rule() -> None:
    """No KV heads (LFM2), an interval (Qwen3-Next), no feed-forward either (Nemotron-H), all layers
    (Mamba).
    """
    lfm2 = caches(
        "lfm2", 3, attention__head_count=4, attention__head_count_kv=[0, 2, 0], shortconv__l_cache=3
    )
    assert [(bool(c.k), c.state) for c in lfm2] == [(False, 512), (True, 0), (False, 512)]
    ssm = {
        "ssm__conv_kernel": 4,
        "ssm__inner_size": 8,
        "ssm__state_size": 16,
        "ssm__group_count": 2,
    }
    state = 3 * (8 + 2 * 2 * 16) + 16 * 8
    following = caches("qwen3next", 5, attention__head_count=4, **ssm)
    assert [c.state for c in following] == [state, state, state, 0, state]
    nemotron = caches(
        "nemotron_h",
        3,
        attention__head_count=4,
        attention__head_count_kv=[0, 2, 0],
        feed_forward_length=[0, 0, 9],
        **ssm,
    )
    assert [(bool(c.k), c.state) for c in nemotron] == [(False, state), (True, 0), (False, 0)]
    assert [(c.k, c.state) for c in caches("mamba2", 2, **ssm)] == [(0, state)] * 2
    assert [(c.k, c.state) for c in caches("mamba", 2, **ssm)] == [
        (0, 3 * 8 + 16 * 8)
    ] * 2  # Mamba 1 has no groups


def test_an_encoder_keeps_nothing_and_a_stranger_is_not_guessed() -> None:
    """BERT reads a text at once; an architecture that was never compared has no answer."""
    assert all(c == LayerCache() for c in caches("bert", 2, attention__head_count=4))
    assert architecture("rwkv7").caches is None
    assert layer_caches(Metadata("here", {"general.architecture": "rwkv7"}), 2) is None
