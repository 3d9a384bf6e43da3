"""The rows of `choose` against each other on this machine: the verb behind `hakaru choose --race`.

One racer after the other is fetched, timed through the server, and asked the tasks, each with the
chat template of its own file; those that can think before they answer are asked not to. One model
is in memory at a time. A racer that is surely worse than the best before it need not go on
(`evaluation/duel.py`). The ledger keeps every answer, and every speed that no other work disturbed,
and `pull` every byte, so that the same race goes on where it was interrupted. A racer that cannot
be fetched or loaded is told, and the others run.

With a Ray cluster all racers are fetched and timed here first, and then answer there side by side
(`evaluation/spread.py`), each until it is done or surely worse than whoever may lead
(`surely_beaten.py`). Then each has its lap here as ever: its answers are those in the ledger.
"""

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from time import monotonic
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.engine.mode_of import needs_text
from hakaru.errors import Interrupted, ModelUnknown
from hakaru.evaluation.answers import Answer, each_answer
from hakaru.evaluation.duel import is_surely_worse, mixed
from hakaru.evaluation.grading import Graded, grade
from hakaru.evaluation.over_ray import check_ray, over_ray
from hakaru.evaluation.speed import Point, Speed
from hakaru.evaluation.spread import Enough, Respondent, spread
from hakaru.evaluation.tasks import Item, TaskSet
from hakaru.evaluation.timing import Timing
from hakaru.language import say
from hakaru.ledger import now
from hakaru.memory.context import settings_for
from hakaru.models.model import Model
from hakaru.models.purpose import chat_template_in
from hakaru.models.sources.find import whole_model
from hakaru.planning.here import limited
from hakaru.selection.chosen import Chosen
from hakaru.selection.conditions import Conditions
from hakaru.selection.entrants import FAILS, Entrant, Field, Out, bring, context_of, field_of
from hakaru.selection.finish import Lap, Race, leader, missed, of_each_pair
from hakaru.selection.racers import MOST, check_task, in_turn, of_one_model, race_tasks
from hakaru.selection.solved import Solved, remember_solved
from hakaru.selection.surely_beaten import surely_beaten
from hakaru.servers import beside_servers
from hakaru.session import Session, nobody_listens

Tell = Callable[[Lap | Out], None]
LeaveOut = Callable[[Entrant, Exception], None]
LEAST: Final = 2
"""Racers without which there is no race."""


def race(
    chosen: Chosen,
    *,
    tasks: Sequence[str] = (),
    memory: int | None = None,
    ray: str | None = None,
    agree: Callable[[Field, TaskSet], bool] = lambda field, tasks: True,
    tell: Tell = lambda news: None,
    session: Session | None = None,
) -> Race | None:
    """Run the best rows of an answer of `choose`, which was asked for this machine.

    Example: `race(choose("chat")).winner.path`.

    `tasks` as for `test`; without them, ours that speak for the task. `memory`: bytes of this
    machine that may be used at most. `ray`: the Ray cluster on which the tasks are answered (auto
    or HOST:PORT); every speed is measured here. `agree` hears who runs and what that takes before
    anything is fetched; None is returned where it says no. `tell` hears of each racer when it has
    ended. Raises Misuse, and Interrupted, after which the same call goes on.
    """
    conditions = chosen.conditions
    check_task(conditions.task)
    if len({row.model.id for row in chosen.rows}) == 1 < len(chosen.rows):
        raise of_one_model(chosen.rows[0].model.id)
    if ray:
        check_ray(ray)
    session = session or Session.here(keeps=False)
    asked = race_tasks(conditions.task, conditions.language, tuple(tasks))
    asked = replace(asked, items=tuple(mixed(asked.items)))
    field = field_of(in_turn(chosen), min(MOST, len(chosen.rows)), asked.items, session)
    if len(field.entrants) < LEAST:
        for out in field.out:
            tell(out)
    elif not agree(field, asked):
        return None
    track = _Track(
        session=session, memory=memory, conditions=conditions, asked=asked,
        error_rate=of_each_pair(len(field.entrants)), ray=ray,
    )  # fmt: skip
    try:
        return track.run(field, tell)
    except Interrupted:
        raise
    except KeyboardInterrupt as stop:
        raise Interrupted(
            say(
                "interrupted; what was fetched, timed and answered is kept: the same command goes "
                "on there."
            )
        ) from stop


class _Runner(Struct, frozen=True, kw_only=True):
    """A racer that was fetched and timed."""

    entrant: Entrant
    asked: Respondent
    speed: Speed
    deep: Point | None
    pleases: bool  # it misses no wish, as it was measured


