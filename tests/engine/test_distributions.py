"""What two models say of the same tokens, compared: against float64 arithmetic written out."""

import numpy as np
import pytest

from hakaru.engine.distributions import divergence


def test_divergence_agrees_with_the_definition() -> None:
    """KLD, agreement and likelihoods of random logits, against float64 arithmetic written out."""
    dice = np.random.default_rng(3)
    x = dice.standard_normal((70, 300)).astype(np.float32) * 4
    y = x + dice.standard_normal((70, 300)).astype(np.float32)
    targets = dice.integers(0, 300, 70)
    sums = divergence(x, y, targets)
    log_p = x.astype(np.float64) - np.log(np.exp(x.astype(np.float64)).sum(1, keepdims=True))
    log_q = y.astype(np.float64) - np.log(np.exp(y.astype(np.float64)).sum(1, keepdims=True))
    assert sums["kld"] == pytest.approx((np.exp(log_p) * (log_p - log_q)).sum(), rel=1e-5)
    assert sums["agreed"] == (x.argmax(1) == y.argmax(1)).sum()
    assert sums["nll_reference"] == pytest.approx(-log_p[np.arange(70), targets].sum(), rel=1e-6)
    assert sums["nll_candidate"] == pytest.approx(-log_q[np.arange(70), targets].sum(), rel=1e-6)
    assert sums["n"] == 70


def test_a_model_does_not_diverge_from_itself() -> None:
    """Exactly zero, not almost."""
    x = np.random.default_rng(1).standard_normal((5, 100)).astype(np.float32)
    sums = divergence(x, x, np.zeros(5, dtype=np.int64))
    assert sums["kld"] == pytest.approx(0.0, abs=1e-6)
    assert sums["agreed"] == 5
