"""Which type every tensor gets: the least predicted damage in a number of bytes, or the fewest
bytes for a damage.

The damage of a recipe is S = Σ a e: the sum over all tensors of sensitivity times error of the
chosen type. Both questions are a multiple-choice knapsack on exact file bytes (`knapsack.py`). It
has further rows where speed or devices limit the choice: seconds per token, and the bytes of each
device. A pin leaves a tensor one choice. A file never has more bytes than its budget.

Left out: which device a tensor lies on (that is the placement's matter), and the damage of two
tensors together beyond the sum (that is the link's matter, see `prediction.py`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from hakaru.errors import DoesNotFit
from hakaru.quantization.hull import Choice, Item, undominated
from hakaru.quantization.knapsack import Problem, Row, Solution, solve
from hakaru.units import alike, compared

TIME_LIMIT_S: Final = 20.0


class Limits(Struct, frozen=True, kw_only=True):
    """What an allocation must keep beside the bytes of the file."""

    pins: Mapping[str, str] | None = None  # tensor -> type
    max_seconds: float | None = None  # per token, the sum over all tensors
    devices_of: Mapping[str, tuple[str, ...]] | None = None
    """Tensor -> devices that hold a copy of it. A device named twice holds two copies."""
    device_bytes: Mapping[str, int] | None = None
    """Device -> bytes for the tensors that lie there. A device that is not named is unbounded."""


class Allocation(Struct, frozen=True, kw_only=True):
    """The choice of every tensor, and what follows from the choices."""

    choices: Mapping[str, Choice]  # by tensor
    n_bytes: int  # of the whole file
    damage: float  # S, the sum over all tensors
    seconds: float  # per token, the sum over all tensors
    bound: float  # no allocation has less damage (`allocate`), or fewer bytes (`smallest_within`)

    @property
    def types(self) -> dict[str, str]:
        """The type of every tensor, by name."""
        return {name: choice.type for name, choice in self.choices.items()}


def allocate(
    items: Sequence[Item],
    budget_bytes: int,
    *,
    fixed_bytes: int = 0,
    least_bytes: int = 0,
    limits: Limits | None = None,
    time_limit_s: float = TIME_LIMIT_S,
) -> Allocation:
    """The least damage in a file of `least_bytes` to `budget_bytes`, of which `fixed_bytes` are
    taken whatever is chosen.

    Raises DoesNotFit where no choice of types keeps the budget (with the range of possible bytes)
    or the other limits.
    """
    limits = limits or Limits()
    open_choices = _open(items, limits)
    smallest, largest = byte_range(items, fixed_bytes=fixed_bytes, pins=limits.pins)
    if budget_bytes < smallest:
        asked, least, most = alike(budget_bytes, smallest, largest)
        raise DoesNotFit(
            "the budget is {budget}, but this model's files can have {smallest} to {largest} "
            "({smallest_bytes} to {largest_bytes} bytes); ask for at least {smallest_bytes} bytes.",
            budget=asked,
            smallest=least,
            largest=most,
            smallest_bytes=smallest,
            largest_bytes=largest,
        )
    budget = Row(weights=_bytes(open_choices), limit=budget_bytes - fixed_bytes)
    rows = [budget, *_rows(items, open_choices, limits)]
    if least_bytes:
        rows.append(Row(weights=-_bytes(open_choices), limit=fixed_bytes - least_bytes))
    problem = _problem(open_choices, _damages(open_choices), rows)
    return _allocation(items, open_choices, _solved(problem, time_limit_s), fixed_bytes)


def smallest_within(
    items: Sequence[Item],
    max_damage: float,
    *,
    fixed_bytes: int = 0,
    limits: Limits | None = None,
    time_limit_s: float = TIME_LIMIT_S,
) -> Allocation:
    """The fewest bytes with a damage of at most `max_damage`.

    Raises DoesNotFit where even the best types do more damage, or the other limits do not hold.
    """
    limits = limits or Limits()
    open_choices = _open(items, limits)
    least = least_damage(items, pins=limits.pins)
    if max_damage < least:
        raise DoesNotFit(
            "the best types that this model's tensors can have still lose {least:.3g}, but "
            "{limit:.3g} is allowed; allow more, or take a larger type into the choice.",
            least=least,
            limit=max_damage,
        )
    quality = Row(weights=_damages(open_choices), limit=max_damage)
    problem = _problem(
        open_choices,
        _bytes(open_choices).astype(np.float64),
        [quality, *_rows(items, open_choices, limits)],
    )
    return _allocation(items, open_choices, _solved(problem, time_limit_s), fixed_bytes)


def least_damage(items: Iterable[Item], *, pins: Mapping[str, str] | None = None) -> float:
    """The damage that the best types do."""
    return float(sum(min(c.damage for c in _pinned(item, pins or {})) for item in items))


def byte_range(
    items: Iterable[Item], *, fixed_bytes: int = 0, pins: Mapping[str, str] | None = None
) -> tuple[int, int]:
    """The fewest and the most bytes that a file can have, without types that would only waste
    bytes: of a quantized source, those larger than a copy.
    """
    open_choices = [undominated(_pinned(item, pins or {})) for item in items]
    smallest = fixed_bytes + sum(min(c.n_bytes for c in choices) for choices in open_choices)
    return smallest, fixed_bytes + sum(max(c.n_bytes for c in choices) for choices in open_choices)


def _open(items: Sequence[Item], limits: Limits) -> list[tuple[Choice, ...]]:
    """For every item the choices that its pin leaves, without those that another one beats."""
    return [undominated(_pinned(item, limits.pins or {})) for item in items]


def _pinned(item: Item, pins: Mapping[str, str]) -> tuple[Choice, ...]:
    wanted = pins.get(item.name)
    return item.choices if wanted is None else tuple(c for c in item.choices if c.type == wanted)


def _bytes(
    open_choices: Sequence[tuple[Choice, ...]],
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array([c.n_bytes for choices in open_choices for c in choices], dtype=np.int64)


def _damages(
    open_choices: Sequence[tuple[Choice, ...]],
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([c.damage for choices in open_choices for c in choices], dtype=np.float64)


def _rows(
    items: Sequence[Item], open_choices: Sequence[tuple[Choice, ...]], limits: Limits
) -> list[Row]:
    """The rows beside the first: seconds, and one for each device with a capacity."""
    rows = []
    if limits.max_seconds is not None:
        seconds = np.array(
            [c.seconds for choices in open_choices for c in choices], dtype=np.float64
        )
        rows.append(Row(weights=seconds, limit=limits.max_seconds))
    devices = limits.devices_of or {}
    for device, capacity in (limits.device_bytes or {}).items():
        copies = [devices.get(item.name, ()).count(device) for item in items]
        least = sum(
            n * min(c.n_bytes for c in choices)
            for n, choices in zip(copies, open_choices, strict=True)
        )
        if least > capacity:
            taken, room = compared(least, max(capacity, 0))
            raise DoesNotFit(
                "{device} has {room} for these weights, but they take at least {least} there; "
                "shorten the context or name a larger machine.",
                device=device,
                room=room,
                least=taken,
            )
        by_choice = np.repeat(copies, [len(choices) for choices in open_choices])
        rows.append(Row(weights=_bytes(open_choices) * by_choice, limit=capacity))
    return rows


def _problem(
    open_choices: Sequence[tuple[Choice, ...]],
    costs: np.ndarray[tuple[int], np.dtype[np.float64]],
    rows: list[Row],
) -> Problem:
    item_of = np.repeat(np.arange(len(open_choices)), [len(choices) for choices in open_choices])
    return Problem(costs=costs, item_of=item_of, rows=rows)


def _solved(problem: Problem, time_limit_s: float) -> Solution:
    solution = solve(problem, time_limit_s=time_limit_s)
    if solution is None:
        raise DoesNotFit(
            "no choice of types keeps the bytes, the speed and the devices' memory at once; allow "
            "more of one of them, or pin fewer tensors."
        )
    return solution


def _allocation(
    items: Sequence[Item],
    open_choices: Sequence[tuple[Choice, ...]],
    solution: Solution,
    fixed_bytes: int,
) -> Allocation:
    flat = [choice for choices in open_choices for choice in choices]
    chosen = {item.name: flat[at] for item, at in zip(items, solution.chosen, strict=True)}
    return Allocation(
        choices=chosen,
        n_bytes=fixed_bytes + sum(c.n_bytes for c in chosen.values()),
        damage=sum(c.damage for c in chosen.values()),
        seconds=sum(c.seconds for c in chosen.values()),
        bound=solution.bound,
    )
