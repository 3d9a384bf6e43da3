"""The race of a planned mix against the presets of at most the same bytes, on windows that no step
has seen.

A preset is what llama.cpp's quantizer writes, which copies a tensor that has its type already, as
the mix may. So that nobody is flattered by copies, the mix that copies nothing runs along where the
planned one copies: what it loses is told, and it is never written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hakaru.errors import DoesNotFit
from hakaru.evaluation.losses import Row, windows_of
from hakaru.evaluation.statistics import paired_ratio, ratio_of_sums
from hakaru.evaluation.tiers import Tier
from hakaru.formats.imatrix import Imatrix
from hakaru.models.mixture import preset_types
from hakaru.models.presets import BASE_TYPES, NEEDS_IMPORTANCE
from hakaru.quantization.allocate import allocate
from hakaru.quantization.hull import items_of
from hakaru.quantization.layout import planned_bytes
from hakaru.quantization.plan import Plan, fixed_bytes
from hakaru.quantization.probes import Errors
from hakaru.quantization.quiet import stdout_muted
from hakaru.quantization.study.probing import known_sums
from hakaru.quantization.study.recipe_speed import recipe_speed
from hakaru.quantization.study.study import Study
from hakaru.quantization.tier_target import room_in_tier
from hakaru.units import Figure

RIVALS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class PresetFile:
    """The file that a preset would make of the source."""

    preset: str
    types: Mapping[str, str]
    file_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A preset of at most the same bytes."""

    recipe: PresetFile
    kld: Figure  # on the test windows


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Our mix against the best preset, paired on the same windows."""

    ours: Figure  # the loss of our mix
    rival: Rival | None
    ratio: Figure | None  # our loss over the rival's; None without a rival
    wins: bool
    bare: Figure | None = None
    """The loss of the best mix of at most these bytes that copies no tensor. None where ours copies
    none, or where there is no such mix.
    """
    bare_ratio: Figure | None = None  # `bare` over the rival's loss


def race(study: Study, plan: Plan) -> Race:
    """Our mix and the presets of at most the same bytes that are predicted to lose least, on the
    test windows.
    """
    rivals = _rivals(study, plan)
    bare = without_copies(study, plan)
    recipes = [plan.types, *(recipe.types for recipe in rivals), *([bare] if bare else [])]
    ours, *theirs = known_sums(study, recipes, study.test, plan.imatrix, "race") or []
    bare_rows = theirs.pop() if bare else None
    bare_kld = _kld(bare_rows) if bare_rows else None
    if not rivals:
        return Race(ours=_kld(ours), rival=None, ratio=None, wins=True, bare=bare_kld)
    best = int(np.argmin([sum(r["kld"] for r in rows) for rows in theirs]))
    ratio, below = _ratio(ours, theirs[best])
    keeps_tier = plan.target.tier is None or _keeps_as_well(
        study, theirs[best], ours, plan.target.tier
    )
    return Race(
        ours=_kld(ours), rival=Rival(recipe=rivals[best], kld=_kld(theirs[best])), ratio=ratio,
        wins=below or not keeps_tier, bare=bare_kld,
        bare_ratio=_ratio(bare_rows, theirs[best])[0] if bare_rows else None,
    )  # fmt: skip


def rival_presets(
    study: Study, errors: Errors, imatrix: Imatrix | None, *, at_most: int, copies: bool = True
) -> list[PresetFile]:
    """Presets of at most `at_most` bytes whose types were measured.

    A preset that puts a layer on another type of the grid of a quantized source is no rival: it
    looks free there. A preset that copies a layer is a rival; without `copies` it is none.
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
        n_bytes = planned_bytes(study.model, types, added=study.how_made(types, imatrix))
        if n_bytes <= at_most:
            presets.append(PresetFile(preset=preset, types=types, file_bytes=n_bytes))
    return presets


def without_copies(study: Study, plan: Plan) -> dict[str, str] | None:
    """The best mix of at most the plan's bytes that copies no tensor but pinned ones; None where
    the plan copies none itself, or where there is no such mix.
    """
    if not study.choices.copied(plan.types) - plan.pins.keys():
        return None
    choices = study.choices.offered(plan.errors, copies=False)
    choices |= {name: dict(plan.errors[name]) for name in plan.pins}
    items = items_of(study.tensors, choices, plan.link.known.expected())
    limits = replace(plan.target.limits(study.model, choices, plan.pins), max_seconds=None)
    try:
        with stdout_muted():
            fixed = fixed_bytes(study, choices, plan.imatrix)
            return allocate(items, plan.budget_bytes, fixed_bytes=fixed, limits=limits).types
    except DoesNotFit:
        return None


def _rivals(study: Study, plan: Plan) -> list[PresetFile]:
    """The presets that are predicted to lose least, of those that go where the plan goes and are as
    fast as asked for.
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
