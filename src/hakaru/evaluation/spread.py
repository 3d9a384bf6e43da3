"""Tasks answered on other machines, with the ledger of this one.

What a model has not answered yet is cut into jobs: one model file, its settings, and some of the
tasks. Whoever runs the jobs (`Elsewhere`; `over_ray` is one) sends back each answer as it comes, as
a value, and the ledger is written here alone. A job that was lost runs again with the tasks that it
had not answered. Afterwards a test or a race goes its usual way and finds every answer in the
ledger: figures and decision are made by the same code from the same rows.

Right answers and tests of code stay here: a job has the prompts. Speeds are never measured
elsewhere, since a speed belongs to its machine.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
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
) -> dict[int, HakaruError]:
    """Have every model answer all tasks elsewhere that the ledger does not have. Returns why models
    could not, by their places in `everyone`; the answers of those that could are in the ledger.

    `connect` is called where something is left to ask, and left when all was answered.
    """
    left = [_unanswered(session, asked, items) for asked in everyone]
    if not any(left):
        return {}
    with connect() as elsewhere:
        jobs, failed = list[Job](), dict[int, HakaruError]()
        for who, asked in enumerate(everyone):
            if not left[who]:
                continue
            whole = _job(session, who, asked, left[who])
            try:
                jobs += _cut(whole, elsewhere.admit(whole))
            except HakaruError as error:
                failed[who] = error
        numbered = [replace(job, number=number) for number, job in enumerate(jobs)]
        _Round(session, elsewhere, failed).run(numbered, n_tasks=len(items) * len(everyone))
    return failed


def bare(item: Item) -> Item:
    """The task without what judges its answer."""
    check = Check(kind=item.check.kind, letters=item.check.letters)
    return Item(
        id=item.id, domain=item.domain, prompt=item.prompt, check=check, max_tokens=item.max_tokens
    )


def _unanswered(session: Session, asked: Respondent, items: Sequence[Item]) -> list[Item]:
    sha256 = session.ledger.model_sha256(asked.model)
    keys = [
        answer_key(sha256, [item], asked.settings, asked.mode, thinks=asked.thinks)
        for item in items
    ]
    kept = [session.ledger.recall(*key) is not None for key in keys]
    return [item for item, is_kept in zip(items, kept, strict=True) if not is_kept]


def _job(session: Session, who: int, asked: Respondent, items: Sequence[Item]) -> Job:
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
        items=tuple(map(bare, items)),
        memory_bytes=placement.ram.needed_bytes if on_cards else fit.total_bytes,
        n_accelerators=len(on_cards),
        engine=server_build(), language=current_language(),
    )  # fmt: skip


def _cut(whole: Job, n_at_a_time: int) -> Iterator[Job]:
    """Jobs of about the same length for all that run at a time. Every so manyth task goes into
    one, so that each has tasks of all kinds.
    """
    n_tasks = min(MOST_TASKS, ceil(len(whole.items) / n_at_a_time))
    n_jobs = ceil(len(whole.items) / n_tasks)
    for first in range(n_jobs):
        yield replace(whole, items=whole.items[first::n_jobs])


class _Round:
    """Jobs on their way, and what is left of each."""

    def __init__(
        self, session: Session, elsewhere: Elsewhere, failed: dict[int, HakaruError]
    ) -> None:
        self.session, self.elsewhere = session, elsewhere
        self.failed = failed  # by the place of the model
        self.left: dict[int, Job] = {}  # by number: the job with the tasks that are still open
        self.losses: dict[int, int] = {}  # by number: since the last answer
        self.by_host = Counter[str]()  # answers of each machine

    def run(self, jobs: Sequence[Job], *, n_tasks: int) -> None:
        """Have the jobs run, and keep what they answer."""
        watch = last_step(self.session).watch
        for job in jobs:
            self.left[job.number] = job
            self.elsewhere.submit(job)
        watch(step := say("tasks answered on the cluster"), n_tasks - self._n_left(), n_tasks)
        for news in self.elsewhere.listen():
            match news:
                case Answered():
                    self._keep(news)
                case Ended(number=number):
                    self.left.pop(number, None)
                case Lost():
                    self._again(news)
                case Failed(number=number, error=error):
                    self._give_up(number, error)
            watch(step, n_tasks - self._n_left(), n_tasks)
        if self.by_host:
            counts = [f"{name} ({n})" for name, n in self.by_host.items()]
            self.session.note(say("Tasks answered by: {counts}.", counts=listed(counts)))

    def _n_left(self) -> int:
        return sum(len(job.items) for job in self.left.values())

    def _keep(self, news: Answered) -> None:
        if not (job := self.left.get(news.number)):
            return
        item, *rest = job.items
        keep_answer(
            self.session.ledger,
            answer_key(job.sha256, [item], job.settings, job.mode, thinks=job.thinks),
            news.answer,
            on=news.on,
        )
        self.left[news.number] = replace(job, items=tuple(rest))
        self.losses[news.number] = 0
        self.by_host[str(news.on["host"])] += 1

    def _again(self, news: Lost) -> None:
        """Have a lost job run again, with what it had not answered."""
        if not (job := self.left.get(news.number)) or not job.items:
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
        others = [n for n, other in self.left.items() if other.who == job.who]
        for n in others:
            del self.left[n]
        self.elsewhere.drop(others)
