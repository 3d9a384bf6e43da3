"""What a level will lose, before it is read.

The link between errors of types and loss is that of budgets (`quantization/prediction.py`), at a
glance: sensitivities are the prior's, or remembered ones, and every level that was read is a run.
So one level tells much of all others. Levels that are predicted to lose too much are not read at
all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import log
from typing import Final

from hakaru.errors import DoesNotFit
from hakaru.evaluation.losses import Row
from hakaru.evaluation.tiers import Tier
from hakaru.quantization.build import Recipe, mix_recipe
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
"""Windows on which the mix should pass. Closer to a bound it would be smaller, and take all the
text.
"""


@dataclass(eq=False)
class Forecast:
    """Predictions for the levels of one model. Only errors of types are measured, in seconds."""

    study: Study  # at a glance
    _runs: dict[str, Reading] = field(default_factory=dict)  # by the name of the level
    _rows: dict[str, Sequence[Row]] = field(default_factory=dict)
    _link: Link | None = None

    @cached_property
    def _errors(self) -> Errors:
        return type_errors(self.study, None)

    @cached_property
    def _hidden(self) -> tuple[str, ...]:
        return self.study.choices.hidden(self._errors)

    @cached_property
    def _known(self) -> Sensitivities:
        return sensitivities(self.study, self._errors, None)

    @property
    def link(self) -> Link | None:
        """The link through the levels that were read; None before any was."""
        if self._link is None and self._runs:
            self._link = fit_link(self._known, self._errors, list(self._runs.values()))
        return self._link

    def knows(self, types: Mapping[str, str]) -> bool:
        """Whether anything can be said of these types.

        All of them were measured, and none only looks free. A type looks free where the weights lie
        on its grid already.
        """
        return all(
            types.get(name) in row and types[name] not in self._hidden
            for name, row in self._errors.items()
        )

    def learn(self, name: str, types: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Take a level that was read as a run; another reading of the same level replaces it."""
        if self.knows(types) and sum(row["kld"] for row in rows) > 0:
            self._runs[name], self._rows[name] = reading_of(self._of(types), rows), rows
            self._link = None

    def kld(self, types: Mapping[str, str]) -> Figure | None:
        """The mean KLD in nats per token: median, 95 % interval. None where nothing can be said."""
        if not self.knows(types):
            return None
        return (self.link or fit_link(self._known, self._errors, [])).predict(self._of(types))

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

    def _provable(self, tier: Tier) -> float:
        """The mean KLD with which all bounds of `tier` would be proven.

        Taken from the level whose own loss lies nearest to that.
        """
        found = []
        for rows in self._rows.values():
            room = room_in_tier(rows, tier, PROVEN_ON)
            found.append(
                (
                    abs(log(room)),
                    room * sum(row["kld"] for row in rows) / sum(row["n"] for row in rows),
                )
            )
        return float(min(found)[1])

    def _of(self, types: Mapping[str, str]) -> dict[str, str]:
        return {name: types[name] for name in self._errors}
