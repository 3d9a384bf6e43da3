"""Statistics, tiers, texts and the divergence itself, against hand-worked and independent
answers.
"""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hakaru.engine.distributions import divergence
from hakaru.errors import Misuse
from hakaru.evaluation.divergence import evenly_mixed, quality_of
from hakaru.evaluation.statistics import LEAST_FOR_TAIL, median_of, quantile_of, ratio_of_sums
from hakaru.evaluation.texts import (
    PARTS,
    PROMPTS,
    Document,
    named_prompts,
    named_texts,
    prompts_at_hand,
    texts_at_hand,
    texts_digest,
)
from hakaru.evaluation.tiers import tier_named
from hakaru.evaluation.windows import (
    N_TOKENS,
    Window,
    least_to_read,
    window_of_answer,
    windows_digest,
    windows_of_documents,
)


def test_divergence_agrees_with_the_definition() -> None:
    """KLD, agreement and likelihoods of random logits, against float64 arithmetic written out."""
    dice = np.random.default_rng(3)
    x = dice.standard_normal((70, 300)).astype(np.float32) * 4
    y = x + dice.standard_normal((70, 300)).astype(np.float32)
    targets = dice.integers(0, 300, 70)
    found = divergence(x, y, targets)
    log_p = x.astype(np.float64) - np.log(np.exp(x.astype(np.float64)).sum(1, keepdims=True))
    log_q = y.astype(np.float64) - np.log(np.exp(y.astype(np.float64)).sum(1, keepdims=True))
    assert found["kld"] == pytest.approx((np.exp(log_p) * (log_p - log_q)).sum(), rel=1e-5)
    assert found["agreed"] == (x.argmax(1) == y.argmax(1)).sum()
    assert found["nll_reference"] == pytest.approx(-log_p[np.arange(70), targets].sum(), rel=1e-6)
    assert found["nll_candidate"] == pytest.approx(-log_q[np.arange(70), targets].sum(), rel=1e-6)
    assert found["n"] == 70


def test_a_model_does_not_diverge_from_itself() -> None:
    """Exactly zero, not almost."""
    x = np.random.default_rng(1).standard_normal((5, 100)).astype(np.float32)
    found = divergence(x, x, np.zeros(5, dtype=np.int64))
    assert found["kld"] == pytest.approx(0.0, abs=1e-6)
    assert found["agreed"] == 5


def test_intervals_cover_the_truth() -> None:
    """Of 1,000 samples of 40 windows from a known population, 93 to 97 % of the intervals hold the
    true ratio.
    """
    dice = np.random.default_rng(7)
    held = 0
    for i in range(1000):
        n = dice.integers(60, 120, 40)
        sums = n * dice.gamma(4.0, 0.01, 40)
        figure = ratio_of_sums(list(sums), list(n), unit="nats/token", seed=i)
        assert figure.low is not None
        assert figure.high is not None
        held += figure.low <= 0.04 <= figure.high
    assert 0.93 <= held / 1000 <= 0.97


@pytest.mark.parametrize("n", [2, 3, 5, 8, 12, 20])
@pytest.mark.parametrize("shape", [1.0, 4.0])
def test_intervals_of_few_windows_hold_the_truth(n: int, shape: float) -> None:
    """95 % means 95 % for two windows, too; the bootstrap alone holds half of them."""
    dice, held = np.random.default_rng(n), 0
    for i in range(400):
        tokens = dice.integers(60, 120, n)
        figure = ratio_of_sums(
            list(tokens * dice.gamma(shape, 0.03 / shape, n)),
            list(tokens),
            unit="nats/token",
            seed=i,
        )
        held += figure.lowest <= 0.03 <= figure.highest
    assert 0.91 <= held / 400 <= 0.985


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
    found = quality_of(sums, ["code"] * 2)
    json.dumps(found.as_json(), allow_nan=False)
    assert found.perplexity_ratio.lowest < 1 < found.perplexity_ratio.highest <= 1e6
    assert found.kld_mean.highest <= 1e6


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


def test_texts_are_the_same_whatever_was_imported() -> None:
    """Otherwise the windows of a second run would be others, and everything would be read again."""
    told = (
        "from hakaru.evaluation.texts import texts_at_hand, texts_digest; "
        "print(texts_digest(texts_at_hand()))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", before + told], capture_output=True, check=True
        ).stdout
        for before in ("", "import scipy.special, scipy.stats, altair; ")
    }
    assert len(digests) == 1


def test_the_persons_own_text_is_read_before_the_answer() -> None:
    """Twelve windows of it, or all that there are; texts at hand wait for nobody."""
    assert least_to_read(["code", "prose-en"] * 50) == 0
    assert least_to_read(["code", "own", "code", "answers-own", "code"] * 2) == 9
    assert least_to_read(["code", "own"] * 40) == 24


def test_few_samples_give_honest_intervals() -> None:
    """One window gives none, two far more than the range of what can be drawn; two repeats give
    their range; a median lies in its interval.
    """
    assert ratio_of_sums([1.0], [2.0], unit="x").low is None
    pair = ratio_of_sums([1.0, 3.0], [1.0, 1.0], unit="x")
    out = 12.7062 / 2  # of a t distribution with one degree of freedom, in units of the mean
    assert (pair.low, pair.value, pair.high) == pytest.approx(
        (2 * np.exp(-out), 2.0, 2 * np.exp(out)), rel=1e-4
    )
    signed = ratio_of_sums([-1.0, 3.0], [1.0, 1.0], unit="x")
    assert (signed.low, signed.high) == pytest.approx((1 - 2 * 12.7062, 1 + 2 * 12.7062), rel=1e-4)
    assert quantile_of([[1.0, 2.0]] * (LEAST_FOR_TAIL - 1), 0.99, unit="x").low is None
    assert quantile_of([[1.0, 2.0]] * LEAST_FOR_TAIL, 0.99, unit="x").low is not None
    two = median_of([1.0, 3.0], unit="x")
    assert (two.low, two.value, two.high) == (1.0, 2.0, 3.0)
    many = median_of([5.0, 6.0, 7.0, 8.0, 100.0], unit="x")
    assert (many.low, many.value, many.high) == (5.0, 7.0, 100.0)


