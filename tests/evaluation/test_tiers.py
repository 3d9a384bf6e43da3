"""Tiers are found by name, and so are their bounds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.errors import Misuse
from hakaru.evaluation.tiers import TIERS, one_word_in, tier_named


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


@given(
    st.lists(
        st.tuples(*[st.lists(st.integers(1, 1000), min_size=3, max_size=3)] * 2),
        min_size=1,
        max_size=6,
    )
)
def test_no_more_words_differ_than_the_loss_allows(places: list[tuple[list[int], ...]]) -> None:
    """Words that are drawn as alike as can be differ at most that often, averaged over places: the
    sentence that explains the loss on the first screen.
    """
    kld, differ = [], []
    for pair in places:
        p, q = (np.array(weights) / sum(weights) for weights in pair)
        kld.append(float((p * np.log(p / q)).sum()))
        differ.append(float(abs(p - q).sum()) / 2)  # the total variation
    mean = max(float(np.mean(kld)), 0.0)
    assert float(np.mean(differ)) <= 1 / one_word_in(mean) + 1e-12


def test_the_tiers_in_words() -> None:
    """0.03 nats: at most one word in 8."""
    assert {name: tier.one_word_in for name, tier in TIERS.items()} == {
        "transparent": 31, "near-lossless": 14, "balanced": 8, "compact": 4, "extreme": 2,
    }  # fmt: skip
