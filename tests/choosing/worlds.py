"""Worlds for the loop without an engine: drawn from a number, they answer every step of a field.

What a world answers depends on its number and on the question alone, so that the same race can be
run again. The dice are hashes, which are the same in every version of Python. Levels may be equally
large and equally fast, lose too much, not fit, be copies of the source, be wrongly predicted, or
not be built for want of disk.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from hakaru.choosing import steps
from hakaru.choosing.candidate import SOURCE, Constraints, Key
from hakaru.choosing.field import Field, Terms, entrants
from hakaru.choosing.smaller_cache import SMALL_CACHE
from hakaru.choosing.transitions import opened
from hakaru.evaluation.divergence import identical
from hakaru.evaluation.grading import Pairs
from hakaru.evaluation.judgement import Judgement
from hakaru.evaluation.speed import Point, Speed
from hakaru.evaluation.tasks import TaskSet
from hakaru.evaluation.tiers import TIERS, Quality, Verdict
from hakaru.memory.settings import F16_CACHE
from hakaru.units import Figure
from speeds import figure

LADDER = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q2_K")
T = TypeVar("T")


class World:
    """One model on one machine.

    A `steady` world has no surprises: verdicts stay, the disk is large enough, predictions hold,
    finalists do not fail, speeds are exact, and no mix takes part.
    """

    def __init__(self, number: int, *, steady: bool = False, sweep: bool = False) -> None:
        self.number, self.steady = number, steady
        self.learned: dict[Key, int] = {}  # windows on which a level was read
        self.n_read: dict[Key, int] = {}
        cache = self.draw([F16_CACHE] * 6 + [SMALL_CACHE, ("q4_0", "q4_0")], "cache")
        self.kv_bytes, self.source_bytes = (
            self.draw([20, 200, 600], "kv"),
            self.draw([1000, 600], "source"),
        )
        self.levels = self._levels()
        smallest = (
            min([self.source_bytes, *(level.weights_bytes for level in self.levels)])
            + self.kv_bytes
        )
        whole = self.source_bytes + self.kv_bytes
        limit = self.draw(
            [10**6, 10**6, 10**6, whole, whole - 1, smallest + 50, smallest, smallest - 60], "limit"
        )
        saved = (
            self.draw([None, 5, *[int(0.47 * self.kv_bytes)] * 4], "saved")
            if cache == F16_CACHE
            else None
        )
        tasks = (
            TaskSet(names=("ours",), language="en", items=(), digest="")
            if self.chance(0.4, "tasks")
            else None
        )
        speed = self.draw([None, None, None, None, 20.0, 45.0, 1000.0], "wish")
        self.terms = Terms(
            constraints=Constraints(
                tier=TIERS["balanced"],
                min_tokens_per_s=speed,
                memory_bytes=max(1, limit),
                tasks=tasks,
            ),
            cache=cache,
            besides_bytes=self.kv_bytes,
            saved_bytes=saved,
            n_ctx=self.draw([256, 1024, 4096], "n_ctx"),
            n_windows=self.draw([0, 3, 12, 13, 20, 30, 60, 60, 130, 130], "windows"),
            sweep=sweep or (not steady and self.chance(0.1, "sweep")),
        )
        self.room_bytes = self.draw([10**6, 1000, 600, 1], "room")
        self.unbuildable = {
            level.type for level in self.levels if self.chance(0.15, "disk", level.type)
        }
        if steady or self.chance(0.8, "full disk"):
            self.unbuildable = set()
        self.rates = self.draw(
            [[50], [40, 50, 60], [10, 20, 30, 40, 50, 60, 70], [49, 50, 51, 52]], "rates"
        )

    def _levels(self) -> list[steps.Level]:
        types = [
            name
            for name in LADDER
            if self.chance(self.draw([0.3, 0.7, 1.0], "many"), "takes part", name)
        ]
        sizes = sorted(
            (self.draw([1100, 900, 700, 500, 500, 400, 300], "size", name) for name in types),
            reverse=True,
        )
        copy = self.draw([*types, None], "copy") if self.chance(0.1, "copies") else None
        return [
            steps.Level(type=type_, weights_bytes=size, bpw=size / 100, is_copy=type_ == copy)
            for type_, size in zip(types, sizes, strict=True)
        ]

    def draw(self, choices: Sequence[T], *what: object) -> T:
        """One of the choices, always the same for the same question."""
        digest = hashlib.sha256(repr((self.number, what)).encode()).digest()
        return choices[int.from_bytes(digest[:8], "big") % len(choices)]

    def chance(self, share: float, *what: object) -> bool:
        """Whether something happens that happens in this share of all worlds."""
        return self.draw(range(1000), *what) < 1000 * share

    def entrants(self) -> list[Any]:
        """Who takes part."""
        return entrants(self.terms, self.source(), self.levels)

    def has_room(self) -> bool:
        """Whether anything fits, without which the loop does not begin."""
        return any(c.fits for c in self.entrants())

    def source(self) -> steps.Level:
        """The source as it is."""
        return steps.Level(type=SOURCE, weights_bytes=self.source_bytes, bpw=16.0)

    def verdict(self, key: Key, n: int) -> Verdict:
        """What the first `n` windows prove of a candidate."""
        if self.steady:
            key = (
                key[0],
                F16_CACHE,
            )  # another cache loses nothing, so that a prediction holds for both
        bad = self.draw([0.1, 0.3, 0.6], "how bad")
        others: list[Verdict] = ["pass", "pass", "pass", "pass", "pass", "inconclusive"]
        known: Verdict = (
            "fail" if self.chance(bad, "fails", key) else self.draw(others, "verdict", key)
        )
        late = self.draw([1, 12, 13, 20, 24, 48, 60, 96, 130], "known at", key)
        if not self.steady and n == 24 and known == "pass" and self.chance(0.1, "suspect", key):
            return "inconclusive"
        return known if n >= late else "inconclusive"

    def reading(self, key: Key, n: int) -> steps.Reading:
        """A candidate read on the first `n` windows."""
        verdict = self.verdict(key, n)
        judgement = Judgement(verdict, broken="kld_mean" if verdict == "fail" else None)
        kld = self.draw([0.001, 0.01, 0.02, 0.03], "kld", key, None if self.steady else n)
        return steps.Reading(quality=self.quality(kld, n), judgement=judgement)

    def quality(self, kld: float, n: int) -> Quality:
        """So much lost on `n` windows of ten tokens."""
        return replace(identical(), kld_mean=figure(kld, 0.2), n_windows=n, n_tokens=10 * n)

    def alone(self, key: Key, n: int, *, where: str) -> steps.Reading:
        """A candidate read until its verdict is known: `untouched`, or the source with its `own`
        cache.
        """
        if key == (SOURCE, F16_CACHE):
            return steps.Reading(quality=identical(), judgement=Judgement("pass"))
        fails = not self.steady and self.chance(
            self.draw([0.0, 0.3, 0.8], "luck", where), where, key
        )
        verdict: Verdict = "fail" if fails else "pass"
        judgement = Judgement(verdict, broken="kld_mean" if fails else None)
        return steps.Reading(quality=self.quality(0.01, n), judgement=judgement)

    def predicted(self, type_: str) -> Figure | None:
        """What a level is predicted to lose, by what was learned; None where nothing is said
        of it.
        """
        if type_ == SOURCE or self.chance(0.2, "no forecast"):
            return None
        if self.steady:
            key = (type_, F16_CACHE)
            return figure(
                self.draw(
                    [0.1, 1.0]
                    if self.verdict(key, self.terms.n_windows) == "fail"
                    else [0.01, 0.03],
                    "told",
                    key,
                ),
                0.3,
            )
        learned = sorted(self.learned.items())
        value = self.draw(
            [None, 0.001, 0.005, 0.02, 0.03, 0.03, 0.1, 1.0], "predicted", type_, learned
        )
        return figure(value, self.draw([0.1, 0.5], "sure", type_)) if value else None

    def mix(self) -> steps.Level | None:
        """The mix that takes part."""
        kind = "none" if self.steady else self.draw(["none", "given", "sought", "sought"], "mix")
        if kind == "none" or (
            kind == "sought"
            and (not self.learned or self.chance(0.2, "no mix", sorted(self.learned.items())))
        ):
            return None
        size = self.draw([350, 450, 550, 650, 1200], "mix size")
        return steps.Level(
            type="mix-1", weights_bytes=size, bpw=size / 100, predicted=self.predicted("mix-1")
        )

    def speed(self, key: Key) -> Speed:
        """How fast a candidate is."""
        spread = 0.0 if self.steady else self.draw([0.0, 0.01, 0.02, 0.1], "spread")
        prefill = self.draw([100.0, 100.0, 100.0, 900.0, 4000.0, 90.0], "prefill", key)
        return Speed(
            decode_tokens_per_s=figure(self.draw(self.rates, "rate", key), spread),
            prefill_tokens_per_s=figure(prefill, 0.1),
            first_token_ms=figure(1, 0),
            n_prompt=1,
            n_predict=1,
            repeats=6,
        )

    def deep(self, key: Key, depth: int) -> Point | None:
        """How fast a candidate is behind a long context."""
        if self.chance(0.2, "too deep", key):
            return None
        rate, first = (
            self.draw([20.0, 30.0], "deep rate", key),
            self.draw([100.0, 200.0], "deep first", key),
        )
        return Point(
            depth=depth,
            users=1,
            decode_tokens_per_s=figure(rate, 0.1),
            first_token_ms=figure(first, 0.1),
        )

    def pairs(self, key: Key) -> Pairs:
        """How a candidate does at the tasks beside the source."""
        worse = not self.steady and self.chance(
            self.draw([0.0, 0.3, 0.8], "luck at tasks"), "worse", key
        )
        return Pairs(n=10, lost=8 if worse else 1, won=1, p=0.01 if worse else 0.9, detectable=0.2)

    def groups(self, keys: Sequence[Key]) -> list[tuple[Key, ...]]:
        """Candidates of one cache in groups that go into the memory."""
        groups: list[tuple[Key, ...]] = []
        for key in keys:
            taken = sum(self.bytes_of(other) for other in groups[-1]) if groups else 0
            if (
                groups
                and groups[-1][0][1] == key[1]
                and taken + self.bytes_of(key) <= self.room_bytes
            ):
                groups[-1] = (*groups[-1], key)
            else:
                groups.append((key,))
        return groups

    def bytes_of(self, key: Key) -> int:
        """What the weights of a candidate take."""
        sizes = {level.type: level.weights_bytes for level in self.levels} | {
            SOURCE: self.source_bytes
        }
        return (
            sizes[key[0]] if key[0] in sizes else self.draw([350, 450, 550, 650, 1200], "mix size")
        )

    def read(self, keys: Sequence[Key], n: int) -> steps.Readings | str:
        """What candidates lose on the first `n` windows, or why one of them cannot be built."""
        if full := [
            key[0] for key in keys if key[0] in self.unbuildable and self.n_read.get(key, 0) < n
        ]:
            return f"no room for {full[0]}"
        self.n_read.update({key: max(n, self.n_read.get(key, 0)) for key in keys})
        if self.terms.has_rounds:
            self.learned.update({key: n for key in keys if key[1] == F16_CACHE})
        return {key: self.reading(key, n) for key in keys}

    def answer(self, step: steps.Step) -> Any:
        """What a step asks."""
        match step:
            case steps.Settle(key):
                return self.alone(key, self.terms.n_windows, where="own")
            case steps.Predict(keys):
                return {key: self.predicted(key[0]) for key in keys}
            case steps.Group(keys):
                alike = [
                    [key for key in keys if key[1] == cache]
                    for cache in dict.fromkeys(cache for _, cache in keys)
                ]
                return tuple(group for some in alike for group in self.groups(some))
            case steps.Read(keys, n):
                return self.read(keys, n)
            case steps.Mix():
                return self.mix()
            case steps.Time(keys):
                return {key: self.speed(key) for key in keys}
            case steps.TimeDeep(keys, depth=depth):
                return tuple(self.deep(key, depth) for key in keys)
            case steps.Prove(key):
                return self.alone(key, 7, where="untouched")
            case steps.Examine(key):
                return self.pairs(key)
        raise AssertionError(f"nobody answers {step}")


class Walk(Struct, frozen=True):
    """A walk to its end."""

    fields: tuple[Field, ...]  # on the way; the last one is done
    answers: tuple[Any, ...]  # to all fields but the last

    @property
    def asked(self) -> list[steps.Step]:
        """What was asked, without the end."""
        return [field.next() for field in self.fields[:-1]]

    @property
    def end(self) -> Field:
        """The last field."""
        return self.fields[-1]

    @property
    def choice(self) -> Any:
        """The candidate that was taken, or None."""
        step = self.end.next()
        assert isinstance(step, steps.Done)
        return step.choice


def walk(world: World) -> Walk:
    """The whole walk in this world, in which something must fit."""
    fields, answers = [opened(world.terms, world.entrants())], []
    while not isinstance(step := fields[-1].next(), steps.Done):
        answers.append(world.answer(step))
        fields.append(fields[-1].after(answers[-1]))
        assert len(fields) < 500, "the loop does not end"
    return Walk(tuple(fields), tuple(answers))


def record(walked: Walk) -> list[str]:
    """A walk in words: what was read, timed, proven and examined, in order; the choice; all
    reasons.
    """
    lines: list[str] = []
    for text in filter(None, map(told, walked.asked)):
        if (
            lines and text.startswith("time ") and lines[-1].startswith("time ")
        ):  # one after the other is at the same time
            text = f"time {' '.join(sorted([*lines.pop().split()[1:], *text.split()[1:]]))}"
        lines.append(text)
    chosen = walked.choice.key if walked.choice else None
    said = sorted(
        f"{named(c.key)}: {c.why if c.key != chosen and c.why else '-'}"
        for c in walked.end.assessed()
    )
    return [*lines, f"-> {named(chosen) if chosen else '-'}", *said]


def told(step: steps.Step) -> str | None:
    """A step in words; None for those that need no engine."""
    match step:
        case steps.Read(keys, n):
            return f"read {' '.join(map(named, keys))} to {n}"
        case steps.Time(keys):
            return f"time {' '.join(sorted(map(named, keys)))}"
        case steps.TimeDeep(keys, depth=depth):
            return f"deep {' '.join(map(named, keys))} at {depth}"
        case steps.Prove(key):
            return f"prove {named(key)}"
        case steps.Examine(key):
            return f"examine {named(key)}"
    return None


def named(key: Key) -> str:
    """A candidate in short."""
    return key[0] if key[1] == F16_CACHE else f"{key[0]}/{key[1][0]}"
