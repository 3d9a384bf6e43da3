"""Axes of a picture that is laid out in pixels: from values to places, and where the ticks are.
Pure.
"""

import math
from typing import Final

from msgspec import Struct

STEPS: Final = (1, 2, 2.5, 5, 10)
DECADES: Final = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8))
"""Ticks of a logarithmic axis in each decade: as few of them as make `LEAST_TICKS`."""
LEAST_TICKS: Final = 4


class Axis:
    """From values to pixels; `begin` is the pixel of `low`, `end` that of `high`."""

    def __init__(self, low: float, high: float, begin: float, end: float) -> None:
        self.low, self.high, self.begin, self.end = low, high, begin, end

    def at(self, value: float) -> float:
        """The pixel of a value."""
        part = (value - self.low) / (self.high - self.low)
        return self.begin + part * (self.end - self.begin)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values on the axis, at most so many."""
        raw = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(raw))
        step = next(power * factor for factor in STEPS if power * factor >= raw * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(n * step, 10) for n in range(first, last + 1)]


class LogAxis(Axis):
    """An axis on which equal distances are equal ratios."""

    def at(self, value: float) -> float:
        """The pixel of a value above 0."""
        part = math.log(value / self.low) / math.log(self.high / self.low)
        return self.begin + part * (self.end - self.begin)

    def ticks(self, most: int = 6) -> list[float]:
        """Round values of each decade."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values: list[float] = []
        for factors in DECADES:
            values = [
                value
                for decade in decades
                for value in (float(f"{factor * 10.0**decade:.3g}") for factor in factors)
                if self.low <= value <= self.high
            ]
            if len(values) >= LEAST_TICKS:
                break
        return values


class Tick(Struct, frozen=True, kw_only=True):
    """A value on an axis, and its text."""

    at: float
    text: str
