"""The best recipe for a budget: importance, errors, probes, a link, and an allocation.

Every step reads other texts: importance and probes the calibration windows, the link and the choice
of rivals the validation windows, the race the test windows, which no step has seen before. What is
shipped is our mix only if the paired interval of its loss less the best preset's lies below zero;
otherwise it is the preset (`race.py`). Nothing is written before that: probes compute a recipe with
the kernels of its types in a loaded model.

Left out: recipes of more than one source.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from hakaru.errors import DoesNotFit
from hakaru.evaluation.pace import TypeSpeeds, bytes_read
from hakaru.formats.imatrix import Imatrix
from hakaru.models.model import Model
from hakaru.quantization.allocate import Allocation
from hakaru.quantization.choices import TYPES
from hakaru.quantization.file_bytes import padded_bytes
from hakaru.quantization.hull import items_of
from hakaru.quantization.pins import pinned
from hakaru.quantization.prediction import Link
from hakaru.quantization.probes import Effort, Errors
from hakaru.quantization.solver import Solver
from hakaru.quantization.speed_search import fast_enough
from hakaru.quantization.study.linking import measured_link, predicted_loss, with_own_run
from hakaru.quantization.study.recipe_speed import machine_pace, measured_type_speeds, recipe_speed
from hakaru.quantization.study.study import SAMPLINGS, Study
from hakaru.quantization.study.type_errors import type_errors
from hakaru.quantization.target import Target
from hakaru.quantization.tier_search import TierSearch
from hakaru.session import Session
from hakaru.units import Figure, compared


class Plan(Struct, frozen=True, kw_only=True):
    """A recipe before it is built, and what it was chosen by."""

    types: Mapping[str, str]  # tensor -> type
    file_bytes: int  # exactly
    budget_bytes: int  # at most; for a tier the file's own bytes
    predicted: Figure  # the recipe's mean KLD, nats per token
    link: Link
    imatrix: Imatrix | None
    errors: Errors
    target: Target
    pins: Mapping[str, str]  # tensor -> type
    hidden: tuple[str, ...]  # types to which the source was quantized before without saying so
    speed: Figure | None = None
    """Decoded tokens per second: measured where a speed was asked for, computed at a glance."""

    @property
    def is_measured(self) -> bool:
        """True if the prediction stands on runs of this model, False if on the prior alone."""
        return bool(self.link.runs)


def plan_recipe(
    study: Study,
    target: Target,
    *,
    imatrix: Imatrix | None,
    pins: Sequence[tuple[str, str]] = (),
    link: Link | None = None,
) -> Plan:
    """Measure what is needed and allocate. With a `link` neither the link nor the types' speeds are
    measured. Raises DoesNotFit with the range of possible bytes, Misuse for a pin that matches
    nothing.
    """
    errors = type_errors(study, imatrix)
    rates = None if link else _type_speeds(study, errors, imatrix, target)
    own_link = link or measured_link(study, errors, imatrix)
    solver = _solver(study, target, imatrix, pins, own_link, rates)
    damage = None
    if target.tier:
        any_speed = solver.within(None)
        damage = TierSearch(
            study=study, tier=target.tier, link=own_link, imatrix=imatrix, solver=any_speed
        ).most_damage()
    allocation, speed = _at_speed(study, target, imatrix, solver, damage, rates)
    types = allocation.types
    file_bytes = _checked_bytes(study, target, imatrix, types, solver.most_bytes)
    if link is None:
        own_link = with_own_run(study, own_link, types, imatrix)
    return Plan(
        types=types, file_bytes=file_bytes, link=own_link, imatrix=imatrix, errors=errors,
        budget_bytes=target.budget_bytes(study.model, types, file_bytes),
        predicted=predicted_loss(study, own_link, types), target=target, speed=speed,
        pins=solver.limits.pins or {}, hidden=study.choices.hidden(errors),
    )  # fmt: skip


def fixed_bytes(study: Study, choices: Errors, imatrix: Imatrix | None) -> int:
    """Bytes of the file that no choice changes: header, and tensors that keep their type."""
    any_types = {name: next(iter(row)) for name, row in choices.items()}
    chosen = sum(padded_bytes(t, any_types[t.name]) for t in study.tensors if t.name in any_types)
    return study.file_bytes(any_types, imatrix) - chosen


def glancing_study(session: Session, model: Model, effort: Effort) -> Study:
    """A study at a glance, with the first effort whose windows are known: this one, or another one
    with which the model was measured before.
    """
    wanted = Study(session, model, effort, glance=True)
    others = (Study(session, model, other, glance=True) for other in SAMPLINGS if other != effort)
    return next((study for study in (wanted, *others) if study.calibration), wanted)


def _type_speeds(
    study: Study, errors: Errors, imatrix: Imatrix | None, target: Target
) -> TypeSpeeds | None:
    """How fast each type is: at a glance from the machine's pace; else, where a speed is asked for,
    from runs that are timed. None where nobody asks or nothing was ever timed.
    """
    if target.speed and not study.glance:
        return measured_type_speeds(study, errors, imatrix, target.speed.settings)
    return machine_pace(study) if study.glance else None


def _solver(
    study: Study,
    target: Target,
    imatrix: Imatrix | None,
    pins: Sequence[tuple[str, str]],
    link: Link,
    rates: TypeSpeeds | None,
) -> Solver:
    """The solver for the types that may be chosen; where a speed is asked for, for those whose
    speed is known.
    """
    choices, seconds = study.choices.offered(link.errors, copies=target.copies), None
    if rates and target.speed:
        all_types = tuple({*TYPES, *study.choices.own_types.values()})
        seconds = rates.seconds(study.tensors, study.model.shape, all_types)
        choices = {
            name: {q: e for q, e in row.items() if q in seconds[name]}
            for name, row in choices.items()
        }
    items = items_of(study.tensors, choices, link.sensitivities.expected(), seconds)
    return Solver(
        items=items,
        fixed_bytes=fixed_bytes(study, choices, imatrix),
        most_bytes=study.model.file_bytes if target.file_bytes is None else target.file_bytes,
        fills=target.file_bytes is not None,
        limits=target.limits(study.model, choices, pinned(items, pins)),
    )


def _at_speed(
    study: Study,
    target: Target,
    imatrix: Imatrix | None,
    solver: Solver,
    damage: float | None,
    rates: TypeSpeeds | None,
) -> tuple[Allocation, Figure | None]:
    """The allocation for a damage, and its speed. Where a speed is asked for, the allocation is as
    fast, and its speed is measured; else the speed is predicted, if `rates` are known.
    """
    allocation = solver.solve(damage)
    if target.speed and not study.glance:
        settings = target.speed.settings
        return fast_enough(
            allocation,
            target.speed.tokens_per_s,
            decoded=lambda types: recipe_speed(study, types, imatrix, settings),
            within=lambda max_seconds: solver.within(max_seconds).solve(damage),
        )
    if rates is None:
        return allocation, None
    read = bytes_read(study.model.tensors, study.model.shape, allocation.types)
    return allocation, rates.predict(read)


def _checked_bytes(
    study: Study, target: Target, imatrix: Imatrix | None, types: Mapping[str, str], most_bytes: int
) -> int:
    """The exact bytes of the file. Raises DoesNotFit where the file is too large."""
    exact = study.file_bytes(types, imatrix)
    if target.tier and exact > most_bytes:
        size, limit = compared(exact, most_bytes)
        raise DoesNotFit(
            "a file that keeps the tier {tier} takes {found}, more than the source ({limit}); "
            "keep the source, or ask for a lower tier.",
            tier=target.tier.name,
            found=size,
            limit=limit,
        )
    if exact > most_bytes or not target.holds(study.model, types):
        raise DoesNotFit(
            "the planned file has {found} bytes, expected at most {limit}; ask for a little more.",
            found=exact,
            limit=most_bytes,
        )
    return exact
