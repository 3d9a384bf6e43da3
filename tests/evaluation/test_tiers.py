"""Tiers are found by name, and so are their bounds."""

import pytest

from hakaru.errors import Misuse
from hakaru.evaluation.tiers import tier_named


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
