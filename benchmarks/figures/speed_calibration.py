"""Intervals around predicted speeds, calibrated on devices that were left out.

Errors are those under coefficients that never saw the device (`speed_fit.left_out_fits`). Two
things make a speed uncertain: that devices and builds differ by more than the terms say, which is
as large for all work on a route, and that the coefficients are unsure (`speed_unsure`), which is
small for the model and type that every table has, and large for what one device was measured with.
So an error is divided by the root of both squares: the first is found so that the usual quotient is
one. Then heavily measured devices, which run all kinds of work, and those with one row, a usual
one, say the same of a route.

The interval's ends are quantiles of these quotients: of the route's own, to which those of all
other routes together add as much as OF_OTHERS devices. So one device's outlier is no law, and ten
devices speak for themselves. A route whose usual error is small by luck of few devices is drawn up
to that of all routes. Few devices widen the interval, as Student's t does a normal one. Half of the
weight is each row's and half each device's: one community's thousand rows do not stand for all
cards, nor does one row for a thousand.

What holds is counted on each device by intervals made without it.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from figures.speed_fit import Table, Vector

HOLDS: Final = 0.9
TAIL: Final = (1 - HOLDS) / 2
OF_OTHERS: Final = 2.0
"""As how many devices the errors of all other routes count."""
DRAWN: Final = 3.0
"""As how many devices the usual error of all routes counts beside a route's own."""
MOST_IN_MEAN: Final = 10
"""As how many devices a route counts at most in the usual error of all routes."""
FEW: Final = 1.0
"""An interval is wider by this part of itself, over the number of devices; devices of many rows
count more in it, so that their number is less.
"""
HALF_A_DEVICE: Final = 0.5
"""What the level of a quantile gives away, since the next device is none of those seen."""
USUAL: Final = 0.7
"""The quantile of absolute errors that stands for the usual one."""
LEAST_USUAL: Final = 0.02
LEAST_END: Final = 0.1
"""An interval holds the prediction itself, and this much of the spread on either side."""
ROUNDS: Final = 20
Names = npt.NDArray[np.str_]


class Errors(Struct, frozen=True):
    """Logs of measured over predicted speed, a row each."""

    ratios: Vector
    unsure: Vector  # standard error of the prediction by its coefficients
    routes: Names
    devices: Names

    @classmethod
    def of(cls, table: Table, off: Vector, unsure: Vector) -> "Errors":
        """The errors `off` (log of predicted over measured) of a table."""
        return cls(-off, unsure, table.routes, table.devices)

    def only(self, mask: npt.NDArray[np.bool_]) -> "Errors":
        """Some of the rows."""
        return Errors(self.ratios[mask], self.unsure[mask], self.routes[mask], self.devices[mask])


class Interval(Struct, frozen=True, kw_only=True):
    """The interval of a route: the least and the largest log of measured over predicted speed."""

    low: float  # in units of the spread
    high: float
    usual: float  # the spread where the coefficients are sure

    def ends(self, unsure: Vector) -> tuple[Vector, Vector]:
        """Its ends for predictions with these standard errors, as logs."""
        spread = np.hypot(self.usual, unsure)
        return self.low * spread, self.high * spread


class Calibration(Struct, frozen=True, kw_only=True):
    """Intervals by route, and how often they held."""

    intervals: Mapping[str, Interval]
    holds: npt.NDArray[np.bool_]  # of each row, by the interval of other devices


def calibrate(errors: Errors) -> Calibration:
    """The intervals of every route."""
    intervals = intervals_of(errors)
    holds = np.zeros(len(errors.ratios), bool)
    for device in set(errors.devices):
        mine = errors.devices == device
        unseen = intervals_of(errors.only(~mine))
        for route in set(errors.routes[mine]):
            rows = mine & (errors.routes == route)
            holds[rows] = held(errors.only(rows), unseen.get(route, intervals[route]))
    return Calibration(intervals=intervals, holds=holds)


def held(errors: Errors, interval: Interval) -> npt.NDArray[np.bool_]:
    """Whether each of these errors of one route lies in its interval."""
    low, high = interval.ends(errors.unsure)
    return np.asarray((low <= errors.ratios) & (errors.ratios <= high))


def intervals_of(errors: Errors) -> dict[str, Interval]:
    """The interval of every route that has errors."""
    weights, routes = _fair(errors), errors.routes
    n_devices = {name: len(set(errors.devices[routes == name])) for name in sorted(set(routes))}
    usual = {
        name: _usual(errors.ratios[mine], errors.unsure[mine], weights[mine])
        for name in n_devices
        for mine in [routes == name]
    }
    sizes = np.array([usual[name] for name in routes])
    quotients = errors.ratios / np.hypot(sizes, errors.unsure)
    mean = np.average(
        [np.log(usual[name]) for name in n_devices],
        weights=[min(n, MOST_IN_MEAN) for n in n_devices.values()],
    )
    counts = weights * np.array([n_devices[name] for name in routes])
    found = {}
    for route, n in n_devices.items():
        own = routes == route
        of_others = OF_OTHERS / max(1, sum(n_devices.values()) - n)
        counted = np.where(own, counts, counts * of_others)
        tail = TAIL * max(0.2, 1 - HALF_A_DEVICE / counted.sum())
        low, high = (_quantile(quotients, counted, q) for q in (tail, 1 - tail))
        drawn = float(np.exp((n * np.log(usual[route]) + DRAWN * mean) / (n + DRAWN)))
        few = 1 + FEW / effective(errors.devices[own], weights[own])
        found[route] = Interval(
            low=few * min(-LEAST_END, low),
            high=few * max(LEAST_END, high),
            usual=max(usual[route], drawn),
        )
    return found


def effective(devices: Names, weights: Vector) -> float:
    """How many devices of equal weight would say as much."""
    parts = np.array([weights[devices == device].sum() for device in sorted(set(devices))])
    return float(parts.sum() ** 2 / (parts**2).sum())


def _usual(ratios: Vector, unsure: Vector, weights: Vector) -> float:
    """The error beside which, with what the coefficients leave unsure, the usual quotient is 1."""
    usual = max(LEAST_USUAL, _quantile(np.abs(ratios), weights, USUAL))
    for _ in range(ROUNDS):
        sizes = np.abs(ratios) / np.hypot(1, unsure / usual)
        usual = max(LEAST_USUAL, _quantile(sizes, weights, USUAL))
    return usual


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
