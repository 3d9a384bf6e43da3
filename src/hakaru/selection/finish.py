"""What a race found: who solved how many tasks how fast, and which racer to take.

Racers that miss a wish, as it was measured, come only where no other is left. Of the rest the one
with the most right answers wins; of those that are as good within chance the fastest; of those that
are as fast within a tenth the one with more right answers, or the smaller one
(docs/decisions/0031).
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.evaluation.duel import Duel, duel
from hakaru.evaluation.grading import Graded, accuracy
from hakaru.evaluation.speed import Point, Speed
from hakaru.evaluation.tasks import TaskSet
from hakaru.planning.speed_figures import SAME_SPEED
from hakaru.selection.conditions import Conditions
from hakaru.selection.contender import Contender
from hakaru.selection.entrants import Entrant, Out
from hakaru.units import Figure

ERROR_RATE: Final = 0.05
"""How often what a race says of quality may be wrong, all pairs together."""


class Lap(Struct, frozen=True, kw_only=True):
    """One racer, and what was measured of it."""

    entrant: Entrant
    path: Path
    bytes: int  # of the weights
    graded: Sequence[Graded]  # in the order in which they were asked
    beaten_by: int | None  # the place of the racer than which it was surely worse, before it ended
    speed: Speed  # at an empty context
    deep: Point | None  # behind the depth of the task; None: reading so far takes too long

    @property
    def row(self) -> Contender:
        """The row of `choose`."""
        return self.entrant.row

    @property
    def stopped(self) -> bool:
        """Whether it did not answer all, since it was surely worse."""
        return self.beaten_by is not None

    @property
    def n_right(self) -> int:
        """Tasks that it solved."""
        return sum(graded.right is True for graded in self.graded)

    @property
    def n(self) -> int:
        """Tasks that could be checked."""
        return sum(graded.right is not None for graded in self.graded)

    @property
    def share(self) -> Figure | None:
        """Of right answers; None where nothing could be checked."""
        return accuracy(self.graded)

    @property
    def decode(self) -> Figure:
        """Tokens per second, behind the depth of the task where that was timed."""
        return (self.deep or self.speed).decode_tokens_per_s

    def misses(self, conditions: Conditions) -> tuple[str, ...]:
        """The wishes that it does not meet, as it was measured."""
        return missed(self.speed, self.deep, conditions)

    def as_json(self, conditions: Conditions) -> dict[str, object]:
        """An entry of `racers` in the object `race`."""
        share, n_prompt = self.share, conditions.traffic.n_prompt
        return {
            "model": self.row.model.id, "type": self.entrant.type, "path": str(self.path),
            "bytes": self.bytes, "right": self.n_right, "n": self.n,
            "share": share.as_json() if share else None, "stopped": self.stopped,
            "empty": sum(graded.is_empty for graded in self.graded),
            "cut": sum(graded.is_cut for graded in self.graded),
            "decode_tokens_per_s": self.decode.as_json(),
            "depth": self.deep.depth if self.deep else 0,
            "prefill_tokens_per_s": self.speed.prefill_tokens_per_s.as_json(),
            "first_token_s": first_token_s(self.speed, n_prompt),
            "contended": self.speed.is_contended, "misses": list(self.misses(conditions)),
        }  # fmt: skip


def first_token_s(speed: Speed, n_prompt: int) -> float:
    """Seconds in which so many tokens are read at the speed that was measured."""
    return n_prompt / speed.prefill_tokens_per_s.value


def missed(speed: Speed, deep: Point | None, conditions: Conditions) -> tuple[str, ...]:
    """The wishes that these measured speeds do not meet."""
    traffic = conditions.traffic
    slow = (deep or speed).decode_tokens_per_s.value < traffic.decode_tokens_per_s
    late = first_token_s(speed, traffic.n_prompt) > traffic.first_token_s
    return ("decode_tokens_per_s",) * slow + ("first_token_s",) * late


class Race(Struct, frozen=True, kw_only=True, dict=True):
    """The race. Has no slots, so that its duels are worked out once."""

    conditions: Conditions
    tasks: TaskSet
    laps: tuple[Lap, ...]  # in the order in which they ran
    out: tuple[Out, ...]  # rows that did not run, or not to the end
    error_rate: float  # of one duel

    @cached_property
    def duels(self) -> dict[tuple[int, int], Duel]:
        """Every two racers, by their places in `laps`, the earlier one first. One that was stopped
        has only the duel that it lost.
        """
        laps = self.laps
        return {
            (i, j): duel(
                laps[i].graded, laps[j].graded, error_rate=self.error_rate, stopped=laps[j].stopped
            )
            for i, j in combinations(range(len(laps)), 2)
            if laps[j].beaten_by in {None, i} and not laps[i].stopped
        }

    @cached_property
    def pool(self) -> list[int]:
        """The places of those of which one is taken."""
        whole = [i for i, lap in enumerate(self.laps) if not lap.stopped]
        return [i for i in whole if not self.laps[i].misses(self.conditions)] or whole

    @cached_property
    def best(self) -> Lap | None:
        """Of the pool the one with the most right answers; None where nobody ran."""
        return max((self.laps[i] for i in self.pool), key=lambda lap: lap.n_right, default=None)

    @cached_property
    def as_good(self) -> list[Lap]:
        """Those of the pool that chance alone may have put behind the best, the best among them."""
        if self.best is None:
            return []
        place = self.laps.index(self.best)
        return [self.laps[i] for i in self.pool if i == place or not self._is_worse(i, place)]

    def _is_worse(self, i: int, than: int) -> bool:
        if i < than:
            return self.duels[i, than].verdict == "better"
        return self.duels[than, i].verdict == "worse"

    @cached_property
    def winner(self) -> Lap | None:
        """The racer to take; None where fewer than two ran."""
        if len(self.laps) < 2:
            return None
        fastest = max(lap.decode.value for lap in self.as_good)
        least = (1 - SAME_SPEED) * fastest
        as_fast = [lap for lap in self.as_good if lap.decode.value >= least]
        return max(as_fast, key=lambda lap: (lap.n_right, -lap.bytes))

    def as_json(self, why: str) -> dict[str, object]:
        """The object `race` of `hakaru choose --race --json`."""
        winner = self.winner
        return {
            "tasks": {
                "names": list(self.tasks.names), "language": self.tasks.language,
                "n": len(self.tasks.items),
                "kinds": list(dict.fromkeys(item.domain for item in self.tasks.items)),
            },
            "racers": [lap.as_json(self.conditions) for lap in self.laps],
            "pairs": [self._pair(*places, one) for places, one in self.duels.items()],
            "left_out": [out.as_json() for out in self.out],
            "recommended": {"model": winner.row.model.id, "type": winner.entrant.type}
            if winner
            else None,
            "why": why,
        }  # fmt: skip

    def _pair(self, i: int, j: int, one: Duel) -> dict[str, object]:
        pairs = one.pairs
        return {
            "first": self.laps[i].row.model.id, "second": self.laps[j].row.model.id, "n": pairs.n,
            "lost": pairs.lost, "won": pairs.won, "p": pairs.p, "detectable": one.detectable,
            "error_rate": one.error_rate, "stopped": one.stopped, "verdict": one.verdict,
        }  # fmt: skip


def leader(laps: Sequence[Lap], conditions: Conditions, *, pleasing: bool) -> int | None:
    """The place of the racer that solved the most, of those that answered all, and with `pleasing`
    of those that miss no wish; None where there is none.
    """
    places = [
        i
        for i, lap in enumerate(laps)
        if not lap.stopped and not (pleasing and lap.misses(conditions))
    ]
    return max(places, key=lambda i: laps[i].n_right, default=None)


def of_each_pair(n_racers: int) -> float:
    """The error rate of one pair, if all pairs of so many racers share ERROR_RATE."""
    return ERROR_RATE / max(1, n_racers * (n_racers - 1) // 2)
