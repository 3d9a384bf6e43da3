"""The search over the catalogue: the rows, the recommended row, and why the others are left out.

Models that the leading board measured are all placed. Of the others, about which nothing is known
but that they fit, only some are: the newest, as many as are to be listed. Pure.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Final

from msgspec import Struct

from hakaru.models.catalogue import KnownModel, catalogue_date
from hakaru.planning.speed_figures import SAME_SPEED
from hakaru.selection.boards import Lead, a_year_before, better_up, columns_for, lead_for, ties
from hakaru.selection.conditions import Conditions, Reason
from hakaru.selection.contender import Contender
from hakaru.selection.frontier import frontier
from hakaru.selection.judging import Where, best_contender

LEAST_UNMEASURED: Final = 3
"""Rows without a score that are listed, however many rows have one."""
MOST_TRIED: Final = 4
"""For each row without a score that is to be listed, so many models are tried for one that misses
no wish.
"""

SETTLED: Final = 2
"""Other columns that settle a tie, if they agree."""


class Search(Struct, frozen=True, kw_only=True, dict=True):
    """What was found. Has no slots, so that what every row asks for is worked out once."""

    conditions: Conditions
    lead: Lead | None  # the column by which rows are compared; None: no board speaks for the task
    contenders: tuple[Contender, ...]  # with a score, the best first; then those without
    left_out: Mapping[Reason, int]

    @cached_property
    def frontier(self) -> list[Contender]:
        """The rows that no other beats."""
        return frontier(self.contenders)

    @cached_property
    def recommended(self) -> Contender | None:
        """The row to take; None if there is none.

        Rows below four bits come only where no other is left, and of the rest those that miss the
        fewest wishes. Of these the best score wins, or of the rows of the frontier that tie with
        it, the fastest; of those that are as fast within a tenth, the best score
        (docs/decisions/0024). Where all are slower than wished for, the fastest wins. Without any
        score the most downloaded model wins, which says nothing about how good it is.
        """
        pool = self.pool
        scored = [contender for contender in pool if contender.score]
        if not scored:
            return pool[0] if pool else None
        if self.is_slow:
            return max(scored, key=lambda one: one.speed)
        first = frontier(scored) or scored
        tied = [one for one in first if self._ties(one, first[0])]
        fastest = max(one.speed for one in tied)
        as_fast = [one for one in tied if one.speed >= (1 - SAME_SPEED) * fastest]
        return max(as_fast, key=lambda one: better_up(one.score) if one.score else 0.0)

    def is_tied(self, one: Contender) -> bool:
        """Whether chance alone may have put a row with a score behind the best of the pool."""
        scored = [contender for contender in self.pool if contender.score]
        return bool(scored) and self._ties(one, (frontier(scored) or scored)[0])

    def _ties(self, one: Contender, best: Contender) -> bool:
        """Whether chance alone may have put `one` behind. Not where other columns settle it: at
        least SETTLED of them put it behind by more than chance, and none ahead.
        """
        if one is best:
            return True
        if not (self.lead and one.score and best.score and ties(one.score, best.score)):
            return False
        task, behind = self.conditions.task, 0
        for column in columns_for(task, self.lead.language)[1:]:
            ours, theirs = (column.score_of(row.model, task) for row in (one, best))
            if ours and theirs and not ties(theirs, ours):
                return True
            behind += bool(ours and theirs and not ties(ours, theirs))
        return behind < SETTLED

    @cached_property
    def is_slow(self) -> bool:
        """Whether no row with a score of which one is recommended is as fast as wished for."""
        return all("decode_tokens_per_s" in one.misses for one in self.pool if one.score)

    @cached_property
    def pool(self) -> list[Contender]:
        """The rows of which one is recommended: of each model the best. Rows that miss the fewest
        wishes, as those with a score do: what is known of a model counts more than a wish that
        nobody uttered.
        """
        large = [contender for contender in self.contenders if not contender.is_below_four_bits]
        rows = large or self.contenders
        scored = [contender for contender in rows if contender.score]
        fewest = min((len(row.misses) for row in scored or rows), default=0)
        by_model: dict[str, Contender] = {}
        for row in rows:
            if len(row.misses) <= fewest:
                by_model.setdefault(row.model.id, row)
        return list(by_model.values())


def search(
    conditions: Conditions,
    where: Where,
    models: Sequence[KnownModel],
    *,
    n_unmeasured: int | None = None,
) -> Search:
    """Look through `models`, the most downloaded first. `n_unmeasured`: of how many models without
    a score rows are made; None: of all.
    """
    lead = lead_for(conditions.task, conditions.language)
    left_out: Counter[Reason] = Counter()
    measured = [m for m in models if lead and _score(lead, m, conditions)]
    others = [m for m in models if m not in measured]
    contenders = _contenders(measured, conditions, where, lead, left_out)
    contenders.sort(key=lambda contender: -better_up(contender.score) if contender.score else 0.0)
    contenders += _unmeasured(
        others, conditions, where, lead, left_out, n_unmeasured, is_known=bool(contenders)
    )
    return Search(
        conditions=conditions, lead=lead, contenders=tuple(contenders), left_out=dict(left_out)
    )


def _score(lead: Lead, model: KnownModel, conditions: Conditions) -> bool:
    return lead.score_of(model, conditions.task) is not None


def _contenders(
    models: Iterable[KnownModel],
    conditions: Conditions,
    where: Where,
    lead: Lead | None,
    left_out: Counter[Reason],
) -> list[Contender]:
    contenders = []
    for model in models:
        row = best_contender(model, conditions, where, lead)
        if isinstance(row, Contender):
            contenders.append(row)
        else:
            left_out[row] += 1
    return contenders


def _unmeasured(
    models: Sequence[KnownModel],
    conditions: Conditions,
    where: Where,
    lead: Lead | None,
    left_out: Counter[Reason],
    n_most: int | None,
    *,
    is_known: bool,
) -> list[Contender]:
    """Rows of models without a score. Where a board speaks for the task, those of the last year
    come first, since boards are behind; of these, and without a board, the most downloaded. Models
    that no machine would help are counted by their reason. `is_known`: there are rows with a score,
    of which one is recommended.
    """
    open_ones = []
    for model in models:
        if reason := conditions.why_not(model):
            left_out[reason] += 1
        else:
            open_ones.append(model)
    if lead:
        open_ones.sort(key=lambda model: not _is_new(model))
    contenders: list[Contender] = []
    n_pleasing = 0
    for i, model in enumerate(open_ones):
        if n_most is not None and (
            n_pleasing >= n_most or (is_known and len(contenders) >= MOST_TRIED * n_most)
        ):
            left_out["no_score"] += len(open_ones) - i
            break
        made = _contenders([model], conditions, where, lead, left_out)
        n_pleasing += sum(not (one.misses or one.is_below_four_bits) for one in made)
        contenders += made
    return sorted(
        contenders, key=lambda contender: bool(contender.misses) + 2 * contender.is_below_four_bits
    )


def _is_new(model: KnownModel) -> bool:
    """Whether it came in the year before the catalogue was read."""
    return (model.released or "") >= a_year_before(catalogue_date())
