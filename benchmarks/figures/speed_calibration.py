"""Intervals around predicted speeds, calibrated on devices that were left out.

Errors are those under coefficients that never saw the device (`speed_fit.left_out_fits`). An
interval is asked for a route and a class of work (with or without experts, short or deep context),
and few routes have many devices. So it is made in two steps:

1. Every error is divided by the usual error of its route and class. The interval's ends are
   quantiles of these: of the route's own, to which those of all other routes together add as much
   as OF_OTHERS devices. So one device's outlier is no law, and ten devices speak for themselves. A
   route whose usual error is small by luck of few devices is drawn up to that of all routes. Few
   devices widen the interval, as Student's t does a normal one, and so does a class of which the
   route has hardly any device: there the next one is far from all that was seen.
2. Every device is judged by intervals made without it. The factor by which these would have to be
   wider, or narrower, to hold nine of ten times is applied, the less the fewer devices there are.

In both, half of the weight is each row's and half each device's: one community's thousand rows do
not stand for all cards, nor does one row for a thousand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from figures.speed_fit import Table, Vector
from hakaru.planning.speed import class_of

HOLDS: Final = 0.9
TAIL: Final = (1 - HOLDS) / 2
OF_OTHERS: Final = 2.0
"""As how many devices the errors of all other routes count."""
OF_OTHER_CLASSES: Final = 0.3
"""As how much of a row the errors of the route's other classes count."""
DRAWN: Final = 3.0
"""As how many devices the usual error of all routes counts beside a route's own."""
DRAWN_FACTOR: Final = 4.0
"""As how many devices the factor 1 counts beside a route's own factor."""
FEW: Final = 1.0
"""An interval is wider by this part of itself, over the number of devices; devices of many rows
count more in it, so that their number is less.
"""
UNSEEN: Final = 2
"""A class of fewer devices than this is not seen on a route."""
WIDER_UNSEEN: Final = 1.3
HALF_A_DEVICE: Final = 0.5
"""What the level of a quantile gives away, since the next device is none of those seen."""
USUAL: Final = 0.7
"""The quantile of absolute errors that stands for the usual one."""
FACTORS: Final = (1 / 3, 3.0)
LEAST_END: Final = 0.01
CLASSES: Final = ("dense", "dense_deep", "experts", "experts_deep")
Interval = tuple[float, float]
"""The least and the largest log of measured over predicted speed."""
Names = npt.NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Errors:
    """Logs of measured over predicted speed, a row each."""

    ratios: Vector
    classes: Names
    routes: Names
    devices: Names

    @classmethod
    def of(cls, table: Table, off: Vector) -> "Errors":
        """The errors `off` (log of predicted over measured) of a table."""
        classes = np.array([class_of(row.work, row.depth) for row in table.rows])
        return cls(-off, classes, table.routes, table.devices)

    def only(self, mask: npt.NDArray[np.bool_]) -> "Errors":
        """Some of the rows."""
        return Errors(self.ratios[mask], self.classes[mask], self.routes[mask], self.devices[mask])


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Intervals by route and class, and how often they held."""

    intervals: Mapping[str, Mapping[str, Interval]]
    holds: npt.NDArray[np.bool_]  # of each row, by the quantiles of other devices

    def holds_by_device(self, table: Table, mine: npt.NDArray[np.bool_]) -> float:
        """How often the intervals of these rows held, if every device counts the same."""
        devices = table.devices[mine]
        return float(np.mean([self.holds[mine][devices == d].mean() for d in set(devices)]))


def calibrate(errors: Errors) -> Calibration:
    """The intervals of every route."""
    plain = {route: _intervals(errors, route) for route in sorted(set(errors.routes))}
    low, high = np.zeros(len(errors.ratios)), np.zeros(len(errors.ratios))
    for device in set(errors.devices):
        mine = errors.devices == device
        others = errors.only(~mine)
        for route in set(errors.routes[mine]):
            unseen = _intervals(others, route) if route in others.routes else plain[route]
            for i in np.flatnonzero(mine & (errors.routes == route)):
                low[i], high[i] = unseen[errors.classes[i]]
    slower, faster = errors.ratios / low, errors.ratios / high  # above 1: outside, on that side
    holds = np.zeros(len(low), bool)
    intervals = {}
    for route, by_class in plain.items():
        mine = errors.routes == route
        weights, n = _fair(errors)[mine], len(set(errors.devices[mine]))
        least, most = (_factor(values[mine], weights, n) for values in (slower, faster))
        holds[mine] = (slower[mine] <= least) & (faster[mine] <= most)
        intervals[route] = {
            name: (low * least, high * most) for name, (low, high) in by_class.items()
        }
    return Calibration(intervals=intervals, holds=holds)


def _intervals(errors: Errors, route: str) -> dict[str, Interval]:
    """The intervals of a route by class, before any factor. An interval holds 1."""
    weights, routes = _fair(errors), errors.routes
    n_devices = {name: len(set(errors.devices[routes == name])) for name in set(routes)}
    by_class = _class_scales(errors, weights)
    scaled = errors.ratios / np.array([by_class[name] for name in errors.classes])
    scales = _route_scales(scaled, weights, routes)
    shapes = scaled / np.array([scales[name] for name in routes])
    mean = np.average(
        [np.log(scales[name]) for name in n_devices],
        weights=[min(n, 10) for n in n_devices.values()],
    )
    n, own = n_devices[route], routes == route
    drawn = np.exp((n * np.log(scales[route]) + DRAWN * mean) / (n + DRAWN))
    scale = max(scales[route], float(drawn))
    counts = weights * np.array([n_devices[name] for name in routes])
    counts[~own] *= OF_OTHERS / max(1, sum(n_devices.values()) - n)
    few = 1 + FEW / _effective(errors.devices[own], weights[own])
    found = {}
    for name in CLASSES:
        counted = np.where(own & (errors.classes != name), OF_OTHER_CLASSES * counts, counts)
        tail = TAIL * max(0.2, 1 - HALF_A_DEVICE / counted.sum())
        low, high = (_quantile(shapes, counted, q) for q in (tail, 1 - tail))
        seen = len(set(errors.devices[own & (errors.classes == name)])) >= UNSEEN
        of_class = by_class[name] if seen else WIDER_UNSEEN * max(1.0, by_class[name])
        width = scale * of_class * few
        found[name] = (min(-LEAST_END, low * width), max(LEAST_END, high * width))
    return found


def _effective(devices: Names, weights: Vector) -> float:
    """How many devices of equal weight would say as much."""
    parts = np.array([weights[devices == device].sum() for device in sorted(set(devices))])
    return float(parts.sum() ** 2 / (parts**2).sum())


def _class_scales(errors: Errors, weights: Vector) -> dict[str, float]:
    """By how much errors of a class are larger than the usual ones of their route; drawn to 1."""
    usual = _route_scales(errors.ratios, weights, errors.routes)
    sizes = np.abs(errors.ratios) / np.array([usual[name] for name in errors.routes])
    scales = dict.fromkeys(CLASSES, 1.0)
    for name in set(errors.classes):
        mine = errors.classes == name
        own = np.clip(_quantile(sizes[mine], weights[mine], USUAL), 0.4, 3.0)
        n = len(set(errors.devices[mine]))
        scales[name] = float(own ** (n / (n + DRAWN)))
    return scales


def _route_scales(ratios: Vector, weights: Vector, routes: Names) -> dict[str, float]:
    return {
        name: max(0.02, _quantile(np.abs(ratios[mine]), weights[mine], USUAL))
        for name in sorted(set(routes))
        for mine in [routes == name]
    }


def _factor(values: Vector, weights: Vector, n_devices: int) -> float:
    """What `values` must be divided by to be at most 1 in all but the tail; drawn to 1."""
    own = max(0.2, _quantile(values, weights, 1 - TAIL)) ** (n_devices / (n_devices + DRAWN_FACTOR))
    return float(np.clip(own, *FACTORS))


def _fair(errors: Errors) -> Vector:
    """Weights of the rows, which are 1 for each route: half by rows, half by devices."""
    weights = np.zeros(len(errors.ratios))
    for route in set(errors.routes):
        mine = errors.routes == route
        _, kinds, counts = np.unique(errors.devices[mine], return_inverse=True, return_counts=True)
        weights[mine] = (1 / len(kinds) + 1 / len(counts) / counts[kinds]) / 2
    return weights


def _quantile(values: Vector, weights: Vector, q: float) -> float:
    order = np.argsort(values)
    sums = np.cumsum(weights[order])
    return float(np.interp(q * sums[-1], sums - weights[order] / 2, values[order]))
