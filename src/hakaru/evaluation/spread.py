"""Tasks answered on other machines, with the ledger of this one.

What a model has not answered yet is cut into jobs: one model file, its settings, and some of the
tasks. Whoever runs the jobs (`Elsewhere`; `over_ray` is one) sends back each answer as it comes, as
a value, and the ledger is written here alone. A job that was lost runs again with the tasks that it
had not answered. Afterwards a test or a race goes its usual way and finds every answer in the
ledger: figures and decision are made by the same code from the same rows.

Where a model may be known well enough before it has answered all (a race), jobs have the tasks in
their order and are submitted one after the other, as many as run at a time; with each answer it is
asked who needs no more, whose jobs are then dropped.

Right answers and tests of code stay here: a job has the prompts. Speeds are never measured
elsewhere, since a speed belongs to its machine.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import zip_longest
from math import ceil
from typing import Final, Protocol

from msgspec import Struct, field
from msgspec.structs import replace

from hakaru.engine.builds import server_build
from hakaru.engine.mode import Mode
from hakaru.errors import HakaruError, MachineError
from hakaru.evaluation.answers import Answer, answer_key, keep_answer
from hakaru.evaluation.checks import Check
from hakaru.evaluation.served import planned
from hakaru.evaluation.tasks import Item
from hakaru.language import current_language, listed, say
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.session import Session, last_step

MOST_TASKS: Final = 16
"""Tasks of one job at most. A job loads its model once, and a lost one loses little."""
MOST_LOSSES: Final = 3
"""How often on end a job may be lost without one answer before its model is given up."""


class Respondent(Struct, frozen=True, kw_only=True):
    """A model that is asked tasks, and how it is run."""

    model: Model
    settings: ContextSettings
    mode: Mode = field(default_factory=Mode)
    thinks: bool = True


class JobFile(Struct, frozen=True, kw_only=True):
    """A file of a model, which a machine has where its bytes are the same."""

    path: str
    bytes: int
    sha256: str


class Job(Struct, frozen=True, kw_only=True):
    """Tasks for one model: a value that another machine can read."""

    number: int = 0
    who: int  # the place of the model among those that are asked
    sha256: str  # of the model
    files: tuple[JobFile, ...]  # of the model, the first part first
    settings: ContextSettings
    mode: Mode
    thinks: bool
    items: tuple[Item, ...]  # without what judges their answers
    places: tuple[int, ...]  # of the items among all tasks
    memory_bytes: int  # of RAM, by the plan for this machine
    n_accelerators: int  # that the plan uses
    engine: str  # the build that answers
    language: str  # of sentences about what went wrong

    @property
    def total_bytes(self) -> int:
        """Of the model's files."""
        return sum(file.bytes for file in self.files)


class Answered(Struct, frozen=True, kw_only=True):
    """The next task of a job is answered."""

    number: int  # of the job
    answer: Answer
    on: dict[str, object]  # the machine that answered, as the ledger keeps it


class Ended(Struct, frozen=True, kw_only=True):
    """All tasks of a job are answered."""

    number: int


class Lost(Struct, frozen=True, kw_only=True):
    """A job is gone without an answer to its next task: its machine, or its engine, died."""

    number: int
    reason: str


class Failed(Struct, frozen=True, kw_only=True):
    """A job cannot be run, there or anywhere."""

    number: int
    error: HakaruError


News = Answered | Ended | Lost | Failed


Enough = Callable[[Sequence[Sequence[Answer]]], Collection[int]]
"""Hears what each model answered, up to its first task without an answer. Says by their places
which models need not answer more.
"""


class Elsewhere(Protocol):
    """Who runs jobs on other machines."""

    def admit(self, job: Job) -> int:
        """How many jobs with this model run at a time. Raises HakaruError where none can."""
        ...

    def submit(self, job: Job) -> None:
        """Let a job run as soon as there is room for it."""
        ...

    def drop(self, numbers: Sequence[int]) -> None:
        """End these jobs, which send no news any more."""
        ...

    def listen(self) -> Iterator[News]:
        """What happens to the jobs, until none is left."""
        ...


