"""Importance is the mean square of what flows into each column, counted by hand where that is
possible.
"""

from pathlib import Path

import gguf
import numpy as np
import pytest

from hakaru.engine.lab import Lab
from hakaru.formats.imatrix import write_imatrix
from hakaru.models.model import read_model
from hakaru.testing import tiny_hyperparameters, write_tiny

pytestmark = pytest.mark.engine

FIRST, SECOND = [5, 9, 300, 42, 7, 7, 123], list(range(10, 40))
WINDOWS = [{"tokens": FIRST, "first": 2}, {"tokens": SECOND, "first": 4}]


def weights_of(path: Path) -> dict[str, np.ndarray]:
    return {t.name: np.array(t.data, np.float64) for t in gguf.GGUFReader(path).tensors}


def test_the_first_layer_s_importance_by_hand(tiny: Path) -> None:
    """Into the first layer's matrices flow the normed embeddings of the tokens, which numpy
    computes as well.
    """
    imatrix = Lab().importance(tiny, WINDOWS, datasets=["a text"])
    weights, tokens = weights_of(tiny), [*FIRST, *SECOND]
    x = weights["token_embd.weight"][tokens]
    x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + 1e-5) * weights["blk.0.attn_norm.weight"]
    for part in ("q", "k", "v"):
        entry = imatrix.entries[f"blk.0.attn_{part}.weight"]
        np.testing.assert_allclose(entry.sums, (x**2).sum(axis=0), rtol=1e-4)
        assert entry.counts.tolist() == [len(tokens)]
    assert (imatrix.datasets, imatrix.chunk_count, imatrix.chunk_size) == (("a text",), 2, 30)


def test_every_matrix_that_multiplies_has_importance(tiny: Path, tmp_path: Path) -> None:
    """All but the embedding, which is looked up; where it is the output matrix as well, it has one
    too. The last matrices see the tokens that are scored.
    """
    matrices = {t.name for t in read_model(tiny).tensors if len(t.shape) > 1}
    imatrix = Lab().importance(tiny, WINDOWS)
    assert set(imatrix.entries) == matrices - {"token_embd.weight"}
    assert imatrix.entries["output.weight"].counts.tolist() == [4 + 25]
    tied = write_tiny(tmp_path / "tied.gguf", tiny_hyperparameters("llama"), tied=True)
    assert Lab().importance(tied, WINDOWS).entries["token_embd.weight"].counts.tolist() == [4 + 25]


def test_experts_are_counted_apart(tmp_path: Path) -> None:
    """Every token goes to two of four experts; each expert's sums are those of its own tokens."""
    path = write_tiny(
        tmp_path / "moe.gguf",
        tiny_hyperparameters("llama", block_count=1, expert_count=4, expert_used_count=2),
    )
    windows = [{"tokens": list(range(2, 62)), "first": 0}]
    imatrix = Lab().importance(path, windows)
    up, down = (
        imatrix.entries["blk.0.ffn_up_exps.weight"],
        imatrix.entries["blk.0.ffn_down_exps.weight"],
    )
    router = imatrix.entries["blk.0.ffn_gate_inp.weight"]
    assert up.counts.sum() == down.counts.sum() == 2 * router.counts[0]
    assert (
        up.counts.tolist()
        == imatrix.entries["blk.0.ffn_gate_exps.weight"].counts.tolist()
        == down.counts.tolist()
    )
    assert (up.sums.shape, down.sums.shape) == ((4 * 256,), (4 * 512,))
    np.testing.assert_allclose(up.sums.reshape(4, -1).sum(axis=0), 2 * router.sums, rtol=1e-4)
    model = read_model(path)
    means = imatrix.importance(
        next(t for t in model.tensors if t.name == "blk.0.ffn_up_exps.weight")
    )
    assert means is not None
    np.testing.assert_allclose(means[0], up.sums[:256] / max(1, up.counts[0]), rtol=1e-6)


def test_others_can_read_the_file(tiny: Path, tmp_path: Path) -> None:
    """gguf-py sees llama.cpp's keys and two tensors per matrix."""
    imatrix = Lab().importance(tiny, WINDOWS, datasets=["one", "two"])
    reader = gguf.GGUFReader(write_imatrix(tmp_path / "imatrix.gguf", imatrix))
    assert reader.fields["general.type"].contents() == "imatrix"
    assert reader.fields["imatrix.datasets"].contents() == ["one", "two"]
    assert reader.fields["imatrix.chunk_count"].contents() == 2
    assert reader.fields["imatrix.chunk_count"].types == [gguf.GGUFValueType.UINT32]
    found = {t.name: t for t in reader.tensors}
    assert set(found) == {
        name + part for name in imatrix.entries for part in (".in_sum2", ".counts")
    }
    assert found["blk.1.ffn_down.weight.in_sum2"].data.shape == (1, 512)
    assert found["blk.0.ffn_down.weight.counts"].data.tolist() == [[37.0]]
