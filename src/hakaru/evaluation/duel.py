"""Two models on the same tasks, one after the other: when the second one has shown enough. Pure.

Only the tasks count on which the two differ (`grading.Pairs`). After every answer of the second
model a look asks whether it is surely the worse one: then it need not go on. McNemar's test, looked
at after every task, would be wrong far more often than it says. So a look bets: if neither model is
better, every task that flips is a toss of a coin, and the likelihood of all tosses under a coin of
unknown bias over that under a fair one is a fair game that starts at one. It ever reaches 100 with
a probability of at most 1% (Ville, 1939; the mixture is that of Robbins, Annals of Mathematical
Statistics 41, 1970). A fifth of the error rate pays for all looks, the rest for McNemar's test at
the end, so that a model that goes on to the end is told apart nearly as well as without looks.

Example: with an error rate of 5% a model stops that loses the first eleven tasks that flip, and
wins none.
"""

import math
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from hakaru.evaluation.grading import Graded, Pairs, detectable, flipped, pair
from hakaru.evaluation.tasks import Item

LOOKS: Final = 0.2
"""The part of the error rate that pays for looking after every task."""


def evidence(lost: int, won: int) -> float:
    """How many times more likely so uneven flips are if one model is better than if none is: a coin
    whose bias may be anything, against a fair one.
    """
    n = lost + won
    return math.exp(n * math.log(2) - math.log(n + 1) - _log_choose(n, lost))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def is_surely_worse(
    first: Sequence[Graded], second: Sequence[Graded], *, error_rate: float
) -> bool:
    """Whether the second model, which has answered some of the tasks of the first, needs no more to
    be known as the worse one.
    """
    _, lost, won = flipped(first[: len(second)], second)
    return lost > won and evidence(lost, won) * LOOKS * error_rate >= 1


class Duel(Struct, frozen=True, kw_only=True):
    """Two models, and what is known of the two when both have ended."""

    pairs: Pairs  # on the tasks that both answered; `worse` is the second one
    error_rate: float  # how often the verdict may be wrong
    stopped: bool = False  # the second one was surely worse, and did not answer all

    @property
    def verdict(self) -> str:
        """Of the second model: `worse`, `better`, or `cannot tell`."""
        if self.stopped:
            return "worse"
        if self.pairs.p >= (1 - LOOKS) * self.error_rate:
            return "cannot tell"
        return "worse" if self.pairs.lost > self.pairs.won else "better"

    @property
    def detectable(self) -> float:
        """The smallest difference in the share of right answers that would have been proven."""
        pairs = self.pairs
        return detectable(pairs.lost + pairs.won, pairs.n, error_rate=(1 - LOOKS) * self.error_rate)


def duel(
    first: Sequence[Graded], second: Sequence[Graded], *, error_rate: float, stopped: bool = False
) -> Duel:
    """The duel of two models. `stopped`: `is_surely_worse` ended the second one."""
    n = min(len(first), len(second))
    return Duel(pairs=pair(first[:n], second[:n]), error_rate=error_rate, stopped=stopped)


def least_difference(n: int, *, error_rate: float) -> float:
    """The smallest difference in the share of right answers that `n` tasks can prove at best."""
    return detectable(0, n, error_rate=(1 - LOOKS) * error_rate)


def mixed(items: Sequence[Item]) -> list[Item]:
    """The tasks in turns, one of each kind, so that every first part of them is of all kinds."""
    turns: dict[str, int] = {}
    keyed = []
    for item in items:
        turns[item.domain] = turn = turns.get(item.domain, 0) + 1
        keyed.append((turn, item))
    return [item for _, item in sorted(keyed, key=lambda pair: pair[0])]
