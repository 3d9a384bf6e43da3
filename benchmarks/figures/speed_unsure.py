"""How unsure a predicted speed is because its coefficients are.

Two things leave the coefficients of a route unsure. First, which devices happened to be measured:
the jackknife, which leaves one device out at a time, tells how far each coefficient moves, and
together with which others. Second, the value to which a coefficient is drawn: where the route's
rows hardly ask for a term (a type, keys behind a depth), the coefficient is that of other routes,
which is off by as much as routes differ. Both are directions in the space of coefficients; a row of
work that lies along them is unsure, one that most devices were measured with is not.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from figures.published_speeds import What
from figures.speed_fit import DRAWN_TO_ALL, Table, Vector, drawn_to, fit

OF_DEVICES: Final = 1.5
"""By how much the jackknife is multiplied. The likelihood of the errors is greatest at 2 in both
kinds of speed, and on devices that were put away 1.5 is the better one (docs/labbook.md).
"""
ROUTES_DIFFER: Final = 0.5
"""Standard deviation of a route's coefficient around that of all, as a part of it: 0.5 for
decoding and 0.7 for prompts, of those coefficients that their route's rows determine.
"""
Directions = Mapping[str, Vector]
"""By route: rows of coefficients, each a standard deviation in a direction of its own."""


def directions(table: Table, what: What, without: Mapping[str, Mapping[str, Vector]]) -> Directions:
    """The directions of every route; `without` has the coefficients by the device left out."""
    coefficients, found = fit(table, what), {}
    for route in sorted(set(table.routes)):
        of_devices = OF_DEVICES * _jackknife(table, route, without)
        of_others = ROUTES_DIFFER * _drawn(table, what, route, coefficients)
        found[route] = np.vstack([of_devices, of_others])
    return found


def _jackknife(table: Table, route: str, without: Mapping[str, Mapping[str, Vector]]) -> Vector:
    devices = sorted(set(table.devices[table.routes == route]))
    moved = np.array([without[device][route] for device in devices if route in without[device]])
    n = len(moved)
    if n < 2:
        return np.zeros((0, len(table.names)))
    return np.asarray((moved - moved.mean(axis=0)) * np.sqrt((n - 1) / n))


def _drawn(table: Table, what: What, route: str, coefficients: Mapping[str, Vector]) -> Vector:
    """By how much the coefficients would move, were the value to which each is drawn its double."""
    mine = table.routes == route
    centre = drawn_to(route, what, table.names, coefficients)
    pull = np.diag((DRAWN_TO_ALL[what] / centre) ** 2)
    relative = table.terms[mine] / table.seconds[mine][:, None]
    rows = (relative * table.weights[mine][:, None]).T @ relative
    return np.asarray((np.linalg.solve(rows + pull, pull) * centre).T)


def unsure(table: Table, off: Vector, found: Directions) -> Vector:
    """The standard error of each row's predicted time, as a part of it, by its coefficients alone;
    `off` is the log of predicted over measured speed.
    """
    relative = table.terms / (table.seconds * np.exp(-off))[:, None]
    return np.array(
        [
            np.linalg.norm(found[route] @ row) if route in found else np.nan
            for route, row in zip(table.routes, relative, strict=True)
        ]
    )


def triangle(rows: Vector) -> list[list[float]]:
    """The fewest numbers that say the same: row k has those of the coefficients from k on."""
    upper = np.linalg.qr(rows, mode="r")
    return [list(row[k:] * (-1 if row[k] < 0 else 1)) for k, row in enumerate(upper)]
