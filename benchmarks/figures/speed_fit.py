"""Coefficients of the terms of a token's time, fitted to published speeds.

Every route (a backend, with its driver where that decides) has coefficients of its own, none below
zero, that make the sum of the terms explain the times best: least squares of the relative error, in
which errors above a tenth count less and less (Huber), since a build that is twice as slow as the
next is no better truth for being far off. A route with few rows is drawn to the coefficients of all
routes together, or of the route of its forerunners, and those to what physics expects. Rows of one
device and model count together as the root of their number, so that one community's thousand rows
do not outvote a table with one row for each device.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct
from scipy.optimize import nnls

from figures.published_speeds import Published, What
from hakaru.planning.speed_terms import DECODE, PREFILL, decode_terms, prefill_terms

Vector = npt.NDArray[np.float64]

EXPECTED: Final[dict[What, dict[str, float]]] = {
    "decode": {
        "bytes": 1.1, "bytes_full": 0.1, "bytes_bf16": 0.1, "bytes_q8": 0.05, "bytes_k": 0.1,
        "bytes_low": 0.2, "bytes_iq": 0.5, "bytes_mxfp4": 0.2, "bytes_unified": 0.1,
        "cache": 1.3, "states": 5.0,
        "products": 1.0, "attention": 2.0, "layers": 8.0, "expert_layers": 4.0,
        "state_layers": 5.0,
    },
    "prefill": {
        "products": 2.2, "products_full": 0.2, "products_bf16": 0.5, "products_q8": 0.2,
        "products_k": 0.3, "products_low": 0.3, "products_iq": 0.5, "products_mxfp4": 0.2,
        "lane_products": 0.1, "power": 0.5, "expert_products": 3.0, "fetch": 1.3, "attention": 1.0,
        "lane_attention": 1.5, "layers": 0.3, "expert_layers": 0.5, "state_layers": 2.0,
    },
}  # fmt: skip
"""What each coefficient is about, before any row was read: judgement, from how kernels work."""
DRAWN_TO_EXPECTED: Final = 0.3
DRAWN_TO_ALL: Final[dict[What, float]] = {"decode": 0.1, "prefill": 0.05}
HUBER: Final = 0.1
ROUNDS: Final = 15
FORERUNNERS: Final = {"metal_matrix": "metal"}
"""Routes of a new generation that differs in its terms, and whose few rows say little alone."""
NAMES: Final[dict[What, tuple[str, ...]]] = {"decode": DECODE, "prefill": PREFILL}


class Table(Struct, frozen=True):
    """Published speeds as numbers: a row each."""

    rows: Sequence[Published]
    names: tuple[str, ...]
    terms: Vector  # rows x names: seconds
    seconds: Vector  # measured, per token
    weights: Vector
    routes: npt.NDArray[np.str_]
    devices: npt.NDArray[np.str_]

    def only(self, mask: npt.NDArray[np.bool_]) -> "Table":
        """Some of the rows; their weights stay."""
        rows = [row for row, keep in zip(self.rows, mask, strict=True) if keep]
        return Table(
            rows,
            self.names,
            self.terms[mask],
            self.seconds[mask],
            self.weights[mask],
            self.routes[mask],
            self.devices[mask],
        )


def table_of(speeds: Iterable[Published], what: What) -> Table:
    """The speeds of one kind as a table."""
    rows = [speed for speed in speeds if speed.what == what]
    terms = [terms_of(row) for row in rows]
    names = NAMES[what]
    alike = Counter((row.device, row.model, row.type_name) for row in rows)
    by_device = Counter(product_of(row.device) for row in rows)
    return Table(
        rows=rows,
        names=names,
        terms=np.array([[row[name] for name in names] for row in terms]),
        seconds=np.array([1 / row.tokens_per_s for row in rows]),
        weights=np.array([
            alike[row.device, row.model, row.type_name] ** -0.5
            * by_device[product_of(row.device)] ** -0.25
            for row in rows
        ]),
        routes=np.array([row.route for row in rows]),
        devices=np.array([product_of(row.device) for row in rows]),
    )  # fmt: skip


def product_of(device: str) -> str:
    """The product that is left out as a whole: chips that differ in cores alone are one."""
    return device.split(" ")[0]


def terms_of(speed: Published) -> dict[str, float]:
    """The terms of the speed's token."""
    if speed.what == "decode":
        return decode_terms(speed.work, speed.chip, speed.mean_depth)
    return prefill_terms(
        speed.work, speed.chip, n_prompt=speed.n_tokens, depth=speed.depth, n_ubatch=speed.n_ubatch
    )


