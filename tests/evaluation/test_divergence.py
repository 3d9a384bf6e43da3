"""Figures of what was lost, from sums worked by hand; and windows, mixed evenly."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hakaru.evaluation.divergence import evenly_mixed, gather_windows, quality_of
from hakaru.evaluation.windows import Window
from hakaru.models.model import read_model
from hakaru.testing import write_tiny_llama


def test_agreement_never_leaves_its_range() -> None:
    """However few the windows are."""
    sums = [
        {"n": 90, "kld": 0.1, "agreed": agreed, "nll_reference": 1.0, "nll_candidate": 1.0}
        for agreed in (60, 90)
    ]
    agreement = quality_of(sums, ["code"] * 2).top1_agreement
    assert agreement.value == 150 / 180
    assert 0 <= agreement.lowest < 60 / 90 and 90 / 90 <= agreement.highest <= 1


def test_two_odd_windows_break_no_figure() -> None:
    """However far out an interval goes, it is a number that can be printed and written as JSON."""
    sums = [
        {"n": 112, "kld": kld, "agreed": 100, "nll_reference": 0.0, "nll_candidate": excess}
        for kld, excess in ((0.001, 0.1), (9.0, 400.0))
    ]
    quality = quality_of(sums, ["code"] * 2)
    json.dumps(quality.as_json(), allow_nan=False)
    assert quality.perplexity_ratio.lowest < 1 < quality.perplexity_ratio.highest <= 1e6
    assert quality.kld_mean.highest <= 1e6


def test_any_beginning_is_a_sample_of_the_same_text() -> None:
    """Kinds of text have their shares of the whole everywhere, not only until the shortest is used
    up.
    """
    windows = [
        Window(domain=kind, tokens=(i, i), first=0)
        for kind, n in (("a", 100), ("b", 60), ("c", 20))
        for i in range(n)
    ]
    mixed = evenly_mixed(windows)
    assert sorted(map(repr, mixed)) == sorted(map(repr, windows))
    for n in range(9, 181):
        shares = Counter(w.domain for w in mixed[:n])
        assert all(
            abs(shares[kind] - n * whole / 180) <= 1
            for kind, whole in (("a", 100), ("b", 60), ("c", 20))
        )
    assert [w.tokens[0] for w in mixed if w.domain == "c"] == list(range(20))


def test_quality_from_sums() -> None:
    """Two windows of hand-made sums: token-weighted means, the ratio of perplexities as the
    exponential of the mean excess.
    """
    sums = [
        {"n": 10, "kld": 0.2, "agreed": 9, "nll_reference": 20.0, "nll_candidate": 20.5},
        {"n": 30, "kld": 0.2, "agreed": 27, "nll_reference": 60.0, "nll_candidate": 61.5},
    ]
    quality = quality_of(sums, ["code", "prose-en"])
    assert quality.kld_mean.value == pytest.approx(0.01)
    assert quality.top1_agreement.value == pytest.approx(0.9)
    assert quality.perplexity_ratio.value == pytest.approx(np.exp(2.0 / 40))
    assert quality.domains["code"].value == pytest.approx(0.02)


def test_progress_is_told_before_the_model_is_loaded(tmp_path: Path) -> None:
    """Loading takes longer than an answer: the step stands on the screen meanwhile, with 0 of 2."""
    told = list[object]()

    class Loads:
        """An engine that loads, and answers nothing."""

        def tokenize(self, *_: object) -> tuple[list[list[int]], list[int]]:
            return [], []

        def answer(self, *_: object, **__: object) -> list[object]:
            told.append("loads")
            raise InterruptedError

    write_tiny_llama(tmp_path / "tiny.gguf")
    with pytest.raises(InterruptedError):
        gather_windows(
            Loads(),  # type: ignore[arg-type]  # what else an engine does is not asked for
            read_model(tmp_path / "tiny.gguf"),
            parts=(),
            prompts=["one", "two"],
            progress=lambda done, total: told.append((done, total)),
        )
    assert told == [(0, 2), "loads"]
