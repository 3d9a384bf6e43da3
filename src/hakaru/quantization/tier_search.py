"""The most damage with which a file is still expected to keep a tier: its file is the smallest."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

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
"""The test windows can prove about a mean KLD of this part of a tier's bound."""
ROUNDS: Final = 5
CLOSE: Final = 0.06
"""The search ends at a recipe that would break the tier if it lost more by this part."""
NOTHING: Final = 1e-12
"""The loss of a recipe of copies where one divides by it, in nats per token: below every tier's."""


class TierSearch(Struct, frozen=True, kw_only=True):
    """The search for one tier of one model."""

    study: Study
    tier: Tier
    link: Link
    imatrix: Imatrix | None
    solver: Solver

    def most_damage(self) -> float:
        """The most damage S that is expected to keep the tier, by probes of recipes on the
        validation windows, or at a glance by the upper end of the link's interval. Raises
        DoesNotFit where not even the best types are expected to keep the tier.
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
        """Damage -> the factor by which the loss of its recipe may still grow within the tier. The
        damages are the steps of a search for a factor of 1, and `least` where no step keeps the
        tier.
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
        """The function from a damage to the factor in `_tried`."""
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
