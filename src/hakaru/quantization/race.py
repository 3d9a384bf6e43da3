"""The race of a planned mix against the presets of at most the same bytes, on windows that no step
has seen.

A preset is what llama.cpp's quantizer writes, which copies a tensor that has its type already, as
the mix may. So that nobody is flattered by copies, the mix that copies nothing runs along where the
planned one copies: what it loses is told, and it is never written.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hakaru.errors import DoesNotFit
from hakaru.evaluation.bench import Row
from hakaru.evaluation.statistics import paired_ratio, ratio_of_sums
from hakaru.evaluation.tiers import Tier
from hakaru.quantization.allocate import allocate
from hakaru.quantization.budgeter import Budgeter, Plan
from hakaru.quantization.hull import items_of
from hakaru.quantization.quiet import stdout_muted
from hakaru.quantization.tier_target import room_in_tier
from hakaru.units import Figure

RIVALS: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A preset of at most the same bytes, and its loss on the test windows."""

    preset: str
    types: dict[str, str]
    file_bytes: int
    kld: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Race:
    """Our mix against the best preset, paired on the same windows. `ratio` is ours over the
    preset's; None without a rival. `bare` is the loss of the best mix of at most these bytes that
    copies no tensor, `bare_ratio` its ratio to the preset's; None where ours copies none, or where
    there is no such mix.
    """

    ours: Figure
    rival: Rival | None
    ratio: Figure | None
    wins: bool
    bare: Figure | None = None
    bare_ratio: Figure | None = None


def race(budgeter: Budgeter, plan: Plan) -> Race:
    """Our mix and the presets of at most the same bytes that are predicted to lose least, on the
    test windows.
    """
    found = budgeter.presets(
        plan.errors, plan.imatrix, at_most=plan.budget_bytes, copies=plan.target.copies
    )
    found = sorted(found, key=lambda r: plan.link.predict(r[1]).value)
    found = [r for r in found if budgeter.fits(plan.target, r[1])]
    rivals = [r for r in found[: 2 * RIVALS] if budgeter.reaches(plan.target, r[1], plan.imatrix)][
        :RIVALS
    ]
    bare = without_copies(budgeter, plan)
    recipes = [plan.types, *(types for _, types, _ in rivals), *([bare] if bare else [])]
    ours, *theirs = budgeter.known_sums(recipes, budgeter.test, plan.imatrix, "race") or []
    bare_rows = theirs.pop() if bare else None
    found_bare = _kld(bare_rows) if bare_rows else None
    if not rivals:
        return Race(ours=_kld(ours), rival=None, ratio=None, wins=True, bare=found_bare)
    best = int(np.argmin([sum(r["kld"] for r in rows) for rows in theirs]))
    preset, types, n_bytes = rivals[best]
    rival = Rival(preset=preset, types=types, file_bytes=n_bytes, kld=_kld(theirs[best]))
    ratio, below = _ratio(ours, theirs[best])
    keeps_tier = plan.target.tier is None or _keeps_as_well(
        budgeter, theirs[best], ours, plan.target.tier
    )
    return Race(
        ours=_kld(ours), rival=rival, ratio=ratio, wins=below or not keeps_tier, bare=found_bare,
        bare_ratio=_ratio(bare_rows, theirs[best])[0] if bare_rows else None,
    )  # fmt: skip


def without_copies(budgeter: Budgeter, plan: Plan) -> dict[str, str] | None:
    """The best mix of at most the plan's bytes that copies no tensor but pinned ones; None where
    the plan copies none itself, or where there is no such mix.
    """
    if not budgeter.copied(plan.types) - plan.pins.keys():
        return None
    choices = budgeter.choices(plan.errors, copies=False)
    choices |= {name: dict(plan.errors[name]) for name in plan.pins}
    items = items_of(budgeter.tensors, choices, plan.link.known.expected())
    limits = replace(budgeter.limits(plan.target, choices, plan.pins), max_seconds=None)
    try:
        with stdout_muted():
            fixed = budgeter.fixed_bytes(choices, plan.imatrix)
            return allocate(items, plan.budget_bytes, fixed_bytes=fixed, limits=limits).types
    except DoesNotFit:
        return None


def _keeps_as_well(
    budgeter: Budgeter, rival: Sequence[Row], ours: Sequence[Row], tier: Tier
) -> bool:
    """Whether a rival is expected to keep the tier, or is no further from it than our mix."""
    n_test = len(budgeter.bench.windows(budgeter.model, parts=("test",)))
    return room_in_tier(rival, tier, n_test) >= min(1.0, room_in_tier(ours, tier, n_test))


def _ratio(ours: Sequence[Row], theirs: Sequence[Row]) -> tuple[Figure, bool]:
    return paired_ratio([r["kld"] for r in ours], [r["kld"] for r in theirs])


def _kld(rows: Sequence[Row]) -> Figure:
    return ratio_of_sums([r["kld"] for r in rows], [r["n"] for r in rows], unit="nats/token")
