"""The tensor tables are llama.cpp's own: its loader accepts a header made of them and gives each
byte the same place.
"""

import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hakaru.engine.lab import Lab
from hakaru.errors import ModelDamaged, ModelError, ModelUnknown
from hakaru.formats.gguf import read_header
from hakaru.formats.header_file import stays_f32, without_vocabulary, write_header_only
from hakaru.formats.metadata import Metadata
from hakaru.memory.footprint import kv_cache_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import (
    ARCHITECTURES,
    architecture,
    buffer_bytes,
    is_loaded,
    loaded,
    tensors_of,
)
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.hyperparameters import expand
from public_models import OTHERS, one_of_each


def test_every_architecture_is_compared_with_the_engine() -> None:
    """No table without a model that shows it."""
    assert {m.architecture for m in one_of_each()} == {
        a.name for a in ARCHITECTURES.values() if a.tensors
    }


@pytest.mark.engine
@pytest.mark.parametrize("known", one_of_each(), ids=lambda m: f"{m.architecture}:{m.id}")
def test_llama_cpp_lays_out_exactly_our_tensors(known: KnownModel, tmp_path: Path) -> None:
    """Its loader refuses a missing, an extra or a wrongly shaped tensor. Weights and caches have
    our bytes.
    """
    metadata = known.metadata()
    path = write_header_only(
        tmp_path / "model.gguf", without_vocabulary(metadata, known.n_vocab), known.tensors()
    )
    run = Lab().dry_run(path, ContextSettings(n_ctx=512))
    assert run.weights_bytes == buffer_bytes(
        loaded(Metadata(path, metadata), read_header(path).tensors)
    )
    if architecture(known.architecture).caches:
        assert run.kv_cache_bytes == kv_cache_bytes(known.shape, ContextSettings(n_ctx=512))


@pytest.mark.parametrize("known", [m for m in OTHERS if m.n_params], ids=lambda m: m.id)
def test_other_public_models_have_their_published_number_of_parameters(known: KnownModel) -> None:
    """The cards' own figures, to the weight."""
    assert sum(math.prod(shape) for _, shape in known.tensors()) == known.n_params


def test_a_table_by_hand() -> None:
    """One layer of Qwen3, written down: row length first, biases only where the model has them."""
    keys = {
        "block_count": 1, "embedding_length": 64, "feed_forward_length": 96,
        "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 32,
        "attention.value_length": 32,
    }  # fmt: skip
    found = dict(
        tensors_of(
            Metadata("x", expand("qwen3", keys)), n_vocab=100, tied=False, having=["attn_q.bias"]
        )
    )
    assert found == {
        "token_embd.weight": (64, 100),
        "blk.0.attn_norm.weight": (64,),
        "blk.0.attn_q.weight": (64, 128),
        "blk.0.attn_q.bias": (128,),
        "blk.0.attn_k.weight": (64, 64),
        "blk.0.attn_v.weight": (64, 64),
        "blk.0.attn_output.weight": (128, 64),
        "blk.0.attn_q_norm.weight": (32,),
        "blk.0.attn_k_norm.weight": (32,),
        "blk.0.ffn_norm.weight": (64,),
        "blk.0.ffn_gate.weight": (64, 96),
        "blk.0.ffn_up.weight": (64, 96),
        "blk.0.ffn_down.weight": (96, 64),
        "output_norm.weight": (64,),
        "output.weight": (64, 100),
    }


def test_blocks_for_multi_token_prediction_stay_on_disk() -> None:
    """They are in the file, and llama.cpp does not load them unless it is asked to."""
    known = next(m for m in known_models() if m.id == "qwen3.5-0.8b")
    meta = Metadata(known.id, known.metadata())
    left = [name for name, _ in known.tensors() if not is_loaded(meta, name)]
    assert left[0] == "blk.24.attn_norm.weight"
    assert "blk.24.nextn.eh_proj.weight" in left
    assert all(name.startswith("blk.24.") for name in left)


@pytest.mark.parametrize(
    ("name", "shape", "f32"),
    [
        ("blk.0.attn_q.weight", (8, 8), False),
        ("blk.0.attn_q.bias", (8,), True),
        ("blk.0.attn_q_norm.weight", (8, 2), True),
        ("blk.0.ffn_gate_inp.weight", (8, 4), True),
        ("blk.0.ffn_gate_inp_shexp.weight", (8,), True),
        ("blk.0.ffn_gate_exps.weight", (8, 8, 4), False),
        ("blk.0.ffn_gate_exps.bias", (8, 4), True),
        ("blk.0.ssm_conv1d_q.weight", (4, 1, 8), True),
        ("blk.0.ssm_a", (1, 8), True),
        ("position_embd.weight", (8, 8), True),
        ("token_embd.weight", (8, 8), False),
    ],
)
def test_converters_keep_small_tensors_in_f32(name: str, shape: tuple[int, ...], f32: bool) -> None:
    """Vectors, norms, routers, convolutions and positions; matrices are 16-bit."""
    assert stays_f32(name, shape) is f32


def test_an_unknown_architecture_is_refused_with_the_known_ones() -> None:
    """The sentence names what was found and what is known."""
    with pytest.raises(
        ModelUnknown, match=r"architecture 'nosuch' cannot be derived; known are .*llama"
    ):
        list(tensors_of(Metadata("x", {"general.architecture": "nosuch"}), n_vocab=1, tied=False))


def test_metadata_without_sense_is_damage() -> None:
    """Per-layer values for fewer layers than there are."""
    keys = {
        "block_count": 3,
        "embedding_length": 64,
        "attention.head_count": [4, 4],
        "feed_forward_length": 96,
    }
    with pytest.raises(ModelDamaged, match="head_count"):
        list(tensors_of(Metadata("x", expand("llama", keys)), n_vocab=8, tied=False))


def test_a_converted_file_has_the_table_s_tensors(embedded: Path) -> None:
    """A real file, made by llama.cpp's converter: the same names and shapes."""
    header = read_header(embedded)
    table = tensors_of(Metadata(embedded, header.metadata), n_vocab=49152, tied=True)
    assert dict(table) == {t.name: t.shape for t in header.tensors}


KEYS = sorted({key for m in one_of_each() for key in m.hyperparameters})


@settings(max_examples=300, deadline=None)
@given(
    known=st.sampled_from(one_of_each()),
    changes=st.dictionaries(
        st.sampled_from(KEYS),
        st.one_of(
            st.integers(-1, 80),
            st.booleans(),
            st.text(max_size=2),
            st.floats(),
            st.lists(st.integers(-1, 9), max_size=90),
        ),
        max_size=3,
    ),
)
def test_no_metadata_raises_anything_but_a_sentence(
    known: KnownModel, changes: dict[str, Any]
) -> None:
    """A header is a stranger's: whatever its keys say, the answer is a table or a ModelError."""
    values = known.metadata() | {
        f"{known.architecture}.{key}": value for key, value in changes.items()
    }
    with suppress(ModelError):
        for _ in tensors_of(
            Metadata("x", values), n_vocab=known.n_vocab, tied=known.tied, having=known.having
        ):
            pass
