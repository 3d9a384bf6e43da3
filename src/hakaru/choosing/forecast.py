"""What a level will lose, before it is read.

The link between errors of types and loss is that of budgets (`quantization/prediction.py`), at a
glance: sensitivities are the prior's, or remembered ones, and every level that was read is a run.
So one level tells much of all others. Levels that are predicted to lose too much are not read at
all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import log
from typing import Final

from hakaru.errors import DoesNotFit
from hakaru.evaluation.bench import Row
from hakaru.evaluation.tiers import Tier
from hakaru.quantization.budgeter import PROVABLE, Budgeter, Target
from hakaru.quantization.build import Recipe, mix_recipe
from hakaru.quantization.prediction import Link, fit_link
from hakaru.quantization.sensitivity import Reading
from hakaru.quantization.study import reading_of
from hakaru.quantization.tier_target import room_in_tier
from hakaru.units import Figure

PROVEN_ON: Final = 48
"""Windows on which the mix should pass. Closer to a bound it would be smaller, and take all the
text.
"""


class Forecast:
    """Predictions for the levels of one model. Only errors of types are measured, in seconds."""

    def __init__(self, budgeter: Budgeter) -> None:
        self._budgeter = budgeter
        self._errors = budgeter.errors(None)
        self._hidden = budgeter.hidden(self._errors)
        self._known = budgeter.sensitivities(self._errors, None)
        self._runs: dict[str, Reading] = {}
        self._rows: dict[str, Sequence[Row]] = {}
        self._link: Link | None = None

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
                plan = self._budgeter.plan(Target(tier=aim), imatrix=None, link=self.link)
                doubt = plan.predicted.highest / plan.predicted.value
        except DoesNotFit:
            return None
        return mix_recipe(self._budgeter.model, plan.types)

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
