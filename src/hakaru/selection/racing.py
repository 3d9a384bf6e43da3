"""The rows of `choose` against each other on this machine: the verb behind `hakaru choose --race`.

One racer after the other is fetched, timed through the server, and asked the tasks, each with the
chat template of its own file; those that can think before they answer are asked not to. One model
is in memory at a time. A racer that is surely worse than the best before it need not go on
(`evaluation/duel.py`). The ledger keeps every answer, and every speed that no other work disturbed,
and `pull` every byte, so that the same race goes on where it was interrupted. A racer that cannot
be fetched or loaded is told, and the others run.

With a Ray cluster all racers are fetched first and answer all tasks there, side by side
(`evaluation/spread.py`). Then each has its lap here as ever: it is timed on this machine, and its
answers are those in the ledger.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from functools import partial
from time import monotonic
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.engine.mode_of import needs_text
from hakaru.errors import Interrupted, ModelUnknown
from hakaru.evaluation.answers import each_answer
from hakaru.evaluation.duel import is_surely_worse, mixed
from hakaru.evaluation.grading import Graded
from hakaru.evaluation.over_ray import check_ray, over_ray
from hakaru.evaluation.spread import Respondent, spread
from hakaru.evaluation.tasks import TaskSet
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
from hakaru.servers import beside_servers
from hakaru.session import Session, nobody_listens

Tell = Callable[[Lap | Out], None]
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

        if self.ray:
            entrants = self._answered_elsewhere(entrants, self.ray, leave_out)
        for place, entrant in enumerate(entrants):
            try:
                lap = self._lap(entrant, laps, n_behind=len(entrants) - place - 1)
            except FAILS as error:
                leave_out(entrant, error)
                continue
            laps.append(lap)
            self._remember(lap)
            tell(lap)
        return Race(
            conditions=self.conditions, tasks=self.asked, laps=tuple(laps), out=tuple(out),
            error_rate=self.error_rate,
        )  # fmt: skip

    def _lap(self, entrant: Entrant, before: Sequence[Lap], *, n_behind: int) -> Lap:
        """Fetch, time and ask one racer. Raises FAILS."""
        asked, conditions = self._asked(entrant), self.conditions
        model, settings = asked.model, asked.settings
        session, name = self._session_for(model), entrant.label
        timing, depth = Timing(session=session), conditions.traffic.depth
        speed = timing.trial(model, settings, name=name).speed
        deep = timing.deep(model, settings, speed, depth) if depth < settings.tokens_each else None
        rival = leader(before, conditions, pleasing=not missed(speed, deep, conditions))
        answers = each_answer(session, model, self.asked.items, settings, name=name, thinks=False)
        graded = self._heard(answers, before[rival].graded if rival is not None else (), n_behind)
        return Lap(
            entrant=entrant, path=model.path, bytes=model.weights_bytes, graded=graded, speed=speed,
            deep=deep, beaten_by=rival if len(graded) < len(self.asked.items) else None,
        )  # fmt: skip

    def _asked(self, entrant: Entrant) -> Respondent:
        """The racer, fetched. Raises FAILS."""
        model = whole_model(bring(entrant, self.session))
        needs_chat(model)
        settings = settings_for(model, **context_of(entrant.row))
        return Respondent(model=model, settings=settings, thinks=False)

    def _answered_elsewhere(
        self,
        entrants: Sequence[Entrant],
        address: str,
        leave_out: Callable[[Entrant, Exception], None],
    ) -> tuple[Entrant, ...]:
        """Fetch all racers and have them answer all tasks on the Ray cluster, at the same time.
        Returns those that could: their laps find the answers in the ledger.
        """
        fetched, everyone = list[Entrant](), list[Respondent]()
        for entrant in entrants:
            try:
                asked = self._asked(entrant)
            except FAILS as error:
                leave_out(entrant, error)
                continue
            fetched.append(replace(entrant, path=asked.model.path))
            everyone.append(asked)
        connect = partial(over_ray, address, self.session)
        failed = spread(self.session, everyone, self.asked.items, connect)
        for who, reason in failed.items():
            leave_out(fetched[who], reason)
        return tuple(entrant for who, entrant in enumerate(fetched) if who not in failed)

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


def needs_chat(model: Model) -> None:
    """Raises ModelUnknown for a base model, which was not taught to answer."""
    needs_text(model, "choose")
    if chat_template_in(model.meta) is None:
        raise ModelUnknown(
            "{path}: has no chat template, so tasks, which are asked as conversations, would "
            "measure the wrong format and not the model; it does not run.",
            path=model.path,
        )
