"""One allocation after another for the same tensors, under other limits of damage and time."""

from contextlib import suppress
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import DoesNotFit
from hakaru.quantization.allocate import Allocation, Limits, allocate, least_damage, smallest_within
from hakaru.quantization.hull import Item
from hakaru.quantization.quiet import stdout_muted

SOLVER_TOLERANCE: Final = 1e-3
"""Relative slack on the limit of damage. Without the slack the solver's rounding makes the best
possible recipe infeasible.
"""
FILLED: Final = 0.998
"""The least part of a budget of bytes that is filled, where a choice of types of nearly the least
damage does.
"""
FILL_COSTS: Final = 2.0
"""How many times the least damage a filled budget may do: two mixes nearer to each other cannot be
told apart by their predictions. The reason and the figures: docs/decisions/0016-filled-budgets.md.
"""


class Solver(Struct, frozen=True, kw_only=True):
    """The tensors and limits that all allocations of one plan share."""

    items: list[Item]
    fixed_bytes: int  # of the file, whatever types are chosen
    most_bytes: int  # of the file
    fills: bool  # True if a person asked for `most_bytes` and wants them used
    limits: Limits

    def solve(self, damage: float | None = None) -> Allocation:
        """The least damage in `most_bytes`, or the fewest bytes for a `damage`. Raises
        DoesNotFit.
        """
        with stdout_muted():
            if damage is not None:
                return smallest_within(
                    self.items, damage, fixed_bytes=self.fixed_bytes, limits=self.limits
                )
            return self._largest()

    def within(self, max_seconds: float | None) -> "Solver":
        """The solver with another limit of seconds per token; None for no limit."""
        return replace(self, limits=replace(self.limits, max_seconds=max_seconds))

    @property
    def least_damage(self) -> float:
        """The damage of the best types that the pins allow, with the solver's slack."""
        return least_damage(self.items, pins=self.limits.pins) * (1 + SOLVER_TOLERANCE)

    def _largest(self) -> Allocation:
        """The allocation of least damage; or one that fills the budget better and does nearly as
        little damage.
        """
        best = self._allocated(0)
        if not self.fills or best.n_bytes >= FILLED * self.most_bytes:
            return best
        with suppress(DoesNotFit):  # the bytes left over may be too few for any larger type
            filled = self._allocated(int(FILLED * self.most_bytes) + 1)
            if filled.damage <= FILL_COSTS * best.damage:
                return filled
        return best

    def _allocated(self, least_bytes: int) -> Allocation:
        return allocate(
            self.items,
            self.most_bytes,
            fixed_bytes=self.fixed_bytes,
            least_bytes=least_bytes,
            limits=self.limits,
        )