def spread(
    session: Session,
    everyone: Sequence[Respondent],
    items: Sequence[Item],
    connect: Callable[[], AbstractContextManager[Elsewhere]],
    enough: Enough | None = None,
) -> dict[int, HakaruError]:
    """Have every model answer all tasks elsewhere that the ledger does not have, or as many as are
    `enough`. Returns why models could not, by their places in `everyone`; the answers of those that
    could are in the ledger.

    `connect` is called where something is left to ask, and left when all was answered.
    """
    answers = [_answers_here(session, asked, items) for asked in everyone]
    heard = _Heard(answers, enough)
    left = [heard.open_places(who) for who in range(len(everyone))]
    if not any(left):
        return {}
    with connect() as elsewhere:
        jobs, failed, widest = list[list[Job]](), dict[int, HakaruError](), 1
        for who, asked in enumerate(everyone):
            if not left[who]:
                continue
            whole = _job(session, who, asked, items, left[who])
            try:
                n_at_a_time = elsewhere.admit(whole)
            except HakaruError as error:
                failed[who] = error
                continue
            jobs.append([*_cut(whole, n_at_a_time, in_order=enough is not None)])
            widest = max(widest, n_at_a_time)
        in_turn = [job for turn in zip_longest(*jobs) for job in turn if job]
        numbered = [replace(job, number=number) for number, job in enumerate(in_turn)]
        n_at_once = widest if enough else len(numbered)
        _Round(session, elsewhere, heard, failed, n_at_once).run(numbered)
    return failed


def bare(item: Item) -> Item:
    """The task without what judges its answer."""
    check = Check(kind=item.check.kind, letters=item.check.letters)
    return Item(
        id=item.id, domain=item.domain, prompt=item.prompt, check=check, max_tokens=item.max_tokens
    )


def _answers_here(
    session: Session, asked: Respondent, items: Sequence[Item]
) -> list[Answer | None]:
    """What the ledger has of each task."""
    sha256 = session.ledger.model_sha256(asked.model)
    kept = [
        session.ledger.recall(
            *answer_key(sha256, [item], asked.settings, asked.mode, thinks=asked.thinks)
        )
        for item in items
    ]
    return [Answer(*answers[0]) if answers else None for answers in kept]


def _job(
    session: Session, who: int, asked: Respondent, items: Sequence[Item], places: Sequence[int]
) -> Job:
    """All that is left for a model, as one job."""
    fit = planned(session, asked.model, asked.settings, asked.mode)
    placement = fit.placement
    on_cards = [share for share in placement.shares if share.weights_bytes]
    return Job(
        who=who,
        sha256=session.ledger.model_sha256(asked.model),
        files=tuple(
            JobFile(
                path=str(part.absolute()),
                bytes=part.stat().st_size,
                sha256=session.ledger.sha256(part),
            )
            for part in asked.model.parts
        ),
        settings=asked.settings, mode=asked.mode, thinks=asked.thinks,
        items=tuple(bare(items[place]) for place in places), places=tuple(places),
        memory_bytes=placement.ram.needed_bytes if on_cards else fit.total_bytes,
        n_accelerators=len(on_cards),
        engine=server_build(), language=current_language(),
    )  # fmt: skip


def _cut(whole: Job, n_at_a_time: int, *, in_order: bool) -> Iterator[Job]:
    """Jobs of about the same length for all that run at a time. Every so manyth task goes into
    one, so that each has tasks of all kinds; `in_order` one has those that follow each other.
    """
    n_tasks = min(MOST_TASKS, ceil(len(whole.items) / n_at_a_time))
    n_jobs = ceil(len(whole.items) / n_tasks)
    for i in range(n_jobs):
        part = slice(i * n_tasks, (i + 1) * n_tasks) if in_order else slice(i, None, n_jobs)
        yield replace(whole, items=whole.items[part], places=whole.places[part])


def _first(answers: Sequence[Answer | None]) -> list[Answer]:
    """Those before the first task without an answer."""
    n = answers.index(None) if None in answers else len(answers)
    return [answer for answer in answers[:n] if answer]


class _Heard:
    """The answers of all models, and who needs not answer more."""

    def __init__(self, answers: Sequence[list[Answer | None]], enough: Enough | None) -> None:
        self.answers, self.enough = answers, enough  # None: not answered yet
        self.settled = set[int]()
        self.look()

    def look(self) -> set[int]:
        """Ask whether somebody needs not answer more. Returns who is new among those."""
        if self.enough is None:
            return set()
        new = set(self.enough([*map(_first, self.answers)])) - self.settled
        self.settled |= new
        return new

    def open_places(self, who: int) -> list[int]:
        """The tasks that this model has still to answer."""
        if who in self.settled:
            return []
        return [place for place, answer in enumerate(self.answers[who]) if answer is None]

    @property
    def n_spared(self) -> int:
        """Tasks that need no answer."""
        return sum(self.answers[who].count(None) for who in self.settled)


