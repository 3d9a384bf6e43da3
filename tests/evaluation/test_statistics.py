"""Intervals hold the truth as often as they say, and few samples give wide ones."""

import numpy as np
import pytest

from hakaru.evaluation.statistics import LEAST_FOR_TAIL, median_of, quantile_of, ratio_of_sums


def test_intervals_cover_the_truth() -> None:
    """Of 1,000 samples of 40 windows from a known population, 93 to 97% of the intervals hold the
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
    """95% means 95% for two windows, too; the bootstrap alone holds half of them."""
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
