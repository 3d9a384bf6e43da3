"""The loop without the world: the candidates, what was measured of them, and the next step. Pure.

`field.next()` is the step that a field waits for. `field.after(answer)` is the field that knows the
answer to this step. The last step is `Done`. `transitions` says how one field follows from another.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from hakaru.choosing import steps
from hakaru.choosing.candidate import SOURCE, Candidate, Constraints, Key
from hakaru.choosing.rounds import ROUNDS
from hakaru.choosing.rule import assessed
from hakaru.choosing.smaller_cache import with_small_cache
from hakaru.evaluation.speed import Speed
from hakaru.language import say
from hakaru.memory.settings import Cache


class Terms(Struct, frozen=True, kw_only=True):
    """What does not change while the loop is walked."""

    constraints: Constraints  # `memory_bytes` is the limit, never None
    cache: Cache  # the KV cache that the person asked for
    besides_bytes: int  # that a server with this cache takes besides the weights
    saved_bytes: int | None  # by which SMALL_CACHE is smaller; None where it is not tried
    n_ctx: int  # tokens of context of one conversation
    n_windows: int  # windows of text to choose by
    sweep: bool = False  # read every level on every window: the rounds are tested against that
    rounds: Sequence[int] = ROUNDS  # windows after which candidates are dropped or settled

    @property
    def limit(self) -> int:
        """Bytes that may be used."""
        return self.constraints.memory_bytes or 0

    @property
    def has_rounds(self) -> bool:
        """Whether there is enough text to read some of it first."""
        return self.n_windows > self.rounds[0]


class Turn(Struct, frozen=True, kw_only=True):
    """A turn of the race: some candidates are read up to the same window, the others wait."""

    waiting: tuple[Key, ...]  # candidates of the race that are not of this turn
    groups: steps.Groups = ()  # candidates of this turn that are still to be read
    n_windows: int  # the window up to which they are read
    unsettled: tuple[Key, ...] = ()  # candidates that were read and neither pass nor fail


class Field(Struct, frozen=True, kw_only=True):
    """Where the loop stands. Every change is a new field."""

    terms: Terms
    candidates: Mapping[Key, Candidate]
    step: steps.Step  # the step that this field waits for
    then: Callable[["Field", Any], "Field"]  # the transition that takes the step's answer
    racing: tuple[Key, ...] = ()  # candidates that may keep or break the tier
    turn: Turn | None = None
    mix_sought: bool = False  # the step `Mix` was made
    small: Candidate | None = None  # the candidate that is being tried with SMALL_CACHE

    def next(self) -> steps.Step:
        """The step that this field waits for."""
        return self.step

    def after(self, answer: Any) -> "Field":
        """The field that knows the answer to this field's step."""
        return self.then(self, answer)

    @property
    def source(self) -> Candidate:
        """The source with the KV cache that the person asked for."""
        return self.candidates[SOURCE, self.terms.cache]

    def assessed(self) -> list[Candidate]:
        """Every candidate with its verdict: whether the candidate passes, and why."""
        return [assessed(c, self.terms.constraints) for c in self.candidates.values()]

    def lost_types(self) -> frozenset[str]:
        """The types whose candidates all break the tier or cannot win: their files may go.

        A finalist's file stays. If a finalist fails, the candidates that it had beaten come back.
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
        """This field, waiting for the speeds of those candidates that were not timed yet. If all
        were, `then` follows at once.
        """
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
        """This field with the speeds of the candidates that were timed."""
        timed = ((self.candidates[key], answer) for key, answer in speeds.items())
        return self.having(*(with_speed(c, answer) for c, answer in timed))

    def having_read(self, keys: Sequence[Key], answer: steps.Readings | str) -> "Field":
        """This field with the readings of these candidates, or the reason why they were not
        read.
        """
        candidates = [self.candidates[key] for key in keys]
        if isinstance(answer, str):  # the disk is too small for these; others may still fit on it
            return self.having(*(replace(c, why=answer) for c in candidates))
        read = ((c, answer[c.key]) for c in candidates)
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
    """The candidate of a level, before it is read: with the KV cache that the person asked for, or
    with SMALL_CACHE if only that may fit.

    A level that is a copy of the source stands in the list and takes no part.
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
    """The candidates before anything is read: the source, then its levels.

    The source has the KV cache that the person asked for. If the source only fits with SMALL_CACHE,
    it is a second candidate with that.
    """
    usual = entrant(source, replace(terms, saved_bytes=None))
    candidates = [usual, *(entrant(level, terms) for level in levels)]
    if not usual.fits and terms.saved_bytes is not None:
        small = with_small_cache(usual, terms.saved_bytes, terms.limit)
        candidates += [small] if small.fits else []
    return candidates