class _Round:
    """Jobs on their way, and what is left of each."""

    def __init__(
        self,
        session: Session,
        elsewhere: Elsewhere,
        heard: _Heard,
        failed: dict[int, HakaruError],
        n_at_once: int,
    ) -> None:
        self.session, self.elsewhere, self.heard = session, elsewhere, heard
        self.failed = failed  # by the place of the model
        self.n_at_once = n_at_once  # jobs that are submitted at the same time
        self.waiting = deque[int]()  # numbers of jobs that are not submitted yet
        self.left: dict[int, Job] = {}  # by number: the job with the tasks that are still open
        self.losses: dict[int, int] = {}  # by number: since the last answer
        self.by_host = Counter[str]()  # answers of each machine

    def run(self, jobs: Sequence[Job]) -> None:
        """Have the jobs run, and keep what they answer."""
        watch = last_step(self.session, may_end_early=self.heard.enough is not None).watch
        self.left = {job.number: job for job in jobs}
        self.waiting.extend(self.left)
        self._submit()
        watch(step := say("tasks answered on the cluster"), *self._progress())
        for news in self.elsewhere.listen():
            match news:
                case Answered():
                    self._keep(news)
                case Ended():
                    pass  # its last answer has told so
                case Lost():
                    self._again(news)
                case Failed(number=number, error=error):
                    self._give_up(number, error)
            self._submit()
            watch(step, *self._progress())
        if self.by_host:
            counts = [f"{name} ({n})" for name, n in self.by_host.items()]
            self.session.note(say("Tasks answered by: {counts}.", counts=listed(counts)))
        if n := self.heard.n_spared:
            self.session.note(say("Tasks that needed no answer: {n}.", n=n))

    def _submit(self) -> None:
        """Let as many of the waiting jobs run as may."""
        while self.waiting and len(self.left) - len(self.waiting) < self.n_at_once:
            self.elsewhere.submit(self.left[self.waiting.popleft()])

    def _progress(self) -> tuple[int, int]:
        """Tasks that are answered, and all of them that need an answer."""
        n_all = sum(map(len, self.heard.answers)) - self.heard.n_spared
        return n_all - sum(len(job.items) for job in self.left.values()), n_all

    def _keep(self, news: Answered) -> None:
        if not (job := self.left.get(news.number)):
            return
        item, place = job.items[0], job.places[0]
        keep_answer(
            self.session.ledger,
            answer_key(job.sha256, [item], job.settings, job.mode, thinks=job.thinks),
            news.answer,
            on=news.on,
        )
        self.heard.answers[job.who][place] = news.answer
        self.left[news.number] = replace(job, items=job.items[1:], places=job.places[1:])
        if not job.items[1:]:
            del self.left[news.number]
        self.losses[news.number] = 0
        self.by_host[str(news.on["host"])] += 1
        for who in self.heard.look():
            self._drop(who)

    def _again(self, news: Lost) -> None:
        """Have a lost job run again, with what it had not answered."""
        if not (job := self.left.get(news.number)):
            return
        self.losses[job.number] = n_lost = self.losses.get(job.number, 0) + 1
        if n_lost < MOST_LOSSES:
            lost = say(
                "a job was lost and runs again with the {n} tasks that are left ({reason})",
                n=len(job.items),
                reason=news.reason,
            )
            self.session.warn(lost)
            self.elsewhere.submit(job)
            return
        self._give_up(
            job.number,
            MachineError(
                "{path}: its tasks were lost {n} times on end without an answer, the last time "
                "since {reason}; what was answered is kept, and the same command goes on there.",
                path=job.files[0].path,
                n=n_lost,
                reason=news.reason,
            ),
        )

    def _give_up(self, number: int, error: HakaruError) -> None:
        """The model of this job is asked no more."""
        if not (job := self.left.get(number)):
            return
        self.failed[job.who] = error
        self._drop(job.who)

    def _drop(self, who: int) -> None:
        """Ask this model no more."""
        numbers = [number for number, job in self.left.items() if job.who == who]
        for number in numbers:
            del self.left[number]
        self.waiting = deque(number for number in self.waiting if number in self.left)
        self.elsewhere.drop(numbers)
