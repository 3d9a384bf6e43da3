"""Whoever stops at the first answer is rarely wrong, and on clear cases soon done."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from hakaru.evaluation.divergence import evenly_mixed
from hakaru.evaluation.sequences import ERROR_RATE, LEAST_WINDOWS, looks, verdicts_below
from hakaru.evaluation.windows import Window

Draw = Callable[[np.random.Generator, tuple[int, int]], npt.NDArray[np.float64]]
BOUND, N_STREAMS, CAP = 0.03, 10_000, 150


def gamma(shape: float) -> Draw:
    return lambda dice, size: dice.gamma(shape, 1 / shape, size)


def log_normal(spread: float) -> Draw:
    return lambda dice, size: np.exp(dice.normal(-(spread**2) / 2, spread, size))


def domains(dice: np.random.Generator, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Three kinds of text in turn, of which one loses four times as much as another."""
    level = np.array([0.45, 0.75, 1.8])[np.arange(size[1]) % 3]
    return level * dice.gamma(3, 1 / 3, size)


def uneven(dice: np.random.Generator, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Kinds of text of which there is more and less, the rarer ones losing more, mixed as the
    windows of a test are.
    """
    kinds = {
        "code": (67, 0.6),
        "prose-en": (53, 1.0),
        "answers-en": (14, 1.6),
        "answers-ja": (16, 2.2),
    }
    whole = sum(n * level for n, level in kinds.values()) / sum(n for n, _ in kinds.values())
    mixed = evenly_mixed(
        [
            Window(domain=kind, tokens=(0,), first=0)
            for kind, (n, _) in kinds.items()
            for _ in range(n)
        ]
    )
    level = np.array([kinds[w.domain][1] / whole for w in mixed])[: size[1]]
    return level * dice.gamma(3, 1 / 3, size)


LOSSES = {
    "gamma 4": gamma(4),
    "gamma 1": gamma(1),
    "log-normal .5": log_normal(0.5),
    "log-normal 1": log_normal(1),
    "domains": domains,
    "uneven": uneven,
}


def first_answers(
    draw: Draw, mean: float, *, n_streams: int = N_STREAMS
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int64]]:
    """The first answer of every stream (0: none before the cap), and the number of windows that it
    took.
    """
    dice = np.random.default_rng(11)
    n_tokens = dice.integers(60, 113, size=(n_streams, CAP)).astype(np.float64)
    verdicts = verdicts_below(mean * draw(dice, (n_streams, CAP)) * n_tokens, n_tokens, BOUND)
    stopped = np.where((verdicts != 0).any(axis=1), (verdicts != 0).argmax(axis=1), CAP - 1)
    return verdicts[np.arange(n_streams), stopped], stopped + 1


@pytest.mark.parametrize("draw", LOSSES.values(), ids=LOSSES)
def test_at_the_bound_itself_few_pass_and_few_fail(draw: Draw) -> None:
    """10,000 streams whose true mean is the bound: that is the worst case for both errors."""
    answers, _ = first_answers(draw, BOUND)
    assert (answers == 1).mean() <= ERROR_RATE
    assert (answers == -1).mean() <= ERROR_RATE


@pytest.mark.parametrize("draw", LOSSES.values(), ids=LOSSES)
@pytest.mark.parametrize(
    ("mean", "right"), [(BOUND / 4, 1), (3 * BOUND, -1)], ids=["a quarter", "three times"]
)
def test_clear_cases_take_under_a_third_of_the_windows(draw: Draw, mean: float, right: int) -> None:
    """And nearly all are answered right."""
    answers, taken = first_answers(draw, mean, n_streams=2000)
    assert (answers == right).mean() > 0.99 if mean < BOUND else (answers == right).mean() > 0.95
    assert (answers == -right).mean() == 0
    assert taken.mean() < CAP / 3


def test_a_wald_interval_at_every_look_would_be_wrong_often() -> None:
    """What the sequence is for: the 95% interval of one look, taken at each, passes streams at the
    bound several times as often.
    """
    dice = np.random.default_rng(12)
    losses = dice.gamma(1, BOUND, (2000, CAP))
    n = np.arange(1, CAP + 1)
    mean = losses.cumsum(axis=1) / n
    spread = np.sqrt(np.maximum((losses**2).cumsum(axis=1) / n - mean**2, 0))
    naive = ((mean + 1.96 * spread / np.sqrt(n) < BOUND) & (n >= LEAST_WINDOWS)).any(axis=1).mean()
    ours = (verdicts_below(losses, np.ones_like(losses), BOUND) == 1).any(axis=1).mean()
    assert naive > 3 * ERROR_RATE > 3 * ours


def test_the_first_windows_say_nothing_and_looks_get_narrower() -> None:
    """Infinite before LEAST_WINDOWS; afterwards finite around the ratio of sums."""
    dice = np.random.default_rng(13)
    n_tokens = dice.integers(60, 113, 100).astype(np.float64)
    losses = n_tokens * dice.gamma(2, 0.01, 100)
    low, high = looks(losses, n_tokens)
    assert np.isinf(low[: LEAST_WINDOWS - 1]).all() and np.isinf(high[: LEAST_WINDOWS - 1]).all()
    assert np.isfinite(low[LEAST_WINDOWS - 1 :]).all()
    value = losses.sum() / n_tokens.sum()
    assert low[-1] < value < high[-1]
    assert high[-1] - low[-1] < high[LEAST_WINDOWS] - low[LEAST_WINDOWS]
    residuals = (losses - value * n_tokens) / n_tokens.mean()
    assert high[-1] - value == pytest.approx(value - low[-1])
    assert (high[-1] - value) / np.std(residuals, ddof=1) == pytest.approx(
        0.3089, abs=1e-4
    )  # by hand: ρ² .2204, √(.02091 × ln 96.0)
