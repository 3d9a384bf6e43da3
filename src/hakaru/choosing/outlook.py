"""What is still to be done before the loop ends: as little, and as much, as it may be.

The loop cannot know which candidates will be settled early. As little: the candidates of the next
turn are read to its end, and those that pass are timed. As much: every candidate that races is read
to the last window, and all of them are timed; the best is tried with a smaller KV cache and read
with it, too; and the winner is proven on as many windows again. Left out, as they are rare: that a
winner fails its proof, and that a second level is tried with a smaller KV cache.
"""

from collections.abc import Callable
from time import monotonic
from typing import Final

from msgspec import Struct, field

from hakaru.choosing import steps
from hakaru.choosing.candidate import Candidate
from hakaru.choosing.field import Field
from hakaru.choosing.rounds import next_round
from hakaru.choosing.smaller_cache import SMALL_CACHE
from hakaru.evaluation.losses import LEAST_FOR_INTERVALS
from hakaru.evaluation.paces import Paces, Work
from hakaru.memory.settings import F16_CACHE
from hakaru.session import Foresee

DEEP: Final = 2
"""A step that times two candidates behind a long context counts as so many trials."""


class Outlook(Struct):
    """Tells how long the loop still takes, while it is walked."""

    foresee: Foresee
    clock: Callable[[], float] = monotonic
    paces: Paces = field(default_factory=Paces)
    _field: Field | None = None  # whose step is being done
    _began: float = 0.0  # the step, or its present part
    _n_timed: int = 0  # levels that the present step has timed

    def begins(self, field: Field) -> None:
        """The step of `field` begins."""
        self._field, self._began, self._n_timed = field, self.clock(), 0
        self._tell(field)

    def has_timed(self) -> None:
        """One level of the present step was timed: one more is known, and one less to come."""
        now = self.clock()
        self.paces.took({"trials": 1}, now - self._began)
        self._began, self._n_timed = now, self._n_timed + 1
        if self._field:
            self._tell(self._field)

    def ends(self, answer: steps.Answer) -> None:
        """The step has its answer."""
        assert self._field
        work = done_by(self._field.step, self._field, answer)
        if "trials" not in work:  # those were told one by one
            self.paces.took(work, self.clock() - self._began)

    def _tell(self, field: Field) -> None:
        least, most = least_left(field), most_left(field)
        done: Work = {"trials": self._n_timed}
        seconds = self.paces.left(_less(least, done), _less(most, done))
        if seconds is not None:
            self.foresee(*seconds)


def _less(work: Work, done: Work) -> Work:
    return {kind: max(0, n - done.get(kind, 0)) for kind, n in work.items()}


def done_by(step: steps.Step, field: Field, answer: steps.Answer) -> Work:
    """The work that this `step` of `field` was, in parts of one kind; empty where it is none of
    those that take long.
    """
    match step, answer:
        case steps.Read(keys, n), _:
            return {"windows": sum(n - field.candidates[key].n_read for key in keys)}
        case steps.Time(keys), _:
            return {"trials": len(keys)}
        case steps.Prove(), steps.Reading():
            return {"windows": answer.quality.n_windows}
    return {}


def least_left(field: Field) -> Work:
    """The work that is left if whatever may be settled early is."""
    open_ = [field.candidates[key] for key in field.racing]
    if isinstance(field.step, steps.Prove):
        return {"windows": min(LEAST_FOR_INTERVALS, field.terms.n_windows)}
    if field.turn:
        n, groups = field.turn.n_windows, field.turn.groups
        turn = [field.candidates[key] for group in groups for key in group]
    elif open_:
        turn, n = next_round(open_, field.terms.n_windows, field.terms.rounds)
    else:
        turn, n = [], 0
    passing = [c for c in field.candidates.values() if c.verdict == "pass" and _is_untimed(c)]
    return {"windows": sum(max(0, n - c.n_read) for c in turn), "trials": len(passing)}


def most_left(field: Field) -> Work:
    """The work that is left if nothing is settled early."""
    n_windows, candidates = field.terms.n_windows, field.candidates.values()
    if isinstance(field.step, steps.Done):
        return {}
    if isinstance(field.step, steps.Prove):
        return {"windows": max(n_windows, LEAST_FOR_INTERVALS)}
    open_ = [c for c in candidates if c.verdict in (None, "inconclusive") and _is_in(c)]
    proof = max(n_windows, LEAST_FOR_INTERVALS)  # read of the winner, on other texts
    windows = sum(n_windows - c.n_read for c in open_) + proof
    trials = sum(_is_untimed(c) and (c in open_ or c.verdict == "pass") for c in candidates)
    if _may_try_small(field):
        windows, trials = windows + n_windows, trials + 1 + DEEP
    return {"windows": windows, "trials": trials}


def _is_in(candidate: Candidate) -> bool:
    return candidate.fits and not (candidate.beaten_by or candidate.why or candidate.why_untimed)


def _is_untimed(candidate: Candidate) -> bool:
    return candidate.speed is None and not candidate.why_untimed and candidate.fits


def _may_try_small(field: Field) -> bool:
    """Whether the best may still be tried with SMALL_CACHE. A level that only fits with it takes
    part from the start, and is no such trial.
    """
    if field.terms.saved_bytes is None:
        return False
    usual = {c.type for c in field.candidates.values() if c.cache == F16_CACHE and c.fits}
    tried = [c for c in field.candidates.values() if c.cache == SMALL_CACHE and c.type in usual]
    return field.small is not None or not tried
