"""Predicts what a level will lose, before the level is read.

The link between errors of types and loss is that of budgets (`quantization/prediction.py`), with
less work: sensitivities are those of the prior, or remembered ones, and every level that was read
is a run. So one level tells much of all others, and levels that are predicted to lose too much are
not read at all.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from math import log
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from hakaru.errors import DoesNotFit
from hakaru.evaluation.losses import Row
from hakaru.evaluation.tiers import Tier
from hakaru.quantization.build import Recipe, mix_recipe
from hakaru.quantization.layout import planned_bytes
from hakaru.quantization.plan import plan_recipe
from hakaru.quantization.prediction import Link, fit_link
from hakaru.quantization.probes import Errors
from hakaru.quantization.sensitivity import Reading, Sensitivities
from hakaru.quantization.study.linking import sensitivities
from hakaru.quantization.study.probing import reading_of
from hakaru.quantization.study.study import Study
from hakaru.quantization.study.type_errors import type_errors
from hakaru.quantization.target import Target
from hakaru.quantization.tier_search import PROVABLE
from hakaru.quantization.tier_target import room_in_tier
from hakaru.units import Figure

PROVEN_ON: Final = 48
"""Windows on which the mix should pass. A mix closer to the bound would be smaller, but might need
all the text to pass.
"""


class Forecast(Struct, eq=False, dict=True):
    """Predictions for the levels of one model. Only errors of types are measured, in seconds."""

    study: Study  # one that measures no sensitivities (`glance`)
    _runs: dict[str, Reading] = field(default_factory=dict)  # by the name of the level
    _rows: dict[str, Sequence[Row]] = field(default_factory=dict)  # by the name of the level
    _link: Link | None = None  # None where it must be fitted anew

    @cached_property
    def _errors(self) -> Errors:
        return type_errors(self.study, None)

    @cached_property
    def _hidden(self) -> tuple[str, ...]:
        return self.study.choices.hidden(self._errors)

    @cached_property
    def _sensitivities(self) -> Sensitivities:
        return sensitivities(self.study, self._errors, None)

    @property
    def link(self) -> Link | None:
        """The link through the levels that were read; None before any was."""
        if self._link is None and self._runs:
            self._link = fit_link(self._sensitivities, self._errors, list(self._runs.values()))
        return self._link

    def knows(self, types: Mapping[str, str]) -> bool:
        """Whether a loss can be predicted for these types: the error of each was measured, and no
        type is one that the tensor was quantized to before (`hidden`).
        """
        return all(
            types.get(name) in row and types[name] not in self._hidden
            for name, row in self._errors.items()
        )

    def learn(self, name: str, types: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Take a level that was read as a run. It replaces an earlier reading of the same level."""
        if self.knows(types) and sum(row["kld"] for row in rows) > 0:
            self._runs[name], self._rows[name] = reading_of(self._studied(types), rows), rows
            self._link = None

    def kld(self, types: Mapping[str, str]) -> Figure | None:
        """The mean KLD in nats per token: median, 95% interval. None where nothing can be said."""
        if not self.knows(types):
            return None
        link = self.link or fit_link(self._sensitivities, self._errors, [])
        return link.predict(self._studied(types))

    def mix(self, tier: Tier) -> Recipe | None:
        """The mix of types that is predicted to keep `tier` in the fewest bytes.

        The mix should pass on PROVEN_ON windows. None where there is no such mix, and before a
        level was read.
        """
        if self.link is None:
            return None
        most, doubt = min(PROVABLE * tier.kld_mean, self._provable(tier)), 1.0
        try:
            for _ in range(2):  # a plan promises its interval's upper end; here the middle will do
                aim = replace(tier, kld_mean=most * doubt / PROVABLE)
                plan = plan_recipe(self.study, Target(tier=aim), imatrix=None, link=self.link)
                doubt = plan.predicted.highest / plan.predicted.value
        except DoesNotFit:
            return None
        return mix_recipe(self.study.model, plan.types)

    def mix_within(self, preset: Recipe) -> Recipe | None:
        """The mix of types that is predicted to lose least in at most the bytes of `preset`.

        None where that is the preset itself, and where there is no such mix.
        """
        study, link = self.study, self.link or fit_link(self._sensitivities, self._errors, [])
        n_bytes = planned_bytes(
            study.model, preset.types, added=study.how_made(preset.types, imatrix=None)
        )
        try:
            plan = plan_recipe(study, Target(file_bytes=n_bytes), imatrix=None, link=link)
        except DoesNotFit:
            return None
        if all(preset.types.get(name) == type_ for name, type_ in plan.types.items()):
            return None
        return mix_recipe(study.model, plan.types)

    def _provable(self, tier: Tier) -> float:
        """The mean KLD with which all bounds of `tier` would be proven on PROVEN_ON windows.

        Every level that was read gives an estimate. The one of the level that lies nearest to its
        own estimate is taken.
        """
        estimates = []
        for rows in self._rows.values():
            room = room_in_tier(rows, tier, PROVEN_ON)
            kld = sum(row["kld"] for row in rows) / sum(row["n"] for row in rows)
            estimates.append((abs(log(room)), room * kld))
        return float(min(estimates)[1])

    def _studied(self, types: Mapping[str, str]) -> dict[str, str]:
        """The types of those tensors whose errors were measured."""
        return {name: types[name] for name in self._errors}
