"""Errors are ggml's own: compared with gguf-py's quantizers where it has them, and honest about
what sampling costs.
"""

from pathlib import Path

import gguf
import numpy as np
import pytest

from hakaru.engine.sampled_errors import sampled_errors
from hakaru.errors import ModelDamaged
from hakaru.formats.imatrix import Activations, Imatrix
from hakaru.testing import tiny_hyperparameters, write_tiny

pytestmark = pytest.mark.engine

DOWN = "blk.0.ffn_down.weight"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of one layer with 1024 rows in its feed-forward part."""
    path = tmp_path_factory.mktemp("errors") / "model.gguf"
    return write_tiny(
        path,
        tiny_hyperparameters("llama", block_count=1, feed_forward_length=1024),
        n_vocab=4096,
        type_="F32",
    )


def values(path: Path, name: str) -> np.ndarray:
    return next(
        np.array(t.data, np.float64) for t in gguf.GGUFReader(path).tensors if t.name == name
    )


@pytest.mark.parametrize("type_", ["Q8_0", "Q4_0", "Q5_1", "F16", "BF16"])
def test_the_error_over_all_rows_is_that_of_gguf_py(model: Path, type_: str) -> None:
    """The other implementation of the same formats gives the same loss; a whole tensor has no
    standard error.
    """
    (error, standard_error) = sampled_errors(model, [type_], tensors=[DOWN], n_rows=10_000)[DOWN][
        type_
    ]
    x = values(model, DOWN)
    kind = gguf.GGMLQuantizationType[type_]
    back = gguf.dequantize(gguf.quantize(x.astype(np.float32), kind), kind)
    assert error == pytest.approx(((back - x) ** 2).sum() / (x**2).sum(), rel=1e-3)
    assert standard_error == 0.0


def test_a_sampled_error_tells_how_far_it_may_lie_from_the_true_one(model: Path) -> None:
    """Rows drawn by their size give the standard error of Hansen and Hurwitz, which gguf-py's error
    of every row tells; the sampled error is within four of the true one. A seed repeats.
    """
    name, n_rows = "token_embd.weight", 512
    x = values(model, name)
    kind = gguf.GGMLQuantizationType.Q4_0
    back = gguf.dequantize(gguf.quantize(x.astype(np.float32), kind), kind)
    whole = (x**2).sum(axis=1)
    errors = ((back - x) ** 2).sum(axis=1) / whole
    shares = whole / whole.sum()
    truth = (shares * errors).sum()
    spread = np.sqrt((shares * (errors - truth) ** 2).sum() / n_rows)

    def sampled(seed: int) -> tuple[float, float]:
        return sampled_errors(model, ["Q4_0"], tensors=[name], n_rows=n_rows, seed=seed)[name][
            "Q4_0"
        ]

    error, standard_error = sampled(3)
    assert standard_error == pytest.approx(spread, rel=0.2)
    assert 0 < abs(error - truth) < 4 * spread
    assert sampled(3) == (error, standard_error) != sampled(4)


def test_types_that_cannot_be_are_left_out(tmp_path: Path) -> None:
    """Rows of 96 take blocks of 32 only; types that need importance appear when there is some."""
    narrow = write_tiny(
        tmp_path / "narrow.gguf",
        tiny_hyperparameters("llama", embedding_length=96, feed_forward_length=256),
    )
    types = ["Q8_0", "Q4_0", "Q4_K", "IQ2_XXS"]
    found = sampled_errors(narrow, types, tensors=["blk.0.ffn_up.weight", DOWN])
    assert set(found["blk.0.ffn_up.weight"]) == {"Q8_0", "Q4_0"}
    assert set(found[DOWN]) == {"Q8_0", "Q4_0", "Q4_K"}
    entry = Activations(sums=np.ones(256, np.float32), counts=np.ones(1, np.float32))
    assert set(
        sampled_errors(narrow, types, tensors=[DOWN], imatrix=Imatrix(entries={DOWN: entry}))[DOWN]
    ) == {*types}


def test_importance_weighs_the_error_and_guides_the_quantizer(model: Path) -> None:
    """Where half of the columns do not matter, a quantizer that knows it loses less by that
    measure, and more by the plain one.
    """
    sums = (
        np.r_[np.full(512, 100.0), np.full(512, 0.01)]
        .astype(np.float32)
        .reshape(16, 64)
        .T.ravel()
        .copy()
    )
    imatrix = Imatrix(entries={DOWN: Activations(sums=sums, counts=np.ones(1, np.float32))})
    (guided, _) = sampled_errors(model, ["Q3_K"], tensors=[DOWN], imatrix=imatrix, n_rows=10_000)[
        DOWN
    ]["Q3_K"]
    (plain, _) = sampled_errors(model, ["Q3_K"], tensors=[DOWN], n_rows=10_000)[DOWN]["Q3_K"]
    assert guided < 0.9 * plain


@pytest.mark.parametrize(("n_huge", "size"), [(1, 1e6), (3, 1e5)])
def test_a_few_huge_columns_do_not_hide_what_happens_to_all_others(
    model: Path, n_huge: int, size: float
) -> None:
    """A first token that is huge in a few columns has nearly all importance; Q2_K keeps these
    columns, and ruins the others all the same.
    """
    sums = np.ones(1024, np.float32)
    sums[7 : 7 + n_huge] = size
    imatrix = Imatrix(entries={DOWN: Activations(sums=sums, counts=np.ones(1, np.float32))})
    (found, _) = sampled_errors(model, ["Q2_K"], tensors=[DOWN], imatrix=imatrix, n_rows=10_000)[
        DOWN
    ]["Q2_K"]
    (plain, _) = sampled_errors(model, ["Q2_K"], tensors=[DOWN], n_rows=10_000)[DOWN]["Q2_K"]
    assert 0.3 * plain < found < 3 * plain


def test_experts_count_by_the_tokens_that_they_saw(tmp_path: Path) -> None:
    """The error of a stack is that of its experts, weighted by use: one that saw nearly everything
    decides.
    """
    path = write_tiny(
        tmp_path / "moe.gguf",
        tiny_hyperparameters("llama", block_count=1, expert_count=2, expert_used_count=1),
    )
    name = "blk.0.ffn_up_exps.weight"
    raw = path.read_bytes()
    stack = values(path, name).astype(np.float16)
    stack[1, :, ::16] *= 20  # outliers, which Q4_0 pays for
    damaged = raw.replace(values(path, name).astype(np.float16).tobytes(), stack.tobytes())
    assert damaged != raw
    path.write_bytes(damaged)

    def error(*counts: float) -> float:
        sums = np.repeat(np.array(counts, np.float32), 256)
        imatrix = Imatrix(
            entries={name: Activations(sums=sums, counts=np.array(counts, np.float32))}
        )
        return sampled_errors(path, ["Q4_0"], tensors=[name], imatrix=imatrix, n_rows=10_000)[name][
            "Q4_0"
        ][0]

    first, second = error(1e6, 1), error(1, 1e6)
    assert first != pytest.approx(second, rel=0.05)
    assert min(first, second) < error(1000, 1000) < max(first, second)
    assert error(1000, 0) == pytest.approx(error(1e6, 1), rel=0.2)


@pytest.mark.parametrize("bits", [b"\x00\x7e", b"\x00\x7c"], ids=["nan", "infinite"])
def test_weights_that_are_not_numbers_are_named(tmp_path: Path, bits: bytes) -> None:
    """One weight of a matrix, in the middle of the file, is enough."""
    path = write_tiny(tmp_path / "model.gguf", tiny_hyperparameters("llama", block_count=1))
    raw, weights = path.read_bytes(), values(path, DOWN).astype(np.float16).tobytes()
    at = raw.index(weights) + 5000
    path.write_bytes(raw[:at] + bits + raw[at + 2 :])
    with pytest.raises(
        ModelDamaged,
        match=r"model\.gguf: tensor blk\.0\.ffn_down\.weight holds weights that are not numbers",
    ):
        sampled_errors(path, ["Q8_0"], tensors=["output.weight", DOWN], n_rows=1)
