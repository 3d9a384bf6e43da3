"""What guessing ahead gains, and the rule that takes it. Pure.

A way to guess is taken if the answers to real requests are faster with it by more than a tenth, and
the whole 95% interval lies above no gain: a draft takes memory, and of what is as fast within a
tenth the smaller is taken (`rule`). The best way is found in rounds of its own. Its gain is that of
later rounds, since the best of several looks better than it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from hakaru.engine.speculation import Speculation
from hakaru.evaluation.acceptance import Lap, WorkAnswer
from hakaru.evaluation.statistics import ratio_of_sums
from hakaru.language import say
from hakaru.planning.speed_figures import SAME_SPEED
from hakaru.units import Figure

LEAST_GAIN: Final = 1 / (1 - SAME_SPEED)
"""The answers must be so many times as fast."""


class Tried(Struct, frozen=True, kw_only=True):
    """One way to guess, beside none, in the same rounds."""

    way: Speculation
    draft_sha256: str | None  # of the draft's file
    memory_bytes: int  # that it takes more
    n_rounds: int
    n_answers: int  # in each round
    gain: Figure  # tokens per second with it, divided by those without
    tokens_per_s: Figure  # of whole answers, the reading of the prompt included
    plain_tokens_per_s: Figure  # without it
    acceptance: float | None  # share of the guesses that were right; None: nothing was guessed
    by_work: Mapping[str, float]  # the gain by kind of work
    contended: bool  # whether other programs computed meanwhile

    @property
    def is_hopeless(self) -> bool:
        """Whether the whole interval lies below the least gain."""
        return self.gain.highest < LEAST_GAIN

    @property
    def pays(self) -> bool:
        """Whether the rule takes it: never by the one round in which it was found."""
        is_sure = self.n_rounds > 1 and not self.contended and self.gain.lowest > 1
        return is_sure and self.gain.value >= LEAST_GAIN

    def as_json(self) -> dict[str, Any]:
        """The way as it stands in the evidence and in the ledger."""
        return {
            **self.way.as_json(), "draft_sha256": self.draft_sha256,
            "memory_bytes": self.memory_bytes, "n_rounds": self.n_rounds,
            "n_answers": self.n_answers, "gain": self.gain.as_json(),
            "tokens_per_s": self.tokens_per_s.as_json(),
            "plain_tokens_per_s": self.plain_tokens_per_s.as_json(),
            "acceptance": self.acceptance, "gain_by_work": dict(self.by_work),
            "contended": self.contended,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Tried":
        """The inverse of `as_json`."""
        figures = ("gain", "tokens_per_s", "plain_tokens_per_s")
        same = ("draft_sha256", "memory_bytes", "n_rounds", "n_answers", "acceptance", "contended")
        fields = {name: Figure.from_json(data[name]) for name in figures} | {
            name: data[name] for name in same
        }
        return cls(way=Speculation.from_json(data), by_work=data["gain_by_work"], **fields)


class Skipped(Struct, frozen=True, kw_only=True):
    """A way that was not measured."""

    name: str  # of the draft's file, or of the means
    why: str

    def as_json(self) -> dict[str, str]:
        """The way as it stands in the evidence."""
        return {"name": self.name, "why": self.why}


class Speculated(Struct, frozen=True, kw_only=True):
    """Every way that was measured, and the one that is taken."""

    tried: tuple[Tried, ...]  # the last measurement of each: of the rounds that decide, then others
    skipped: tuple[Skipped, ...] = ()
    language: str = "en"  # of the requests

    @property
    def taken(self) -> Tried | None:
        """The best way that pays; None: nothing is guessed ahead."""
        return next((tried for tried in self.tried if tried.pays), None)

    @property
    def is_contended(self) -> bool:
        """Whether other programs computed meanwhile."""
        return any(tried.contended for tried in self.tried)

    def as_json(self) -> dict[str, Any]:
        """The object `speculative` of `hakaru.decision/1`."""
        taken = self.taken
        return {
            "taken": taken.as_json() if taken else None,
            "tried": [tried.as_json() for tried in self.tried],
            "skipped": [skipped.as_json() for skipped in self.skipped],
            "language": self.language,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Speculated":
        """The inverse of `as_json`."""
        return cls(
            tried=tuple(Tried.from_json(tried) for tried in data["tried"]),
            skipped=tuple(Skipped(**skipped) for skipped in data["skipped"]),
            language=data["language"],
        )


def spoken(way: Speculation) -> str:
    """What guesses, for people."""
    return way.draft.stem if way.draft else means_name(way.means)


def means_name(means: str) -> str:
    """What guesses where it is no draft model; empty for another text."""
    return {"mtp": say("its own layers (MTP)"), "ngram": say("the text so far")}.get(means, "")


def compared(
    way: Speculation,
    plain: Sequence[Lap],
    guessing: Sequence[Lap],
    *,
    memory_bytes: int,
    draft_sha256: str | None,
) -> Tried:
    """What `way` gains: its laps beside those without it, one of each for every round.

    The unit of the interval is a prompt: the seconds per token of its answers in all rounds.
    """
    slow, fast = _by_prompt(plain), _by_prompt(guessing)
    answers = [answer for lap in guessing for answer in lap.answers]
    n_guessed = sum(answer.n_guessed for answer in answers)
    works = [answer.work for answer in guessing[0].answers]
    return Tried(
        way=way, draft_sha256=draft_sha256, memory_bytes=memory_bytes, n_rounds=len(guessing),
        n_answers=len(works), gain=ratio_of_sums(slow, fast, unit="ratio"),
        tokens_per_s=_rate(guessing), plain_tokens_per_s=_rate(plain),
        acceptance=sum(a.n_accepted for a in answers) / n_guessed if n_guessed else None,
        by_work={
            work: sum(s for s, w in zip(slow, works, strict=True) if w == work)
            / sum(s for s, w in zip(fast, works, strict=True) if w == work)
            for work in dict.fromkeys(works)
        },
        contended=any(lap.others.matter for lap in (*plain, *guessing)),
    )  # fmt: skip


def best_first(tried: Iterable[Tried]) -> tuple[Tried, ...]:
    """By their gain."""
    return tuple(sorted(tried, key=lambda one: -one.gain.value))


def of_each_guesser(tried: Iterable[Tried]) -> list[Tried]:
    """The first of `tried` for each draft and each means."""
    firsts: dict[object, Tried] = {}
    for one in tried:
        firsts.setdefault((one.way.means, one.way.draft), one)
    return list(firsts.values())


def _by_prompt(laps: Sequence[Lap]) -> list[float]:
    """Seconds per token of every prompt, over all laps."""
    return [
        sum(answer.seconds for answer in answers) / sum(answer.n_tokens for answer in answers)
        for answers in _prompts(laps)
    ]


def _rate(laps: Sequence[Lap]) -> Figure:
    prompts = _prompts(laps)
    return ratio_of_sums(
        [sum(answer.n_tokens for answer in answers) for answers in prompts],
        [sum(answer.seconds for answer in answers) for answers in prompts],
        unit="tokens/s",
    )


def _prompts(laps: Sequence[Lap]) -> list[tuple[WorkAnswer, ...]]:
    """The answers of all laps to each prompt."""
    return list(zip(*(lap.answers for lap in laps), strict=True))
