"""The best model that fits a number of bytes: importance, errors, probes, a link, an allocation,
and a race.

Every step reads other texts: importance and probes the calibration windows, the link and the choice
of rivals the validation windows, the race the test windows, which no step has seen before. What is
shipped is our mix only if the paired interval of its loss less the best preset's lies below zero;
otherwise it is the preset. Nothing is written before that: probes compute a recipe with the kernels
of its types in a loaded model.

Left out: recipes of more than one source.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from hakaru.errors import DoesNotFit
from hakaru.evaluation.bench import Bench
from hakaru.evaluation.pace import TypeSpeeds, bytes_read, fit_paces, fit_speeds
from hakaru.evaluation.tiers import Tier
from hakaru.formats.imatrix import Imatrix
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import buffer_bytes
from hakaru.models.mixture import preset_types
from hakaru.models.model import Model, with_types
from hakaru.models.presets import BASE_TYPES, NEEDS_IMPORTANCE
from hakaru.planning.budget import Room
from hakaru.quantization.allocate import Allocation, Limits, allocate, least_damage, smallest_within
from hakaru.quantization.file_bytes import padded_bytes
from hakaru.quantization.hull import items_of
from hakaru.quantization.layout import planned_bytes
from hakaru.quantization.pins import pinned
from hakaru.quantization.prediction import Link, changes
from hakaru.quantization.probes import Effort
from hakaru.quantization.quiet import stdout_muted
from hakaru.quantization.study import PAINS, TYPES, Study, reading_of
from hakaru.quantization.tier_target import room_in_tier
from hakaru.units import Figure, format_bytes

PROVABLE: Final = 0.75
"""The part of a tier's bound below which a mean has to lie so that the windows at hand can prove
it, about.
"""
TIER_ROUNDS: Final = 5
SOLVER_TOLERANCE: Final = 1e-3
"""Relative slack on the limit of damage. Without the slack the solver's rounding makes the best
possible recipe infeasible.
"""
CLOSE: Final = 0.06
"""A recipe for a tier is good enough if losing more by this part would break the tier."""
FILLED: Final = 0.998
"""The least part of a budget of bytes that is filled, where a choice of types of nearly the least
damage does.
"""
FILL_COSTS: Final = 2.0
"""How many times the least damage a filled budget may do: two mixes nearer to each other cannot be
told apart by their predictions. The reason and the figures: docs/decisions/0016-filled-budgets.md.
"""
NOTHING: Final = 1e-12
"""A loss below every tier's, in nats per token: what a recipe of copies is taken to lose where one
divides by it.
"""
CHOSEN: Final = 0.5
"""What a mix that the solver chose near a quantized source strays from the link, as a relative
standard error: of 19 such mixes of three sources three lay outside without it, by up to 1.0 in
logarithms (docs/labbook.md).
"""
SPEED_ROUNDS: Final = 4
SOON_TIMED_BYTES: Final = 2**30
SOON_TIMED_CONTEXT: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedGoal:
    """At least so many decoded tokens per second, served with these settings."""

    tokens_per_s: float
    settings: ContextSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is asked for: at most so many bytes of file, or what fits a machine, or the fewest bytes
    that keep a tier; perhaps a speed. Without `copies` no tensor keeps its type, and no preset is a
    rival that copies a layer (for benchmarks). `bpw`: the bits per weight in which the bytes were
    asked for.
    """

    file_bytes: int | None = None
    room: Room | None = None
    tier: Tier | None = None
    speed: SpeedGoal | None = None
    copies: bool = True
    bpw: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A recipe before it is built: types, exact bytes, predicted loss, and what each tensor is
    thought to cost. `speed` in decoded tokens per second: measured where one was asked for,
    computed at a glance. `hidden`: grids on which the source lies unsaid.
    """

    types: Mapping[str, str]
    file_bytes: int
    budget_bytes: int
    predicted: Figure
    allocation: Allocation
    link: Link
    imatrix: Imatrix | None
    errors: Mapping[str, Mapping[str, float]]
    target: Target
    pins: Mapping[str, str]
    hidden: tuple[str, ...]
    speed: Figure | None = None

    @property
    def is_measured(self) -> bool:
        """Whether runs of this model stand behind the prediction, or the prior alone."""
        return bool(self.link.runs)


class Budgeter(Study):
    """Quantizing one model to a budget, on one bench."""

    def plan(
        self,
        target: Target,
        *,
        imatrix: Imatrix | None,
        pins: Sequence[tuple[str, str]] = (),
        link: Link | None = None,
    ) -> Plan:
        """Measure what is needed and allocate; a `link` that is known already is not measured, nor
        the machine's pace then. Raises DoesNotFit with the range of possible bytes, Misuse for a
        pin that matches nothing or an imatrix of another model.
        """
        if imatrix:
            imatrix.check("`importance`", self.model.path, self.tensors)
        errors = self.errors(imatrix)
        choices, rates, seconds = (
            self.choices(errors, copies=target.copies),
            None if link else self.rates(errors, imatrix, target),
            None,
        )
        foreign, link = link is not None, link or self.link(errors, imatrix)
        if rates and target.speed:
            seconds = rates.seconds(
                self.tensors, self.model.shape, tuple({*TYPES, *self.own_types.values()})
            )
            choices = {
                name: {q: e for q, e in row.items() if q in seconds[name]}
                for name, row in choices.items()
            }
        items = items_of(self.tensors, choices, link.known.expected(), seconds)
        limits = self.limits(target, choices, pinned(items, pins))
        fixed = self.fixed_bytes(choices, imatrix)
        most = target.file_bytes if target.file_bytes is not None else self.model.file_bytes

        def within(damage: float | None, limits: Limits) -> Allocation:
            with stdout_muted():  # the solver prints
                if damage is not None:
                    return smallest_within(items, damage, fixed_bytes=fixed, limits=limits)
                found = allocate(items, most, fixed_bytes=fixed, limits=limits)
                if target.file_bytes is None or found.n_bytes >= FILLED * most:
                    return found
                with suppress(DoesNotFit):  # what is left over may not be of use to any tensor
                    filled = allocate(
                        items,
                        most,
                        fixed_bytes=fixed,
                        least_bytes=int(FILLED * most) + 1,
                        limits=limits,
                    )
                    if filled.damage <= FILL_COSTS * found.damage:
                        return filled
                return found

        damage = None
        if target.tier:
            least = least_damage(items, pins=limits.pins) * (1 + SOLVER_TOLERANCE)
            any_speed = replace(limits, max_seconds=None)
            damage = self.damage_within(
                target.tier,
                link,
                imatrix,
                least,
                lambda most_damage: within(most_damage, any_speed),
            )
        allocated = partial(within, damage)
        found, speed = allocated(limits), None
        if target.speed and not self.glance:
            found, speed = self.fast_enough(found, allocated, limits, target.speed, imatrix)
        elif rates:
            speed = rates.predict(bytes_read(self.model.tensors, self.model.shape, found.types))
        exact = planned_bytes(self.model, found.types, added=self.how_made(found.types, imatrix))
        if target.tier and exact > most:
            raise DoesNotFit(
                "a file that keeps the tier {tier} takes {found}, more than the source "
                "({limit}); keep the source, or ask for a lower "
                "tier.",
                tier=target.tier.name,
                found=format_bytes(exact),
                limit=format_bytes(most),
            )
        if exact > most or not self.fits(target, found.types):
            raise DoesNotFit(
                "the planned file has {found} bytes, expected at most {limit}; ask for a little "
                "more.",
                found=exact,
                limit=most,
            )
        if not foreign:
            link = self.with_own_run(link, found.types, imatrix)
        budget = (
            exact + self.left_bytes(target.room, found.types)
            if target.room
            else target.file_bytes or exact
        )
        return Plan(
            types=found.types, file_bytes=exact, budget_bytes=budget,
            predicted=self.told(link, found.types), allocation=found, link=link, imatrix=imatrix,
            errors=errors, target=target, speed=speed, pins=limits.pins or {},
            hidden=self.hidden(errors),
        )  # fmt: skip

    def with_own_run(self, link: Link, types: Mapping[str, str], imatrix: Imatrix | None) -> Link:
        """The link with a run of the very recipe that was chosen, on all validation windows.
        Whoever chooses the least of thousands of predictions takes those that are too low, and no
        interval around one of them knows that.
        """
        if not link.runs or not changes(types, link.errors):
            return link
        sums = self.known_sums([types], self.validation, imatrix, "runs")
        run = reading_of(types, sums[0]) if sums else None
        return link.with_run(run) if run and run.kld > 0 else link

    def told(self, link: Link, types: Mapping[str, str]) -> Figure:
        """What a mix that was chosen is told to lose: wider where it copies quantized tensors and
        no run of it is known.
        """
        is_known = any(
            changes(run.types, link.errors) == changes(types, link.errors) for run in link.runs
        )
        copies = bool(self.copied(types) & self.own_grid.keys())
        return link.predict(
            types, standard_error=CHOSEN if copies and link.runs and not is_known else 0.0
        )

    def damage_within(
        self,
        tier: Tier,
        link: Link,
        imatrix: Imatrix | None,
        least: float,
        allocated: Callable[[float], Allocation],
    ) -> float:
        """The most damage with which a tier is expected to be proven: by the link's upper end at a
        glance, otherwise by probes of the recipes on the validation windows. Raises DoesNotFit
        where not even the best types are expected to keep it.
        """
        if self.glance and link.kld_of(least) > tier.kld_mean:
            raise DoesNotFit(
                "even the largest types of this model are predicted to lose {kld:.4f} nats per "
                "token, but the tier {tier} allows {bound:g}; keep "
                "the source, or ask for a lower tier.",
                kld=link.kld_of(least),
                tier=tier.name,
                bound=tier.kld_mean,
            )
        n_test, tried = (
            len(self.bench.windows(self.model, parts=("test",), ask=not self.glance)),
            dict[float, float](),
        )

        def room(damage: float) -> float:
            types = allocated(damage).types
            if self.glance:
                return PROVABLE * tier.kld_mean / max(self.told(link, types).highest, NOTHING)
            (sums,) = self.probed([types], self.validation, imatrix, "tier")
            return room_in_tier(sums, tier, n_test)

        damage = max(least, link.damage_for(PROVABLE * tier.kld_mean))
        for _ in range(TIER_ROUNDS):
            scale = tried[damage] = room(damage)
            if 1 <= scale <= 1 + CLOSE or (damage == least and scale < 1):
                break
            damage = max(
                least, damage * scale ** (1 / link.g) * (1 if scale > 1 else 1 - CLOSE / 2)
            )
        if max(tried.values()) < 1 and least not in tried:
            tried[least] = room(least)
        kept = [damage for damage, scale in tried.items() if scale >= 1]
        if not kept and not self.glance and tried[least] < 1 - CLOSE:
            raise DoesNotFit(
                "with its largest types this model is not expected to keep the tier {tier}: it "
                "would have to lose {percent:.0%} of what it loses; "
                "keep the source, or ask for a lower tier.",
                tier=tier.name,
                percent=tried[least],
            )
        return max(kept) if kept else max(tried, key=lambda damage: tried[damage])

    def limits(
        self, target: Target, choices: Mapping[str, Mapping[str, float]], pins: Mapping[str, str]
    ) -> Limits:
        """What binds the allocation beside its bytes."""
        limits = Limits(
            pins=pins, max_seconds=1 / target.speed.tokens_per_s if target.speed else None
        )
        if target.room is None:
            return limits
        return replace(
            limits,
            devices_of=target.room.devices_of,
            device_bytes=self.free_bytes(target.room, choices),
        )

    def rates(
        self, errors: Mapping[str, Mapping[str, float]], imatrix: Imatrix | None, target: Target
    ) -> TypeSpeeds | None:
        """How fast each type is: where a speed is asked for, from runs that are timed; at a glance
        from the machine's pace.
        """
        if target.speed and not self.glance:
            return self.type_speeds(errors, imatrix, target.speed.settings)
        return self.pace() if self.glance else None

    def pace(self) -> TypeSpeeds | None:
        """The machine's pace from what was timed on it. Before anything was, the source is, if it
        is small; else None.
        """
        paces = self.bench.paces()
        if not paces and self.model.weights_bytes <= SOON_TIMED_BYTES:
            self.bench.trial(self.model, ContextSettings(n_ctx=SOON_TIMED_CONTEXT), repeats=1)
            paces = self.bench.paces()
        return fit_paces(paces) if paces else None

    def type_speeds(
        self,
        errors: Mapping[str, Mapping[str, float]],
        imatrix: Imatrix | None,
        settings: ContextSettings,
    ) -> TypeSpeeds:
        """Seconds per byte of the types of the runs and of the source's own, each run served and
        timed, and the source like one.
        """
        recipes = [*self.run_recipes(errors).values(), self.own_types]
        speeds = [self.speed(recipe, imatrix, settings).value for recipe in recipes]
        return fit_speeds(self.tensors, self.model.shape, recipes, speeds)

    def fast_enough(
        self,
        found: Allocation,
        allocated: Callable[[Limits], Allocation],
        limits: Limits,
        goal: SpeedGoal,
        imatrix: Imatrix | None,
    ) -> tuple[Allocation, Figure]:
        """The allocation and its measured speed; where it is too slow, another one that may take
        less time. Raises DoesNotFit.
        """
        max_seconds, fastest = found.seconds, 0.0
        for _ in range(SPEED_ROUNDS):
            speed = self.speed(found.types, imatrix, goal.settings)
            if speed.value >= goal.tokens_per_s:
                return found, speed
            fastest = max(fastest, speed.value)
            max_seconds = min(max_seconds, found.seconds) - (
                1 / speed.value - 1 / goal.tokens_per_s
            )
            try:
                found = allocated(replace(limits, max_seconds=max_seconds))
            except DoesNotFit:
                break
        raise DoesNotFit(
            "the fastest mix that was tried decodes {found:.1f} tokens per second here, expected "
            "at least {wanted:.1f}; ask for "
            "less speed, or for fewer bytes.",
            found=fastest,
            wanted=goal.tokens_per_s,
        )

    def reaches(self, target: Target, types: Mapping[str, str], imatrix: Imatrix | None) -> bool:
        """Whether a recipe is as fast as asked for, measured."""
        goal = target.speed
        return goal is None or self.speed(types, imatrix, goal.settings).value >= goal.tokens_per_s

    def fits(self, target: Target, types: Mapping[str, str]) -> bool:
        """Whether a recipe goes where it is asked to, by the planner's arithmetic."""
        return target.room is None or target.room.holds(with_types(self.model, types))

    def free_bytes(self, room: Room, choices: Mapping[str, Mapping[str, float]]) -> dict[str, int]:
        """What each device has for the tensors whose type is chosen: its room less the tensors that
        keep theirs.
        """
        free = dict(room.device_bytes)
        for tensor in self.model.tensors:
            if tensor.name not in choices:
                for device in room.devices_of.get(tensor.name, ()):
                    if device in free:
                        free[device] -= buffer_bytes((tensor,))
        return free

    def left_bytes(self, room: Room, types: Mapping[str, str]) -> int:
        """What a recipe leaves free of the room."""
        return room.total_bytes - sum(room.used_bytes(with_types(self.model, types)).values())

    def presets(
        self,
        errors: Mapping[str, Mapping[str, float]],
        imatrix: Imatrix | None,
        *,
        at_most: int,
        copies: bool = True,
    ) -> list[tuple[str, dict[str, str], int]]:
        """Presets of at most so many bytes whose types were measured: name, types and file bytes.
        One that puts a layer on another type of the grid of a quantized source is no rival: it
        looks free there. One that copies a layer is a rival; without `copies` it is none.
        """
        found, looks_free = [], self.free_types(errors)
        for preset in BASE_TYPES:
            if preset in NEEDS_IMPORTANCE and imatrix is None:
                continue
            whole = preset_types(self.roster, preset, has_imatrix=imatrix is not None)
            types = {name: whole[name] for name in errors}
            layers = {name: type_ for name, type_ in types.items() if name.startswith("blk.")}
            free = any(type_ in looks_free[name] for name, type_ in layers.items()) or (
                not copies and self.copied(layers)
            )
            measured = not free and all(type_ in errors[name] for name, type_ in types.items())
            n_bytes = (
                planned_bytes(self.model, types, added=self.how_made(types, imatrix))
                if measured
                else 0
            )
            if measured and n_bytes <= at_most:
                found.append((preset, types, n_bytes))
        return found

    def fixed_bytes(
        self, choices: Mapping[str, Mapping[str, float]], imatrix: Imatrix | None
    ) -> int:
        """Bytes of the file that no choice changes: header, and tensors that keep their type."""
        any_types = {name: next(iter(row)) for name, row in choices.items()}
        sizes = {
            t.name: padded_bytes(t, any_types[t.name]) for t in self.tensors if t.name in any_types
        }
        return planned_bytes(self.model, any_types, added=self.how_made(any_types, imatrix)) - sum(
            sizes.values()
        )


def glancing(bench: Bench, model: Model, effort: Effort) -> Budgeter:
    """A budgeter at a glance: of this effort, or of another one with which the model was measured
    already.
    """
    wanted = Budgeter(bench, model, effort, glance=True)
    others = (Budgeter(bench, model, other, glance=True) for other in PAINS if other != effort)
    return next((b for b in (wanted, *others) if b.calibration), wanted)
