"""The most damage with which a tier is expected to be proven, so that the file is the smallest."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hakaru.errors import DoesNotFit
from hakaru.evaluation.losses import windows_of
from hakaru.evaluation.tiers import Tier
from hakaru.formats.imatrix import Imatrix
from hakaru.quantization.prediction import Link
from hakaru.quantization.solver import Solver
from hakaru.quantization.study.linking import predicted_loss
from hakaru.quantization.study.probing import probed
from hakaru.quantization.study.study import Study
from hakaru.quantization.tier_target import room_in_tier

PROVABLE: Final = 0.75
"""The part of a tier's bound below which a mean has to lie so that the windows at hand can prove
it, about.
"""
ROUNDS: Final = 5
CLOSE: Final = 0.06
"""A recipe for a tier is good enough if losing more by this part would break the tier."""
NOTHING: Final = 1e-12
"""A loss below every tier's, in nats per token: what a recipe of copies is taken to lose where one
divides by it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSearch:
    """The search for one tier of one model."""

    study: Study
    tier: Tier
    link: Link
    imatrix: Imatrix | None
    solver: Solver

    def most_damage(self) -> float:
        """By the link's upper end at a glance, otherwise by probes of the recipes on the validation
        windows. Raises DoesNotFit where not even the best types are expected to keep the tier.
        """
        least, glance = self.solver.least_damage, self.study.glance
        if glance and self.link.kld_of(least) > self.tier.kld_mean:
            raise DoesNotFit(
                "even the largest types of this model are predicted to lose {kld:.4f} nats per "
                "token, but the tier {tier} allows {bound:g}; keep "
                "the source, or ask for a lower tier.",
                kld=self.link.kld_of(least),
                tier=self.tier.name,
                bound=self.tier.kld_mean,
            )
        scales = self._tried(least, self._scale())
        kept = [damage for damage, scale in scales.items() if scale >= 1]
        if not kept and not glance and scales[least] < 1 - CLOSE:
            raise DoesNotFit(
                "with its largest types this model is not expected to keep the tier {tier}: it "
                "would have to lose {percent:.0%} of what it loses; "
                "keep the source, or ask for a lower tier.",
                tier=self.tier.name,
                percent=scales[least],
            )
        return max(kept) if kept else max(scales, key=lambda damage: scales[damage])

    def _tried(self, least: float, scale_of: Callable[[float], float]) -> dict[float, float]:
        """By damage the factor by which the loss may still grow, of every damage that was tried: on
        the way to a factor of 1, and `least` where none keeps the tier.
        """
        scales = dict[float, float]()
        damage = max(least, self.link.damage_for(PROVABLE * self.tier.kld_mean))
        for _ in range(ROUNDS):
            scale = scales[damage] = scale_of(damage)
            if 1 <= scale <= 1 + CLOSE or (damage == least and scale < 1):
                break
            step = scale ** (1 / self.link.g) * (1 if scale > 1 else 1 - CLOSE / 2)
            damage = max(least, damage * step)
        if max(scales.values()) < 1 and least not in scales:
            scales[least] = scale_of(least)
        return scales

    def _scale(self) -> Callable[[float], float]:
        """The function from a damage to the factor by which the loss of its recipe may still grow
        until the tier breaks.
        """
        study, tier = self.study, self.tier
        windows = windows_of(study.session, study.model, parts=("test",), ask=not study.glance)
        n_test = len(windows)

        def scale(damage: float) -> float:
            types = self.solver.solve(damage).types
            if study.glance:
                loss = predicted_loss(study, self.link, types).highest
                return PROVABLE * tier.kld_mean / max(loss, NOTHING)
            (sums,) = probed(study, [types], study.validation, self.imatrix, "tier")
            return room_in_tier(sums, tier, n_test)

        return scale
