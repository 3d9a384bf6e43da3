"""Whether a chosen file answers faster when tokens are guessed ahead: measured here, through the
server that will serve it.

First every way to guess runs once beside the model alone, at its usual length. If the best of them
may pay, its other lengths run; then the two best ways run in fresh rounds, which decide. What was
measured is recalled round by round, so that a broken run goes on where it stopped.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from hakaru.choosing.decision import Decision
from hakaru.choosing.evidence import save_evidence
from hakaru.choosing.speculated import (
    Skipped,
    Speculated,
    Tried,
    best_first,
    compared,
    of_each_guesser,
    spoken,
)
from hakaru.engine.mode import Mode
from hakaru.engine.speculation import Means, Speculation
from hakaru.errors import EngineError
from hakaru.evaluation.acceptance import Lap, lap
from hakaru.evaluation.served import planned
from hakaru.evaluation.taken_speculation import (
    recall_speculation,
    remember_speculation,
    speculation_for,
)
from hakaru.evaluation.work_prompts import WORK_PROMPTS, prompts_digest
from hakaru.language import say
from hakaru.ledger import now
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_language_model, read_model
from hakaru.planning.answer import Fit
from hakaru.planning.drafts_at_hand import drafts_at_hand
from hakaru.planning.here import within
from hakaru.planning.timed_here import timed_here
from hakaru.session import Session, last_step
from hakaru.units import compared as told_apart

LENGTHS: Final[dict[Means, tuple[int, ...]]] = {
    "draft": (4, 8, 16),
    "mtp": (3, 1, 6),
    "ngram": (8, 4, 16),
}
"""Tokens that are guessed at once, the usual number first."""
MOST_DRAFTS: Final = 2
"""Draft models that are measured, the smallest ones."""
FINALS: Final = ("final 1", "final 2")
"""Rounds that decide."""
MOST_FINALISTS: Final = 2
"""Ways in these rounds, each of which guesses by something else."""
VERSION: Final = 1
"""Of the measurement; another number measures anew."""


def with_speculation(
    session: Session,
    decision: Decision,
    ways: Sequence[Speculation] | None = None,
    *,
    language: str = "en",
    again: bool = False,
) -> Decision:
    """`decision` with the `ways` to guess ahead measured for the file that it chose; None: all that
    are at hand.

    The requests are asked in `language`. `again` measures anew. Raises MachineError, EngineError
    and Misuse.
    """
    if decision.path is None:
        return decision
    memory = decision.constraints.memory_bytes
    here = replace(session, machine=within(session.machine, memory)) if memory else session
    race = Race(
        session=last_step(here, may_end_early=True),
        model=read_model(decision.path),
        settings=decision.served,
        mode=replace(decision.mode, speculation=None),
        language=language,
        since=now() if again else None,
    )
    result = race.run(ways or list(ways_at_hand(here, race.model)))
    if result.tried and not result.is_contended:
        remember_speculation(here, race.model, race.settings, result.as_json())
    return _with(decision, result, result.taken.way if result.taken else None)


def with_known_speculation(session: Session, decision: Decision) -> Decision:
    """`decision` with what was measured before of guessing ahead with the file that it chose."""
    if decision.path is None:
        return decision
    model, settings = read_model(decision.path), decision.served
    row = recall_speculation(session, model, settings)
    way = speculation_for(session, model, settings)
    if row is None or (row["taken"] and way is None):
        return decision
    return _with(decision, Speculated.from_json(row), way)


def _with(decision: Decision, result: Speculated, way: Speculation | None) -> Decision:
    """The decision with this result, also in its evidence."""
    decision = replace(decision, speculated=result, mode=replace(decision.mode, speculation=way))
    if decision.evidence:
        save_evidence(decision.model.path.stem, decision.as_json(), decision.evidence)
    return decision


def ways_at_hand(session: Session, model: Model) -> Iterator[Speculation]:
    """Every way that there is for `model` here: its own layers for it, else draft models on this
    disk; and the text so far.
    """
    if model.shape.n_layer_nextn and len(model.loaded) < len(model.tensors):
        yield usual("mtp")
    else:
        for draft in drafts_at_hand(session, model)[:MOST_DRAFTS]:
            yield usual("draft", draft.path)
    yield usual("ngram")


def usual(means: Means, draft: Path | None = None) -> Speculation:
    """The way to guess by these means, at its usual length."""
    return Speculation(means=means, n_max=LENGTHS[means][0], draft=draft)


def ways_again(evidence: Mapping[str, Any]) -> list[Speculation]:
    """The ways in the `speculative` of some evidence whose drafts are still there, each once."""
    ways = (Speculation.from_json(tried) for tried in evidence["tried"])
    found = dict.fromkeys(usual(way.means, way.draft) for way in ways)
    return [way for way in found if way.draft is None or way.draft.is_file()]


class Race(Struct, frozen=True, kw_only=True):
    """The model alone and with guesses, round by round."""

    session: Session
    model: Model
    settings: ContextSettings
    mode: Mode  # without guesses
    language: str
    since: str | None  # rounds from before this moment do not count
    skipped: list[Skipped] = field(default_factory=list)

    def run(self, ways: Sequence[Speculation]) -> Speculated:
        """All rounds that are needed to decide."""
        tried = self._tried(ways)
        return Speculated(tried=tried, skipped=tuple(self.skipped), language=self.language)

    def _tried(self, ways: Sequence[Speculation]) -> tuple[Tried, ...]:
        """What was measured of each way: first those of the last rounds, the best first."""
        tried = self._compared(self._fitting(ways), ["first"])
        if not tried or tried[0].is_hopeless:
            return tried
        best = tried[0].way
        others = [replace(best, n_max=n) for n in LENGTHS[best.means][1:]]
        tried = best_first([*tried, *self._compared(self._fitting(others), ["lengths"])])
        finalists = [one.way for one in of_each_guesser(tried) if not one.is_hopeless]
        return (
            *self._compared(finalists[:MOST_FINALISTS], FINALS),
            *(one for one in tried if one.way not in finalists[:MOST_FINALISTS]),
        )

    def _compared(self, ways: Sequence[Speculation], rounds: Sequence[str]) -> tuple[Tried, ...]:
        """What the `ways` gain over these rounds, the best first. A way with which the engine fails
        is left out.
        """
        if not ways:
            return ()
        laps = [self._round(name, ways, backwards=i % 2 == 1) for i, name in enumerate(rounds)]
        plain, *others = zip(*laps, strict=True)
        tried = []
        for way, run in zip(ways, others, strict=True):
            if failed := next((result for result in run if isinstance(result, str)), None):
                self.skipped.append(Skipped(name=spoken(way), why=failed))
                continue
            tried.append(
                compared(
                    way,
                    [one for one in plain if isinstance(one, Lap)],
                    [one for one in run if isinstance(one, Lap)],
                    memory_bytes=self._plan(way).extras[0].bytes,
                    draft_sha256=self._sha256(way),
                )
            )
        return best_first(tried)

    def _round(self, name: str, ways: Sequence[Speculation], *, backwards: bool) -> list[Lap | str]:
        """The laps of the model alone and in every way; in the place of a lap, why the engine
        failed.
        """
        inputs = {
            **timed_here(self.session.machine), **self.mode.as_key(),
            "model": self.session.ledger.model_sha256(self.model),
            "settings": self.settings.as_json(),
            "ways": [{**way.as_json(), "draft": self._sha256(way)} for way in ways],
            "language": self.language, "texts": prompts_digest(self.language),
            "round": name, "version": VERSION,
        }  # fmt: skip
        order: list[Speculation | None] = [None, *ways]

        def measured() -> list[dict[str, Any]]:
            turns = order[::-1] if backwards else order
            laps = {way: self._lap(way, i, len(turns)) for i, way in enumerate(turns)}
            return [laps[way] for way in order]

        rows = self.session.ledger.remembered(
            "guesses",
            inputs,
            measured,
            keeps=lambda rows: not any(row.get("contended") for row in rows),
            since=self.since,
        )
        return [row["failed"] if "failed" in row else Lap.from_json(row) for row in rows]

    def _lap(self, way: Speculation | None, before: int, n: int) -> dict[str, Any]:
        prompts = WORK_PROMPTS[self.language]
        step = say("answers timed, with and without guesses ahead")

        def progress(done: int) -> None:
            self.session.watch(step, before * len(prompts) + done, n * len(prompts))

        progress(0)  # the model is loaded before it answers
        mode = replace(self.mode, speculation=way)
        try:
            return lap(self.session, self.model, self.settings, mode, prompts, progress).as_json()
        except EngineError as error:
            if way is None:
                raise
            return {"failed": str(error)}

    def _fitting(self, ways: Sequence[Speculation]) -> list[Speculation]:
        """The ways that fit beside the model; the others are skipped."""
        fitting = []
        for way in ways:
            plan = self._plan(way)
            if plan.verdict != "does_not_fit":
                fitting.append(way)
                continue
            share = plan.placement.fullest
            needed, free = told_apart(share.needed_bytes, share.device.usable_bytes)
            why = say(
                "does not fit beside the model: together they need {needed}, but {free} may be "
                "used",
                needed=needed,
                free=free,
            )
            self.skipped.append(Skipped(name=spoken(way), why=why))
        return fitting

    def _plan(self, way: Speculation) -> Fit:
        return planned(self.session, self.model, self.settings, replace(self.mode, speculation=way))

    def _sha256(self, way: Speculation) -> str | None:
        if way.draft is None:
            return None
        return self.session.ledger.model_sha256(read_language_model(way.draft))
