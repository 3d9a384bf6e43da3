"""Where nothing meets every condition: which one to relax, and by how much. Pure.

Each condition is relaxed alone, by the least that gives a row. A condition that helps by no value
is left out; where none helps alone, several must be relaxed.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.hardware.machine import Device
from hakaru.models.catalogue import KnownModel
from hakaru.planning.search import largest
from hakaru.selection.boards import lead_for
from hakaru.selection.conditions import Conditions
from hakaru.selection.contender import CELLS, Contender
from hakaru.selection.judging import (
    Variant,
    Where,
    best_contender,
    broken,
    contender_of,
    most_speed,
    open_ways,
    soonest_s,
)

MOST_MEMORY: Final = 64
"""How many times the memory is looked at."""
STEPS: Final = 64
"""Into how many steps a memory is cut."""


class Relaxation(Struct, frozen=True, kw_only=True):
    """One condition that gives way: its field, the value that was asked for, and the value that
    gives a row.
    """

    field: str
    asked: float | str
    enough: float | str
    model: str  # the model of the row

    def as_json(self) -> dict[str, object]:
        """An entry of `relax` in `hakaru choose --json`."""
        return {
            "field": self.field,
            "asked": self.asked,
            "enough": self.enough,
            "model": self.model,
        }


def relaxations(
    conditions: Conditions, where: Where, models: Sequence[KnownModel]
) -> list[Relaxation]:
    """What would give a row, each alone."""

    def first(changed: Conditions, place: Where = where) -> Contender | None:
        lead = lead_for(changed.task, changed.language)
        made = (best_contender(model, changed, place, lead) for model in models)
        return next((row for row in made if isinstance(row, Contender)), None)

    ways = [
        *(_wished(wish, conditions, where, models) for wish in _WISHES),
        _licence(conditions, first),
        _context(conditions, first),
        _users(conditions, first),
        _memory(conditions, where, first),
    ]
    return [way for way in ways if way]


First = Callable[..., Contender | None]


class _Wish(Struct, frozen=True, kw_only=True):
    """A wish that a speed decides, and how well a row meets it: more is better."""

    field: str  # of `Conditions`
    reached: Callable[[Contender], float | None]  # None: not known
    most: Callable[[KnownModel, Variant, Conditions, Where], float]  # what `reached` never exceeds


_WISHES: Final = (
    _Wish(
        field="min_speed",
        reached=lambda row: row.speeds.decode.value if row.speeds.decode else None,
        most=lambda model, variant, _, where: most_speed(model, model.shape, variant, where),
    ),
    _Wish(
        field="first_token_s",
        reached=lambda row: None if row.first_token_s is None else -row.first_token_s,
        most=lambda model, _, asked, where: -soonest_s(model, model.shape, asked, where),
    ),
)


def _wished(
    wish: _Wish, conditions: Conditions, where: Where, models: Sequence[KnownModel]
) -> Relaxation | None:
    """The row that meets the wish best of those that meet all else. Ways to run a model are placed
    from the one that may meet it best, until none that is left may be better.
    """
    asked = getattr(conditions, wish.field)
    if asked is None:
        return None
    nothing: dict[str, Any] = {wish.field: None}
    others = replace(conditions, **nothing)
    lead = lead_for(others.task, others.language)
    ways = [(model, way) for model in models for way in open_ways(model, others, where)]
    most = [wish.most(model, way, others, where) for model, way in ways]
    best, seen = (-math.inf, ""), set[tuple[str, str, str]]()
    for i in sorted(range(len(ways)), key=lambda i: -most[i]):
        model, way = ways[i]
        if most[i] <= best[0]:
            break
        if (model.id, way.type, way.cache) in seen:
            continue  # it lies on the accelerators as a whole
        if row := contender_of(model, model.shape, way, others, where, lead):
            seen.add((model.id, way.type, way.cache))
            reached = wish.reached(row)
            if reached is not None and not broken(row, others):
                best = max(best, (reached, model.id))
    if not best[1]:
        return None
    return Relaxation(field=wish.field, asked=asked, enough=abs(_down(best[0])), model=best[1])


def _down(value: float) -> float:
    """Rounded to a tenth, so that the rounded value is still met."""
    return int(value * 10) / 10 if value > 0 else -(int(-value * 10 + 1) / 10)


def _licence(conditions: Conditions, first: First) -> Relaxation | None:
    if conditions.license == "any":
        return None
    row = first(replace(conditions, license="any"))
    if row is None:
        return None
    return Relaxation(field="license", asked=conditions.license, enough="any", model=row.model.id)


def _context(conditions: Conditions, first: First) -> Relaxation | None:
    """The longest context with a row."""

    def row_at(steps: int) -> Contender | None:
        return first(replace(conditions, n_ctx=CELLS * steps))

    steps = largest(0, conditions.n_ctx // CELLS - 1, lambda n: row_at(n) is not None)
    row = row_at(steps) if steps else None
    if row is None:
        return None
    return Relaxation(
        field="n_ctx", asked=conditions.n_ctx, enough=CELLS * steps, model=row.model.id
    )


def _users(conditions: Conditions, first: First) -> Relaxation | None:
    """The most users with a row."""

    def row_for(users: int) -> Contender | None:
        return first(replace(conditions, traffic=replace(conditions.traffic, users=users)))

    asked = conditions.traffic.users
    users = largest(0, asked - 1, lambda n: row_for(n) is not None)
    row = row_for(users) if users else None
    if row is None:
        return None
    return Relaxation(field="users", asked=asked, enough=users, model=row.model.id)


def _memory(conditions: Conditions, where: Where, first: First) -> Relaxation | None:
    """The least memory with a row, if every device had more of it by the same part."""
    usable = where.hardware.usable_bytes

    def row_with(steps: int) -> Contender | None:
        return first(conditions, _larger(where, steps / STEPS))

    if row_with(MOST_MEMORY * STEPS) is None:
        return None
    too_few = largest(STEPS, MOST_MEMORY * STEPS, lambda n: row_with(n) is None)
    row = row_with(too_few + 1)
    assert row
    enough = usable * (too_few + 1) // STEPS
    return Relaxation(field="memory", asked=usable, enough=enough, model=row.model.id)


def _larger(where: Where, times: float) -> Where:
    def larger(device: Device) -> Device:
        return replace(
            device,
            total_bytes=int(device.total_bytes * times),
            free_bytes=None if device.free_bytes is None else int(device.free_bytes * times),
        )

    hardware = where.hardware
    return replace(
        where,
        hardware=replace(
            hardware,
            accelerators=tuple(larger(device) for device in hardware.accelerators),
            ram=larger(hardware.ram) if hardware.ram else None,
        ),
    )