def test_windows_of_one_document_do_not_overlap() -> None:
    """Otherwise they would not be independent."""
    document = [Document(name="a", domain="own", text="")]
    for n in (N_TOKENS, 256, 400, 1280, 10_000):
        windows = windows_of_documents(document, [list(range(n))], per_document=40)
        assert len(windows) == min(40, n // N_TOKENS)
        tokens = [t for w in windows for t in w.tokens]
        assert len(tokens) == len(set(tokens))


def test_tiers_have_names() -> None:
    """A wrong one shows all of them; every figure's bound is found by its name, that of one kind of
    text, too.
    """
    with pytest.raises(
        Misuse, match=r"'best', expected one of transparent, near-lossless, balanced"
    ):
        tier_named("best")
    assert tier_named("balanced").bound("kld_mean, code") == 0.03
    assert tier_named("balanced").bound("top1_agreement") == 0.92


def test_quality_from_sums() -> None:
    """Two windows of hand-made sums: token-weighted means, the ratio of perplexities as the
    exponential of the mean excess.
    """
    sums = [
        {"n": 10, "kld": 0.2, "agreed": 9, "nll_reference": 20.0, "nll_candidate": 20.5},
        {"n": 30, "kld": 0.2, "agreed": 27, "nll_reference": 60.0, "nll_candidate": 61.5},
    ]
    found = quality_of(sums, ["code", "prose-en"])
    assert found.kld_mean.value == pytest.approx(0.01)
    assert found.top1_agreement.value == pytest.approx(0.9)
    assert found.perplexity_ratio.value == pytest.approx(np.exp(2.0 / 40))
    assert found.domains["code"].value == pytest.approx(0.02)


def test_documents_and_prompts_keep_their_part() -> None:
    """The split is by name and by place: disjoint, together everything, and every part has enough
    of every kind.
    """
    parts = [texts_at_hand([part]) for part in PARTS]
    assert sorted(d.name for part in parts for d in part) == sorted(d.name for d in texts_at_hand())
    assert len({d.text for d in texts_at_hand()}) == len(texts_at_hand())
    for documents, least in zip(parts, (12, 12, 50), strict=True):
        for domain in ("prose-en", "code"):
            assert sum(d.domain == domain for d in documents) >= least
    for domain, ours in PROMPTS.items():
        asked = [prompts_at_hand([part])[domain] for part in PARTS]
        assert sorted(p for part in asked for p in part) == sorted(ours)
        assert [len(part) for part in asked] == [5, 5, 14]
    assert (
        texts_digest(parts[0])
        == texts_digest(texts_at_hand(["calibration"]))
        != texts_digest(parts[1])
    )


def test_windows_are_cut_from_the_middle_and_never_too_short() -> None:
    """One window per document, none from a document that is shorter than one."""
    documents = [Document(name=n, domain="code", text="") for n in "ab"]
    (window,) = windows_of_documents(documents, [list(range(1000)), list(range(N_TOKENS - 1))])
    assert len(window.tokens) == N_TOKENS
    assert window.tokens[0] == (1000 - N_TOKENS) // 2
    (opened,) = windows_of_documents(documents[:1], [list(range(1000))], [7])
    assert opened.tokens == (7, *window.tokens)
    assert opened.n_scored == window.n_scored
    assert window_of_answer("answers-en", {"tokens": list(range(20)), "n_prompt": 15}) is None
    assert windows_digest([window]) != windows_digest([window, window])


def test_own_texts_are_read_strictly(tmp_path: Path) -> None:
    """UTF-8 or a sentence that names the byte."""
    latin = tmp_path / "latin.txt"
    latin.write_bytes("größe".encode("latin-1"))
    with pytest.raises(Misuse, match="not UTF-8 at byte 2"):
        named_texts([latin])
    empty = tmp_path / "empty.txt"
    empty.write_text(" \n")
    with pytest.raises(Misuse, match="the text is empty"):
        named_texts([empty])
    with pytest.raises(Misuse, match="cannot be read"):
        named_texts([tmp_path / "none.txt"])


def test_a_prompt_is_a_line_and_nothing_else_ends_it(tmp_path: Path) -> None:
    """Windows' ends of lines and byte order mark are no part of a prompt; a form feed, U+0085 or
    U+2028 within it are.
    """
    file = tmp_path / "prompts.txt"
    file.write_bytes(
        "\ufeffone\u2028still one\r\n\r\ntwo\x0cstill two\x85\n  three\x1cstill three".encode()
    )
    assert named_prompts(file) == ["one\u2028still one", "two\x0cstill two", "three\x1cstill three"]
    (document,) = named_texts([file])
    assert document.text.startswith("one")
    assert "\r" not in document.text


def test_a_text_of_another_encoding_is_said(tmp_path: Path) -> None:
    """UTF-16 begins with a byte that UTF-8 never has."""
    file = tmp_path / "wide.txt"
    file.write_text("Measure twice.", encoding="utf-16")
    with pytest.raises(Misuse, match="not UTF-8 at byte 0"):
        named_texts([file])
