"""The race of a planned mix against the presets of at most the same bytes, on windows that no step
has seen.

llama.cpp's quantizer copies a tensor that has the preset's type already, and our mix may copy, too.
Copies lose nothing, which flatters whoever copies more. So where the planned mix copies, the best
mix without copies is raced as well: its loss is told, and it is never written.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import DoesNotFit
from hakaru.evaluation.losses import Row, windows_of
from hakaru.evaluation.statistics import paired_ratio, ratio_of_sums
from hakaru.evaluation.tiers import Tier
from hakaru.formats.imatrix import Imatrix
from hakaru.models.mixture import preset_types
from hakaru.models.presets import BASE_TYPES, NEEDS_IMPORTANCE
from hakaru.quantization.allocate import allocate
from hakaru.quantization.build import Recipe, recipe_of
from hakaru.quantization.hull import items_of
from hakaru.quantization.plan import Plan, fixed_bytes
from hakaru.quantization.probes import Errors
from hakaru.quantization.quiet import stdout_muted
from hakaru.quantization.study.probing import known_sums
from hakaru.quantization.study.recipe_speed import recipe_speed
from hakaru.quantization.study.study import Study
from hakaru.quantization.tier_target import room_in_tier
from hakaru.units import Figure

RIVALS: Final = 2
"""How many presets are raced."""


class Rival(Struct, frozen=True, kw_only=True):
    """A preset of at most the same bytes."""

    recipe: Recipe
    file_bytes: int  # exactly, of the file that the preset would make of the source
    kld: Figure  # the mean on the test windows, nats per token


class Race(Struct, frozen=True, kw_only=True):
    """Our mix against the best preset, paired on the same windows."""

    ours: Figure  # the mean KLD of our mix, nats per token
    rival: Rival | None  # the best preset; None where none is small enough
    ratio: Figure | None  # our loss over the rival's; None without a rival
    wins: bool  # True if our mix is written, False if the rival is
    without_copies: Figure | None = None
    """The mean KLD of the best mix of at most these bytes that copies no tensor. None where our mix
    copies none, or where there is no such mix.
    """
    without_copies_ratio: Figure | None = None  # that loss over the rival's


def race(study: Study, plan: Plan) -> Race:
    """Our mix and the presets of at most the same bytes that are predicted to lose least, on the
    test windows.
    """
    rivals = _rivals(study, plan)
    bare = mix_without_copies(study, plan)
    recipes = [plan.types, *(recipe.types for recipe in rivals), *([bare] if bare else [])]
    ours, *theirs = known_sums(study, recipes, study.test, plan.imatrix, "race") or []
    bare_rows = theirs.pop() if bare else None
    bare_kld = _kld(bare_rows) if bare_rows else None
    if not rivals:
        return Race(ours=_kld(ours), rival=None, ratio=None, wins=True, without_copies=bare_kld)
    best = int(np.argmin([sum(r["kld"] for r in rows) for rows in theirs]))
    ratio, below = _ratio(ours, theirs[best])
    keeps_tier = plan.target.tier is None or _keeps_as_well(
        study, theirs[best], ours, plan.target.tier
    )
    rival = Rival(
        recipe=rivals[best],
        file_bytes=study.file_bytes(rivals[best].types, plan.imatrix),
        kld=_kld(theirs[best]),
    )
    return Race(
        ours=_kld(ours), rival=rival, ratio=ratio,
        wins=below or not keeps_tier or not keeps_pins(rival.recipe, plan.pins),
        without_copies=bare_kld,
        without_copies_ratio=_ratio(bare_rows, theirs[best])[0] if bare_rows else None,
    )  # fmt: skip


def keeps_pins(recipe: Recipe, pins: Mapping[str, str]) -> bool:
    """Whether every tensor has the type that the person pinned."""
    return all(recipe.types[name] == type_ for name, type_ in pins.items())


def rival_presets(
    study: Study, errors: Errors, imatrix: Imatrix | None, *, at_most: int, copies: bool = True
) -> list[Recipe]:
    """Presets of at most `at_most` bytes whose types were measured.

    No rival is a preset that gives a layer a type that only looks free
    (`TypeChoices.looking_free`); nor, without `copies`, one that copies a layer.
    """
    presets, free = [], study.choices.looking_free(errors)
    for preset in BASE_TYPES:
        if preset in NEEDS_IMPORTANCE and imatrix is None:
            continue
        whole = preset_types(study.roster, preset, has_imatrix=imatrix is not None)
        types = {name: whole[name] for name in errors}
        layers = {name: type_ for name, type_ in types.items() if name.startswith("blk.")}
        if any(type_ in free[name] for name, type_ in layers.items()):
            continue
        if not copies and study.choices.copied(layers):
            continue
        if any(type_ not in errors[name] for name, type_ in types.items()):
            continue
        if study.file_bytes(types, imatrix) <= at_most:
            presets.append(recipe_of(study.model, preset, types))
    return presets


def mix_without_copies(study: Study, plan: Plan) -> dict[str, str] | None:
    """The best mix of at most the plan's bytes that copies no tensor but pinned ones; None where
    the plan copies no other tensor, or where there is no such mix.
    """
    if not study.choices.copied(plan.types) - plan.pins.keys():
        return None
    choices = study.choices.offered(plan.errors, copies=False)
    choices |= {name: dict(plan.errors[name]) for name in plan.pins}
    items = items_of(study.tensors, choices, plan.link.sensitivities.expected())
    limits = replace(plan.target.limits(study.model, choices, plan.pins), max_seconds=None)
    try:
        with stdout_muted():
            fixed = fixed_bytes(study, choices, plan.imatrix)
            return allocate(items, plan.budget_bytes, fixed_bytes=fixed, limits=limits).types
    except DoesNotFit:
        return None


def _rivals(study: Study, plan: Plan) -> list[Recipe]:
    """The RIVALS presets that are predicted to lose least, of those that fit where the plan fits
    and are as fast as asked for.
    """
    presets = rival_presets(
        study, plan.errors, plan.imatrix, at_most=plan.budget_bytes, copies=plan.target.copies
    )
    presets = [p for p in presets if plan.target.holds(study.model, p.types)]
    presets.sort(key=lambda preset: plan.link.predict(preset.types).value)
    return [p for p in presets[: 2 * RIVALS] if _is_fast(study, plan, p.types)][:RIVALS]


def _is_fast(study: Study, plan: Plan, types: Mapping[str, str]) -> bool:
    """Whether a recipe is as fast as asked for, measured."""
    goal = plan.target.speed
    if goal is None:
        return True
    return recipe_speed(study, types, plan.imatrix, goal.settings).value >= goal.tokens_per_s


def _keeps_as_well(study: Study, rival: Sequence[Row], ours: Sequence[Row], tier: Tier) -> bool:
    """Whether a rival is expected to keep the tier, or is no further from it than our mix."""
    n_test = len(windows_of(study.session, study.model, parts=("test",)))
    return room_in_tier(rival, tier, n_test) >= min(1.0, room_in_tier(ours, tier, n_test))


def _ratio(ours: Sequence[Row], theirs: Sequence[Row]) -> tuple[Figure, bool]:
    return paired_ratio([r["kld"] for r in ours], [r["kld"] for r in theirs])


def _kld(rows: Sequence[Row]) -> Figure:
    return ratio_of_sums([r["kld"] for r in rows], [r["n"] for r in rows], unit="nats/token")