class _Track(Struct, frozen=True, kw_only=True):
    """What is the same for all racers."""

    session: Session
    memory: int | None
    conditions: Conditions
    asked: TaskSet
    error_rate: float  # of one pair
    ray: str | None  # the Ray cluster on which tasks are answered; None: this machine

    def run(self, field: Field, tell: Tell) -> Race:
        """Have all racers run that can; none where there are fewer than two."""
        laps, out = list[Lap](), list(field.out)
        entrants = field.entrants if len(field.entrants) >= LEAST else ()

        def leave_out(entrant: Entrant, error: Exception) -> None:
            out.append(Out(model=entrant.row.model.id, type=entrant.type, reason=str(error)))
            tell(out[-1])

        runners: Iterable[_Runner] = self._timed(entrants, leave_out)
        if self.ray:
            runners = self._answered_elsewhere([*runners], self.ray, leave_out)
        for place, runner in enumerate(runners):
            try:
                lap = self._lap(runner, laps, n_behind=len(entrants) - place - 1)
            except FAILS as error:
                leave_out(runner.entrant, error)
                continue
            laps.append(lap)
            self._remember(lap)
            tell(lap)
        return Race(
            conditions=self.conditions, tasks=self.asked, laps=tuple(laps), out=tuple(out),
            error_rate=self.error_rate,
        )  # fmt: skip

    def _timed(self, entrants: Sequence[Entrant], leave_out: LeaveOut) -> Iterator[_Runner]:
        """Fetch and time one racer after the other, of those that can be."""
        for entrant in entrants:
            try:
                asked = self._asked(entrant)
                session, depth = self._session_for(asked.model), self.conditions.traffic.depth
                timing, settings = Timing(session=session), asked.settings
                speed = timing.trial(asked.model, settings, name=entrant.label).speed
                is_deep = depth < settings.tokens_each
                deep = timing.deep(asked.model, settings, speed, depth) if is_deep else None
            except FAILS as error:
                leave_out(entrant, error)
                continue
            yield _Runner(
                entrant=entrant, asked=asked, speed=speed, deep=deep,
                pleases=not missed(speed, deep, self.conditions),
            )  # fmt: skip

    def _lap(self, runner: _Runner, before: Sequence[Lap], *, n_behind: int) -> Lap:
        """Ask one racer. Raises FAILS."""
        model, settings = runner.asked.model, runner.asked.settings
        session, name = self._session_for(model), runner.entrant.label
        rival = leader(before, self.conditions, pleasing=runner.pleases)
        answers = each_answer(session, model, self.asked.items, settings, name=name, thinks=False)
        graded = self._heard(answers, before[rival].graded if rival is not None else (), n_behind)
        return Lap(
            entrant=runner.entrant, path=model.path, bytes=model.weights_bytes, graded=graded,
            speed=runner.speed, deep=runner.deep,
            beaten_by=rival if len(graded) < len(self.asked.items) else None,
        )  # fmt: skip

    def _asked(self, entrant: Entrant) -> Respondent:
        """The racer, fetched. Raises FAILS."""
        model = whole_model(bring(entrant, self.session))
        needs_chat(model)
        settings = settings_for(model, **context_of(entrant.row))
        return Respondent(model=model, settings=settings, thinks=False)

    def _answered_elsewhere(
        self, runners: Sequence[_Runner], address: str, leave_out: LeaveOut
    ) -> Sequence[_Runner]:
        """Have the racers answer on the Ray cluster, side by side. Returns those that could: their
        laps find the answers in the ledger. Whom one that could not had beaten answers on.
        """
        connect = partial(over_ray, address, self.session)
        while failed := spread(
            self.session,
            [runner.asked for runner in runners],
            self.asked.items,
            connect,
            _enough(self.asked.items, runners, self.error_rate),
        ):
            for who, reason in failed.items():
                leave_out(runners[who].entrant, reason)
            runners = [runner for who, runner in enumerate(runners) if who not in failed]
        return runners

    def _session_for(self, model: Model) -> Session:
        """The session on the memory that is free now, with the part of it that may be used."""
        machine = beside_servers(self.session.machine_now(), model.parts)
        return replace(
            self.session, machine=limited(machine, self.memory, nobody_listens), look=None
        )

    def _heard(
        self, answers: Generator[Graded], rival: Sequence[Graded], n_behind: int
    ) -> tuple[Graded, ...]:
        """The answers, up to that with which the racer is surely worse than its rival.

        Foresees how long the race still takes at most, if the racers behind are as fast, by the
        tokens that the tasks allow.
        """
        allowed = [item.max_tokens for item in self.asked.items]
        graded, begun = list[Graded](), monotonic()
        with closing(answers):
            for answer in answers:
                graded.append(answer)
                pace = (monotonic() - begun) / sum(allowed[: len(graded)])
                left = pace * sum(allowed[len(graded) :])
                self.session.foresee(left, left + n_behind * pace * sum(allowed))
                if rival and is_surely_worse(rival, graded, error_rate=self.error_rate):
                    break
        return tuple(graded)

    def _remember(self, lap: Lap) -> None:
        if not (share := lap.share):
            return
        solved = Solved(
            tasks=", ".join(name.rpartition("/")[2] for name in self.asked.names),
            n_right=lap.n_right, n=lap.n, share=share, is_whole=not lap.stopped, at=now(),
        )  # fmt: skip
        remember_solved(
            self.session.ledger,
            (lap.row.model.id, lap.entrant.type),
            self.conditions.task,
            self.conditions.language,
            self.asked.digest,
            solved,
        )


def _enough(items: Sequence[Item], runners: Sequence[_Runner], error_rate: float) -> Enough:
    """What says of racers that answer side by side who needs not answer more."""
    pleases = [runner.pleases for runner in runners]
    graded = [list[Graded]() for _ in runners]

    def enough(heard: Sequence[Sequence[Answer]]) -> set[int]:
        for own, answers in zip(graded, heard, strict=True):
            n, new = len(own), answers[len(own) :]
            texts, cut = [answer.text for answer in new], [answer.is_cut for answer in new]
            own += grade(items[n : len(answers)], texts, cut=cut)
        return surely_beaten(graded, pleases, n_tasks=len(items), error_rate=error_rate)

    return enough


def needs_chat(model: Model) -> None:
    """Raises ModelUnknown for a base model, which was not taught to answer."""
    needs_text(model, "choose")
    if chat_template_in(model.meta) is None:
        raise ModelUnknown(
            "{path}: has no chat template, so tasks, which are asked as conversations, would "
            "measure the wrong format and not the model; it does not run.",
            path=model.path,
        )
