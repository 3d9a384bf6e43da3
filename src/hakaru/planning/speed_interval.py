"""The interval of a predicted speed: nine of ten measured speeds lie in it. Pure.

Its width is the root of two squares. One is the spread that is usual on a route, since devices,
drivers and builds differ by more than the terms of `speed_terms` say. The other is what the
coefficients leave unsure of this very work on this device: little for what every device was
measured with, much for a type, a depth or a kind of layer that one device has shown, or none. The
ends are quantiles of what devices were off that the coefficients had not seen, in units of that
width. benchmarks/figures/speed_unsure.py and speed_calibration.py tell where they come from.
"""

import math
from collections.abc import Mapping, Sequence
from operator import mul
from typing import Any

from msgspec import Struct

Ends = tuple[float, float]
"""The least and the largest log of measured over predicted speed."""


class RouteInterval(Struct, frozen=True, kw_only=True):
    """What of a route in `speed.json` decides the width of its intervals."""

    coefficients: Mapping[str, float]
    ends: Ends  # in units of the width
    usual: float  # the spread where the coefficients are sure
    unsure: Sequence[Sequence[float]]  # row k: a standard deviation of the coefficients from k on

    @classmethod
    def of(cls, fitted: Mapping[str, Any]) -> "RouteInterval":
        """The part of a route's facts that is needed here."""
        low, high = fitted["interval"]
        return cls(
            coefficients=fitted["coefficients"],
            ends=(low, high),
            usual=fitted["usual_error"],
            unsure=fitted["unsure"],
        )

    def standard_error(self, terms: Mapping[str, float]) -> float:
        """The standard error of the time that these terms take, as a part of it, as far as it comes
        from the coefficients.
        """
        times = [terms[name] for name in self.coefficients]
        seconds = sum(c * time for c, time in zip(self.coefficients.values(), times, strict=True))
        moved = (sum(map(mul, row, times[k:])) for k, row in enumerate(self.unsure))
        return math.hypot(*moved) / seconds

    def interval(self, terms: Mapping[str, float]) -> Ends:
        """The interval of the speed of a work with these terms."""
        width = math.hypot(self.usual, self.standard_error(terms))
        return self.ends[0] * width, self.ends[1] * width
