"""The loop without the world: who takes part, what is known of each, what must be known next. Pure.

`field.next()` is the step that a field waits for. `field.after(answer)` is the field that knows the
answer to this step. The last step is `Done`. How one field follows from another stands in
`transitions`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hakaru.choosing import steps
from hakaru.choosing.candidate import SOURCE, Candidate, Constraints, Key
from hakaru.choosing.rounds import ROUNDS
from hakaru.choosing.rule import assessed
from hakaru.choosing.smaller_cache import with_small_cache
from hakaru.evaluation.speed import Speed
from hakaru.language import say
from hakaru.memory.settings import Cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What does not change while the loop is walked."""

    constraints: Constraints  # `memory_bytes` is the limit, never None
    cache: Cache  # the KV cache that was asked for
    besides_bytes: int  # what a server takes besides the weights, with that cache
    saved_bytes: int | None  # what SMALL_CACHE takes less; None where it is not tried
    n_ctx: int  # tokens of context of one conversation
    n_windows: int  # windows of text to choose by
    sweep: bool = False  # every level is read on every window; the rounds are held against that
    rounds: Sequence[int] = ROUNDS  # windows after which candidates are dropped or settled

    @property
    def limit(self) -> int:
        """Bytes that may be used."""
        return self.constraints.memory_bytes or 0

    @property
    def has_rounds(self) -> bool:
        """Whether there is enough text to read some of it first."""
        return self.n_windows > self.rounds[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A turn of a round: who is read in it, and who waits."""

    waiting: tuple[Key, ...]  # of the race, but not of this turn
    groups: steps.Groups = ()  # what is left to be read
    n_windows: int  # up to which window
    unsettled: tuple[Key, ...] = ()  # of those that were read: neither pass nor fail


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """Where the loop stands. Every change is a new field."""

    terms: Terms
    candidates: Mapping[Key, Candidate]
    step: steps.Step  # what is waited for
    then: Callable[["Field", Any], "Field"]  # the transition that takes its answer
    racing: tuple[Key, ...] = ()  # those of which it is open whether they keep the tier
    turn: Turn | None = None
    mix_sought: bool = False
    small: Candidate | None = None  # tried with the smaller KV cache

    def next(self) -> steps.Step:
        """What must be known next."""
        return self.step

    def after(self, answer: Any) -> "Field":
        """The field that knows the answer to its step."""
        return self.then(self, answer)

    @property
    def source(self) -> Candidate:
        """The source with the KV cache that was asked for."""
        return self.candidates[SOURCE, self.terms.cache]

    def assessed(self) -> list[Candidate]:
        """Every candidate with its verdict: whether the candidate passes, and why."""
        return [assessed(c, self.terms.constraints) for c in self.candidates.values()]

    def lost_types(self) -> frozenset[str]:
        """The types whose candidates all break the tier or cannot win: nobody needs their files.

        A finalist's file stays. If the finalist fails, candidates that it had beaten come back.
        """
        candidates = [*self.candidates.values(), *([self.small] if self.small else [])]
        needed = {c.type for c in candidates if c.untouched or not _has_lost(c)}
        return frozenset(c.type for c in candidates) - needed

    def asks(self, step: steps.Step, then: Callable[["Field", Any], "Field"]) -> "Field":
        """This field, waiting for a step."""
        return replace(self, step=step, then=then)

    def times(
        self, keys: Iterable[Key], then: Callable[["Field", steps.Speeds], "Field"]
    ) -> "Field":
        """This field, waiting for the speeds that are missing. If none is, `then` comes at once."""
        untimed = tuple(
            key
            for key in dict.fromkeys(keys)
            if self.candidates[key].speed is None and not self.candidates[key].why_untimed
        )
        return self.asks(steps.Time(untimed), then) if untimed else then(self, {})

    def having(self, *changed: Candidate) -> "Field":
        """This field with these candidates. They replace those of the same keys."""
        return replace(self, candidates={**self.candidates, **{c.key: c for c in changed}})

    def having_speeds(self, speeds: steps.Speeds) -> "Field":
        """This field with what was timed, and why some could not be."""
        before = [(self.candidates[key], answer) for key, answer in speeds.items()]
        return self.having(*(with_speed(c, answer) for c, answer in before))

    def having_read(self, keys: Sequence[Key], answer: steps.Readings | str) -> "Field":
        """This field with what was read, or why it could not be."""
        before = [self.candidates[key] for key in keys]
        if isinstance(answer, str):  # the disk is too small for these; the others may still do
            return self.having(*(replace(c, why=answer) for c in before))
        read = [(c, answer[c.key]) for c in before]
        return self.having(*(replace(c, quality=r.quality, judgement=r.judgement) for c, r in read))


def with_speed(candidate: Candidate, answer: Speed | str) -> Candidate:
    """The candidate with its speed, or with the reason why it could not be timed."""
    if isinstance(answer, str):
        return replace(candidate, why_untimed=answer)
    return replace(candidate, speed=answer)


def _has_lost(candidate: Candidate) -> bool:
    is_out = candidate.beaten_by is not None or candidate.why_untimed is not None
    return candidate.verdict == "fail" or is_out


def entrant(level: steps.Level, terms: Terms) -> Candidate:
    """A level before it is read: with the KV cache asked for, or with a smaller one that fits.

    A level that is a copy of the source takes no part.
    """
    total = terms.besides_bytes + level.weights_bytes
    usual = Candidate(
        type=level.type,
        weights_bytes=level.weights_bytes,
        bpw=level.bpw,
        total_bytes=total,
        fits=total <= terms.limit,
        cache=terms.cache,
    )
    if not usual.fits and terms.saved_bytes is not None:
        usual = with_small_cache(usual, terms.saved_bytes, terms.limit)
    why = say("the source itself, bit for bit") if level.is_copy else ""
    return replace(usual, predicted=level.predicted, why=why)


def entrants(terms: Terms, source: steps.Level, levels: Sequence[steps.Level]) -> list[Candidate]:
    """Who takes part, before anything is read.

    The source comes with the KV cache asked for; where it fits with a smaller one only, so, too.
    """
    usual = entrant(source, replace(terms, saved_bytes=None))
    candidates = [usual, *(entrant(level, terms) for level in levels)]
    if not usual.fits and terms.saved_bytes is not None:
        small = with_small_cache(usual, terms.saved_bytes, terms.limit)
        candidates += [small] if small.fits else []
    return candidates
