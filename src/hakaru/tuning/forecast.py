"""What a level will lose, before it is read: from the errors of its types, and from what the other levels lost so far.

The same link as for budgets (`quantization/prediction.py`), at a glance: sensitivities are the prior's, or remembered ones, and every
level that was read is a run. So one level tells much of all the others, and those that are known to lose too much are not read at all.
"""

from collections.abc import Mapping, Sequence

from hakaru.errors import DoesNotFit
from hakaru.evaluation.tiers import Tier
from hakaru.quantization.build import Recipe, mix_recipe
from hakaru.quantization.prediction import Link, fit_link
from hakaru.quantization.sensitivity import Reading
from hakaru.tuning.bench import Row
from hakaru.tuning.budget import Budgeter, Target
from hakaru.tuning.study import Study, reading_of
from hakaru.units import Figure


class Forecast:
    """Predictions for the levels of one model. `study` is one at a glance; only errors of types are measured, in seconds."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._errors = study.errors(None)
        self._hidden = study.hidden(self._errors)
        self._known = study.sensitivities(self._errors, None)
        self._runs: dict[str, Reading] = {}
        self._link: Link | None = None

    @property
    def link(self) -> Link | None:
        """The link through the levels that were read; None before any was."""
        if self._link is None and self._runs:
            self._link = fit_link(self._known, self._errors, list(self._runs.values()))
        return self._link

    def knows(self, types: Mapping[str, str]) -> bool:
        """Whether anything can be said of these types: all were measured, and none only looks free because the weights lay on its grid
        once.
        """
        return all(types.get(name) in row and types[name] not in self._hidden for name, row in self._errors.items())

    def learn(self, name: str, types: Mapping[str, str], rows: Sequence[Row]) -> None:
        """Take a level that was read as a run; another reading of the same level replaces it."""
        if self.knows(types) and sum(row["kld"] for row in rows) > 0:
            self._runs[name] = reading_of(self._of(types), rows)
            self._link = None

    def kld(self, types: Mapping[str, str]) -> Figure | None:
        """Median and 95 % interval of the mean KLD in nats per token; None where nothing can be said."""
        if not self.knows(types):
            return None
        return (self.link or fit_link(self._known, self._errors, [])).predict(self._of(types))

    def mix(self, tier: Tier) -> Recipe | None:
        """The mix of types that is predicted to keep `tier` in the fewest bytes; None before a level was read, or where there is none."""
        if self.link is None:
            return None
        budgeter = Budgeter(self._study.bench, self._study.model, "quick", glance=True)
        try:
            plan = budgeter.plan(Target(tier=tier), imatrix=None, link=self.link)
        except DoesNotFit:
            return None
        return mix_recipe(self._study.model, plan.types)

    def _of(self, types: Mapping[str, str]) -> dict[str, str]:
        return {name: types[name] for name in self._errors}