def fit(table: Table, what: What, only: Iterable[str] | None = None) -> dict[str, Vector]:
    """The coefficients of each route, by name; those of all routes together under the name `""`.
    `only`: routes that are wanted, to save time.
    """
    wanted = set(table.routes) if only is None else set(only)
    wanted |= {FORERUNNERS[route] for route in wanted & FORERUNNERS.keys()}
    expected = np.array([EXPECTED[what][name] for name in table.names])
    relative = table.terms / table.seconds[:, None]
    even = table.weights.copy()
    for route in set(table.routes):
        mine = table.routes == route
        even[mine] *= 3 / np.sqrt(even[mine].sum())
    together = _robust(relative, even, expected, DRAWN_TO_EXPECTED)
    together = np.maximum(together, expected / 10)
    coefficients = {"": together}
    for route in sorted(
        wanted & set(table.routes), key=lambda route: (route in FORERUNNERS, route)
    ):
        mine = table.routes == route
        centre = drawn_to(route, what, table.names, coefficients)
        coefficients[route] = _robust(
            relative[mine], table.weights[mine], centre, DRAWN_TO_ALL[what]
        )
    return coefficients


def drawn_to(
    route: str, what: What, names: Iterable[str], coefficients: Mapping[str, Vector]
) -> Vector:
    """The coefficients to which those of a route are drawn: of all routes, or its forerunner's."""
    before = coefficients.get(FORERUNNERS.get(route, ""), coefficients[""])
    return np.maximum(before, [EXPECTED[what][name] / 100 for name in names])


def _robust(relative: Vector, weights: Vector, centre: Vector, strength: float) -> Vector:
    """The coefficients b >= 0 for which `relative @ b` is nearest to 1."""
    prior = np.diag(strength / centre)
    targets = np.full(len(centre), strength)
    now = weights.copy()
    for _ in range(ROUNDS):
        root = np.sqrt(now)
        rows = np.vstack([relative * root[:, None], prior])
        wanted = np.concatenate([root, targets])
        scale = np.sqrt((rows**2).sum(axis=0))
        found, _ = nnls(rows / scale, wanted)
        found /= scale
        off = np.abs(np.log(np.maximum(relative @ found, 1e-6)))
        now = weights / np.maximum(1, off / HUBER)
    return np.asarray(found)


def errors(table: Table, coefficients: Mapping[str, Vector]) -> Vector:
    """The log of predicted over measured speed of every row: 0.1 is 10 % too fast."""
    seconds = np.array(
        [
            terms @ coefficients.get(route, coefficients[FORERUNNERS.get(route, "")])
            for terms, route in zip(table.terms, table.routes, strict=True)
        ]
    )
    return np.asarray(np.log(table.seconds / seconds))


def left_out_fits(table: Table, what: What) -> tuple[Vector, dict[str, dict[str, Vector]]]:
    """The errors of every row under coefficients that never saw its product, and by product these
    coefficients.
    """
    off = np.zeros(len(table.rows))
    without = {}
    for device in sorted(set(table.devices)):
        mine = table.devices == device
        without[device] = fit(table.only(~mine), what, set(table.routes[mine]))
        off[mine] = errors(table.only(mine), without[device])
    return off, without
