"""Intervals around predicted speeds, calibrated on devices that were left out.

The spread of the errors differs by class of work (with or without experts, short or deep context)
and by route. Its quantiles are taken of errors under coefficients that never saw the device
(`speed_fit.left_out_errors`). Then every device is judged by quantiles of the other devices alone,
and the intervals of a route are widened, or narrowed, until they hold nine of ten times: half by
rows, and half by devices. In quantiles, rows of one device count as the root of their number.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from figures.speed_fit import Table, Vector
from hakaru.planning.speed import class_of

HOLDS: Final = 0.9
FEW_DEVICES: Final = 0.3
"""By how much the level of a quantile rises for a route of n devices: this part of HOLDS / (n + 1).
"""
SCALE_QUANTILE: Final = 0.7
SCALES: Final = (0.5, 3.0)
LEAST_FACTOR: Final = 0.3
"""Intervals are narrowed to this part at most."""
Interval = tuple[float, float]
"""The least and the largest log of measured over predicted speed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Intervals by route and class, and how often they held."""

    intervals: Mapping[str, Mapping[str, Interval]]
    holds: npt.NDArray[np.bool_]  # of each row, by the quantiles of other devices

    def holds_by_device(self, table: Table, mine: npt.NDArray[np.bool_]) -> float:
        """How often the intervals of these rows held, if every device counts the same."""
        devices = table.devices[mine]
        return float(np.mean([self.holds[mine][devices == d].mean() for d in set(devices)]))


def calibrate(table: Table, off: Vector) -> Calibration:
    """The intervals for errors `off` (log of predicted over measured)."""
    classes = np.array([class_of(row.work, row.depth) for row in table.rows])
    weights = _weights(table)
    ratios = -off
    low, high = np.zeros(len(ratios)), np.zeros(len(ratios))
    for device in set(table.devices):
        mine = table.devices == device
        others = _quantiles(
            ratios[~mine], classes[~mine], weights[~mine], table.routes[~mine], table.devices[~mine]
        )
        for i in np.flatnonzero(mine):
            by_class = others.get(table.routes[i]) or _widest(others)
            low[i], high[i] = by_class[classes[i]]
    slower, faster = ratios / low, ratios / high  # above 1: outside, on that side
    tail = (1 + HOLDS) / 2
    factors: dict[str, Interval] = {}
    for route in set(table.routes):
        mine = table.routes == route
        fair = _fair(table.devices[mine])
        factors[route] = (
            max(LEAST_FACTOR, _quantile(slower[mine], fair, tail)),
            max(LEAST_FACTOR, _quantile(faster[mine], fair, tail)),
        )
    intervals = _quantiles(ratios, classes, weights, table.routes, table.devices)
    least, most = np.array([factors[route] for route in table.routes]).T
    return Calibration(
        intervals={
            route: {
                name: (low * factors[route][0], high * factors[route][1])
                for name, (low, high) in by_class.items()
            }
            for route, by_class in intervals.items()
        },
        holds=(slower <= least) & (faster <= most),
    )


def _weights(table: Table) -> Vector:
    counts = Counter(zip(table.routes, table.devices, strict=True))
    pairs = zip(table.routes, table.devices, strict=True)
    return np.array([counts[pair] ** -0.5 for pair in pairs])


def _fair(devices: npt.NDArray[np.str_]) -> Vector:
    """Weights by which half of the judgement is each row's, and half each device's."""
    counts = Counter(devices)
    return np.array([1 / len(devices) + 1 / len(counts) / counts[device] for device in devices])


def _quantiles(
    ratios: Vector,
    classes: npt.NDArray[np.str_],
    weights: Vector,
    routes: npt.NDArray[np.str_],
    devices: npt.NDArray[np.str_],
) -> dict[str, dict[str, Interval]]:
    """The intervals by route and class, before they are widened. An interval holds 1."""
    whole = _quantile(np.abs(ratios), weights, SCALE_QUANTILE)
    names = ("dense", "dense_deep", "experts", "experts_deep")
    scales = dict.fromkeys(names, 1.0)
    for name in set(classes):
        mine = classes == name
        own = _quantile(np.abs(ratios[mine]), weights[mine], SCALE_QUANTILE)
        scales[name] = min(max(own / whole, SCALES[0]), SCALES[1])
    scaled = ratios / np.array([scales[name] for name in classes])
    intervals = {}
    for route in set(routes):
        mine = routes == route
        level = HOLDS + FEW_DEVICES * HOLDS / (len(set(devices[mine])) + 1)
        outside = (1 - min(level, 0.995)) / 2
        low = min(-0.01, _quantile(scaled[mine], weights[mine], outside))
        high = max(0.01, _quantile(scaled[mine], weights[mine], 1 - outside))
        intervals[route] = {name: (low * scales[name], high * scales[name]) for name in names}
    return intervals


def _widest(intervals: Mapping[str, Mapping[str, Interval]]) -> Mapping[str, Interval]:
    return max(intervals.values(), key=lambda by_class: by_class["dense"][1])


def _quantile(values: Vector, weights: Vector, q: float) -> float:
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(np.interp(q * sums[-1], sums - weights[order] / 2, values[order]))
