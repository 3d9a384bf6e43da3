"""The multiple-choice knapsack: of every item exactly one choice, the least cost, and no row over
its limit.

Three steps. The linear relaxation gives a price λ for each row, and with it a bound that no
solution undercuts: whatever λ >= 0, the cost is at least the sum over items of min (cost + λ ×
weight) less λ × limit. A greedy walk gives a first solution. A choice that is dearer at these
prices by more than the distance between the two cannot be in a better solution, so it is fixed to
zero; the integer program (HiGHS) sees only what is left, a few dozen choices for thousands of
items. What it returns is checked in whole numbers, since a solver's feasibility has a tolerance and
a budget has none.

Source: Kellerer, Pferschy, Pisinger, Knapsack Problems (2004), chapter 11; HiGHS through
scipy.optimize.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Vector = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]
GAP: Final = 1e-4  # of the bound: a thousandth of what a prediction can tell
SCALE: Final = (
    1e4  # HiGHS stops at an absolute gap of 1e-6: costs are scaled so that this is nothing
)
MARGIN: Final = 1e-9


class Row(Struct, frozen=True, kw_only=True, eq=False):
    """A resource that is limited, such as bytes. Whole numbers are held exactly."""

    weights: Whole | Vector  # what every choice takes of the resource
    limit: float  # of the sum over the chosen

    def holds(self, chosen: npt.NDArray[np.intp]) -> bool:
        """Whether the sum over the chosen stays within the limit."""
        return bool(self.weights[chosen].sum() <= self.limit)


class Problem(Struct, frozen=True, kw_only=True, eq=False):
    """All choices, in the order of their items."""

    costs: Vector  # of every choice
    item_of: npt.NDArray[np.intp]  # the number of every choice's item: 0, 0, 1, 1, 1, …
    rows: Sequence[Row]

    @property
    def starts(self) -> npt.NDArray[np.intp]:
        """Where each item's choices begin."""
        return np.flatnonzero(np.r_[True, np.diff(self.item_of) > 0])

    def fits(self, chosen: npt.NDArray[np.intp]) -> bool:
        """Whether every row holds."""
        return all(row.holds(chosen) for row in self.rows)


class Solution(Struct, frozen=True, kw_only=True, eq=False):
    """What was chosen, and what is the best that could be hoped for."""

    chosen: npt.NDArray[np.intp]  # for every item the index of its choice
    bound: float  # no solution costs less


def solve(problem: Problem, *, time_limit_s: float) -> Solution | None:
    """The best solution, or the best one found in the time; None where the rows contradict each
    other (or, in the time limit, nothing was found that keeps them).
    """
    relaxed = _relaxation(problem, time_limit_s)
    if relaxed is None:
        return None
    prices, shares = relaxed
    bound, extra = _bound(problem, prices)
    first = _walked(problem, shares, prices)
    cost = float(problem.costs[first].sum()) if first is not None else np.inf
    core = np.flatnonzero(extra <= (cost - bound) * (1 + MARGIN) + MARGIN * abs(bound))
    best, proven = first, bound
    if len(core) > len(problem.starts) and cost - bound > GAP * abs(bound):
        better, proven = _integer(problem, core, cost, bound, time_limit_s)
        if better is not None and (best is None or problem.costs[better].sum() < cost):
            best = better
    if best is None:
        return None
    return Solution(chosen=best, bound=min(proven, float(problem.costs[best].sum())))


def _relaxation(problem: Problem, time_limit_s: float) -> tuple[Vector, Vector] | None:
    """Prices of the rows and shares of the choices in the linear relaxation; None where it has no
    solution.
    """
    from scipy.optimize import linprog  # half a second at import

    scale = SCALE / max(float(np.abs(problem.costs).max()), 1e-300)
    upper, limits, units = _matrix(problem, np.arange(len(problem.costs)))
    relaxed = linprog(
        problem.costs * scale,
        A_ub=upper,
        b_ub=limits,
        A_eq=_one_each(problem.item_of),
        b_eq=np.ones(len(problem.starts)),
        bounds=(0, None),
        method="highs",
        options={"time_limit": time_limit_s},
    )
    if relaxed.x is None:
        return None
    prices = np.maximum(-np.asarray(relaxed.ineqlin.marginals), 0) / scale / units
    return prices, np.asarray(relaxed.x)


def _bound(problem: Problem, prices: Vector) -> tuple[float, Vector]:
    """The bound at these prices, and how much dearer than its item's cheapest every choice is."""
    priced = problem.costs.copy()
    for row, price in zip(problem.rows, prices, strict=True):
        priced += price * row.weights
    least = np.minimum.reduceat(priced, problem.starts)
    bound = float(
        least.sum()
        - sum(price * row.limit for row, price in zip(problem.rows, prices, strict=True))
    )
    return bound, priced - least[problem.item_of]


