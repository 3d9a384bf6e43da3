"""Where nothing meets every condition: which one to relax, and by how much. Pure.

Each condition is relaxed alone, by the least that gives a row. A condition that helps by no value
is left out; where none helps alone, several must be relaxed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from hakaru.hardware.machine import Device
from hakaru.memory.compute import is_known
from hakaru.models.catalogue import KnownModel
from hakaru.planning.search import largest
from hakaru.selection.boards import lead_for
from hakaru.selection.conditions import Conditions
from hakaru.selection.contender import CELLS, Contender
from hakaru.selection.judging import Where, best_contender, broken, contenders_of, soonest_s

MOST_MEMORY: Final = 64
"""How many times the memory is looked at."""
STEPS: Final = 64
"""Into how many steps a memory is cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relaxation:
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
        _speed(conditions, where, models),
        _patience(conditions, where, models),
        _licence(conditions, first),
        _context(conditions, first),
        _users(conditions, first),
        _memory(conditions, where, first),
    ]
    return [way for way in ways if way]


First = Callable[..., Contender | None]


def _speed(conditions: Conditions, where: Where, models: Sequence[KnownModel]) -> Relaxation | None:
    """The fastest row that meets all else. What cannot be faster than the fastest so far is not
    placed.
    """
    if conditions.min_speed is None:
        return None
    others = replace(conditions, min_speed=None)
    lead = lead_for(others.task, others.language)
    fastest = 0.0, ""
    for model in sorted(models, key=lambda model: model.n_params):
        made = contenders_of(model, others, where, lead, faster_than=fastest[0])
        speeds = [row.speeds.decode for row in made if not broken(row, others)]
        values = [speed.value for speed in speeds if speed]
        fastest = max([fastest, *((value, model.id) for value in values)])
    if not fastest[1]:
        return None
    return Relaxation(
        field="min_speed", asked=conditions.min_speed, enough=_down(fastest[0]), model=fastest[1]
    )


def _patience(
    conditions: Conditions, where: Where, models: Sequence[KnownModel]
) -> Relaxation | None:
    """The row with the earliest first word that meets all else. A model that cannot be earlier than
    the earliest so far is not placed.
    """
    if conditions.first_token_s is None:
        return None
    others = replace(conditions, first_token_s=None)
    lead = lead_for(others.task, others.language)
    earliest = math.inf, ""
    for model in sorted(models, key=lambda model: model.n_params):
        if not is_known(model.shape) or soonest_s(model, model.shape, others, where) > earliest[0]:
            continue
        made = contenders_of(model, others, where, lead, faster_than=others.min_speed or 0.0)
        waits = [row.first_token_s for row in made if not broken(row, others)]
        earliest = min([earliest, *((wait, model.id) for wait in waits if wait is not None)])
    if not earliest[1]:
        return None
    return Relaxation(
        field="first_token_s",
        asked=conditions.first_token_s,
        enough=-_down(-earliest[0]),
        model=earliest[1],
    )


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
