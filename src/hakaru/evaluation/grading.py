"""Answers to tasks, graded, and two models compared on the same tasks.

Only the tasks count on which the two models differ: McNemar's exact test says whether the
difference may be chance, and `Pairs.detectable` how small a difference the test could have seen.
Source: McNemar, Psychometrika 12 (1947).
"""

import math
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict, replace

from hakaru.evaluation.tasks import Item, is_right
from hakaru.units import Figure


class Graded(Struct, frozen=True, kw_only=True):
    """One answer and whether it is right."""

    item: Item
    answer: str
    right: bool | None  # None where the check cannot run here
    timed_out: bool = False  # wrong because its check took too long
    is_cut: bool = False  # its tokens ended before the answer did

    @property
    def is_empty(self) -> bool:
        """Whether the model said nothing."""
        return not self.answer.strip()

    def as_json(self) -> dict[str, Any]:
        """The entry of `items` in `--json`."""
        return {
            "id": self.item.id, "domain": self.item.domain, "right": self.right,
            "timed_out": self.timed_out, "cut": self.is_cut, "answer": self.answer,
        }  # fmt: skip


class Pairs(Struct, frozen=True, kw_only=True):
    """Two models on the same items. An item flips where one model is right and one is wrong."""

    n: int  # items that both could be checked on
    lost: int  # items that only the first model got right
    won: int  # items that only the second model got right
    p: float  # McNemar: how likely flips at least so uneven are if neither model is better
    detectable: float  # the smallest difference in accuracy that so many flips could prove

    @property
    def verdict(self) -> str:
        """`worse`, `better`, or `cannot tell`."""
        if self.p >= 0.05:
            return "cannot tell"
        return "worse" if self.lost > self.won else "better"

    def as_json(self) -> dict[str, Any]:
        """The `paired` object of `tasks` in `--json`."""
        return asdict(self) | {"verdict": self.verdict}


def grade(
    items: Sequence[Item], answers: Sequence[str], *, cut: Sequence[bool] = ()
) -> list[Graded]:
    """The answers, checked as they are, also where they are empty or cut off.

    `cut` says of each answer whether its tokens ended before the answer did; empty: no answer was
    cut off.
    """
    cut = cut or [False] * len(items)
    return [_graded(*given) for given in zip(items, answers, cut, strict=True)]


def _graded(item: Item, answer: str, is_cut: bool) -> Graded:
    graded = Graded(item=item, answer=answer, right=False, is_cut=is_cut)
    try:
        return replace(graded, right=is_right(item.check, answer))
    except TimeoutError:
        return replace(graded, timed_out=True)


def accuracy(graded: Sequence[Graded]) -> Figure | None:
    """The share of right answers with its 95% interval (Wilson) over the items that could be
    checked; None where none could.
    """
    from scipy.stats import binomtest

    checked = [g.right for g in graded if g.right is not None]
    if not checked:
        return None
    result = binomtest(sum(checked), len(checked))
    low, high = result.proportion_ci(method="wilson")
    return Figure(
        value=float(result.statistic),
        unit="fraction",
        source="measured",
        low=float(low),
        high=float(high),
    )


def pair(reference: Sequence[Graded], candidate: Sequence[Graded]) -> Pairs:
    """The candidate against the reference on the items that both could be checked on."""
    from scipy.stats import binomtest

    n, lost, won = flipped(reference, candidate)
    flips = lost + won
    p = float(binomtest(lost, flips).pvalue) if flips else 1.0
    return Pairs(n=n, lost=lost, won=won, p=p, detectable=detectable(flips, n))


def flipped(reference: Sequence[Graded], candidate: Sequence[Graded]) -> tuple[int, int, int]:
    """The items that both could be checked on: how many they are, how many the candidate lost
    against the reference, and how many it won.
    """
    both = [
        (a.right, b.right)
        for a, b in zip(reference, candidate, strict=True)
        if a.right is not None and b.right is not None
    ]
    return len(both), sum(a and not b for a, b in both), sum(b and not a for a, b in both)


def detectable(flips: int, n: int, *, error_rate: float = 0.05) -> float:
    """The smallest difference in accuracy over `n` items that McNemar's test would prove where
    `flips` of them flip. Where so few flip that nothing is proven, as many flips as prove something
    count, all of them one way: six for an error rate of 5%.
    """
    from scipy.stats import binomtest

    for net in range(flips % 2, flips + 1, 2) if flips else ():
        if binomtest((flips + net) // 2, flips).pvalue < error_rate:
            return net / n
    fewest = math.floor(math.log2(2 / error_rate)) + 1
    return min(1.0, fewest / n) if n else 1.0


def by_domain(graded: Sequence[Graded]) -> dict[str, list[Graded]]:
    """The answers by the domain of their tasks, in order."""
    domains: dict[str, list[Graded]] = {}
    for answer in graded:
        domains.setdefault(answer.item.domain, []).append(answer)
    return domains


def never_right(*models: Sequence[Graded]) -> list[Item]:
    """The tasks from a person's files that were checked and that no model got right. Every model
    answered the same tasks, or none.
    """
    answers = zip(*(graded for graded in models if graded), strict=True)
    return [
        some[0].item for some in answers if some[0].item.own and {g.right for g in some} == {False}
    ]
