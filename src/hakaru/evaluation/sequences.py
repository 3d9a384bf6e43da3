"""When a test knows enough: intervals that hold at every look, so that a test may look after each
window.

An ordinary interval holds at one look; a test that looks after every window and stops at the first
good interval is wrong far more often than 5%. A confidence sequence holds at all looks at once.
This one is the asymptotic sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas (Time-uniform
central limit theory and asymptotic confidence sequences, Annals of Statistics 52, 2024): after n
windows the mean plus or minus some standard deviations of a window (`half_widths`).

Losses of windows are skewed: most are small and few are large, and before the first large one has
come, mean and spread both look too small. So the test that a loss lies *below* a bound takes a
spread of at least `LEAST_SPREAD` times the bound, which is the spread that such losses have when
their mean is at the bound. Simulated with 10,000 streams at the bound itself (gamma with shape 0.5
to 4, log-normal with σ 0.5 to 1, domains that differ by four times), 0 to 5% pass falsely, without
the floor 4 to 23%.

Left out: streams whose windows depend on each other. Windows come from different documents in an
order that a hash decides.
"""

import math
from typing import Final

import numpy as np
import numpy.typing as npt

Losses = npt.NDArray[np.float64]
ERROR_RATE: Final = 0.05
"""How often a verdict may be wrong."""
BEST_AT: Final = 36
"""The number of windows at which the sequence is narrowest."""
LEAST_WINDOWS: Final = 12
"""Windows before which nothing is known."""
LEAST_SPREAD: Final = 1.0
"""The least standard deviation of a window's loss that is believed, in units of the bound."""
RATE_SPREAD: Final = 0.5
"""The same for the share of tokens with another top choice, which no single window can dominate."""


def looks(
    numerators: Losses,
    denominators: Losses,
    *,
    error_rate: float = ERROR_RATE,
    least_spread: float = 0.0,
) -> tuple[Losses, Losses]:
    """Low and high of Σ numerators / Σ denominators after each window, valid at all looks at once.

    Shape as given, windows along the last axis; infinite before LEAST_WINDOWS. The upper end takes
    the standard deviation of one window's ratio to be at least `least_spread`.
    """
    n = np.arange(1, numerators.shape[-1] + 1)
    top, bottom = numerators.cumsum(axis=-1), denominators.cumsum(axis=-1)
    value = top / bottom
    mixed = (numerators * denominators).cumsum(axis=-1)
    squares = (numerators**2).cumsum(axis=-1) - 2 * value * mixed
    squares += value**2 * (denominators**2).cumsum(axis=-1)
    spread = np.sqrt(np.maximum(squares, 0) / np.maximum(n - 1, 1)) / (bottom / n)
    width = np.where(n < LEAST_WINDOWS, math.inf, half_widths(n, error_rate))
    with np.errstate(invalid="ignore"):  # infinite times zero
        low, high = value - width * spread, value + width * np.maximum(spread, least_spread)
    return np.where(n < LEAST_WINDOWS, -math.inf, low), np.where(n < LEAST_WINDOWS, math.inf, high)


def half_widths(n: npt.NDArray[np.int64], error_rate: float = ERROR_RATE) -> Losses:
    """Half the width of the sequence after n observations, in standard deviations of an
    observation.
    """
    log = -2 * math.log(error_rate)
    rho2 = (log + math.log(log + 1)) / BEST_AT
    return np.asarray(
        np.sqrt(2 * (n * rho2 + 1) / (n * n * rho2) * np.log(np.sqrt(n * rho2 + 1) / error_rate))
    )


def verdicts_below(
    numerators: Losses,
    denominators: Losses,
    bound: float,
    *,
    error_rate: float = ERROR_RATE,
    least_spread: float = LEAST_SPREAD,
) -> npt.NDArray[np.int8]:
    """After each window whether a loss is known to lie below `bound` (1), above `bound` (-1), or is
    not known yet (0). A test that stops at the first 1 or -1 is wrong in at most `error_rate` of
    all cases.
    """
    low, high = looks(
        numerators, denominators, error_rate=error_rate, least_spread=least_spread * bound
    )
    return np.where(high <= bound, 1, np.where(low > bound, -1, 0)).astype(np.int8)