def _walked(problem: Problem, shares: Vector, prices: Vector) -> npt.NDArray[np.intp] | None:
    """A solution near the relaxation's: its largest shares, repaired where a row breaks, then
    bettered while that fits.
    """
    largest = np.maximum.reduceat(shares, problem.starts)[problem.item_of]
    chosen = np.flatnonzero(shares >= largest)
    chosen = chosen[np.unique(problem.item_of[chosen], return_index=True)[1]]
    weights = np.stack(
        [np.asarray(row.weights, dtype=np.float64) / _unit(row) for row in problem.rows]
    )
    limits = np.array([row.limit / _unit(row) for row in problem.rows])
    for _ in range(4 * len(chosen)):
        if problem.fits(chosen):
            break
        used = weights[:, chosen].sum(axis=1)
        moved = used[:, None] + weights - weights[:, chosen][:, problem.item_of]
        relief = np.maximum(used - limits, 0).sum() - np.maximum(moved - limits[:, None], 0).sum(
            axis=0
        )
        loss = np.maximum(problem.costs - problem.costs[chosen][problem.item_of], 1e-300)
        if relief.max() <= 0:
            return None
        at = int(np.argmax(np.where(relief > 0, relief / loss, 0)))
        chosen[problem.item_of[at]] = at
    else:
        return None
    return _bettered(problem, chosen, prices)


def _bettered(
    problem: Problem, chosen: npt.NDArray[np.intp], prices: Vector
) -> npt.NDArray[np.intp]:
    """The same after every single change that lowers the cost and fits, the most for the row's
    price first.
    """
    weights = [np.asarray(row.weights) for row in problem.rows]
    for _ in range(4 * len(chosen)):
        gain = problem.costs[chosen][problem.item_of] - problem.costs
        allowed = gain > 0
        toll = np.full(len(gain), 1e-300)
        for row, w, price in zip(problem.rows, weights, prices, strict=True):
            more = w - w[chosen][problem.item_of]
            allowed &= w[chosen].sum() + more <= row.limit
            toll += np.maximum(price * more, 0)
        if not allowed.any():
            break
        at = int(np.argmax(np.where(allowed, gain / toll, 0)))
        chosen[problem.item_of[at]] = at
    return chosen


def _integer(
    problem: Problem, core: npt.NDArray[np.intp], cost: float, bound: float, time_limit_s: float
) -> tuple[npt.NDArray[np.intp] | None, float]:
    """The best solution within the core, and the bound that follows for the whole problem.

    Limits are tightened by what the solver's tolerance let through, and the core is solved again.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    least = np.minimum.reduceat(problem.costs[core], _starts(problem.item_of[core]))
    over = problem.costs[core] - least[np.unique(problem.item_of[core], return_inverse=True)[1]]
    span = cost - least.sum() if np.isfinite(cost) else over.sum()
    scale = SCALE / max(float(span), 1e-300)
    upper, limits, units = _matrix(problem, core)
    options: dict[str, Any] = {"mip_rel_gap": min(GAP * abs(bound) / max(float(span), 1e-300), 0.1)}
    slack = np.zeros(len(problem.rows))
    proven: float | None = None
    for part in (1 / 2, 1 / 6, 1 / 6, 1 / 6):
        options["time_limit"] = part * time_limit_s
        answer = milp(
            over * scale,
            integrality=np.ones(len(core)),
            bounds=Bounds(0, 1),
            options=options,
            constraints=[
                LinearConstraint(_one_each(problem.item_of[core]), 1, 1),
                LinearConstraint(upper, -np.inf, limits - slack / units),
            ],
        )
        if proven is None:
            dual = getattr(answer, "mip_dual_bound", None)
            proven = (
                max(bound, min(cost, dual / scale + float(least.sum())))
                if dual is not None and np.isfinite(dual)
                else bound
            )
        if answer.x is None:
            return None, cost if answer.status == 2 and np.isfinite(cost) else proven
        chosen = core[np.asarray(answer.x) > 0.5]
        if problem.fits(chosen):
            return chosen, proven
        for i, row in enumerate(problem.rows):
            slack[i] += max(float(row.weights[chosen].sum() - row.limit), 0)
    return None, proven if proven is not None else bound


def _matrix(problem: Problem, core: npt.NDArray[np.intp]) -> tuple[Any, Vector, Vector]:
    """The rows over the core, in units that keep their numbers small, less what every item takes at
    least; the limits alike; the units.
    """
    starts, item = (
        _starts(problem.item_of[core]),
        np.unique(problem.item_of[core], return_inverse=True)[1],
    )
    units = np.array([_unit(row) for row in problem.rows])
    weights, limits = [], []
    for row, unit in zip(problem.rows, units, strict=True):
        least = np.minimum.reduceat(row.weights[core], starts)
        weights.append((row.weights[core] - least[item]) / unit)
        limits.append((row.limit - least.sum()) / unit)
    return np.stack(weights), np.array(limits), units


def _unit(row: Row) -> float:
    return max(float(np.abs(row.weights).max()) / 1000, 1e-300)


def _starts(item_of: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return np.flatnonzero(np.r_[True, np.diff(item_of) > 0])


def _one_each(item_of: npt.NDArray[np.intp]) -> Any:
    """One row per item with a one at each of its choices."""
    from scipy.sparse import csr_array

    rows = np.unique(item_of, return_inverse=True)[1]
    return csr_array((np.ones(len(item_of)), (rows, np.arange(len(item_of)))))
