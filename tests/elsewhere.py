"""In the place of a cluster: jobs are done here, by an answer that is made up, and as many are lost
as a test wants.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from hakaru.errors import HakaruError, MachineError
from hakaru.evaluation.answers import Answer
from hakaru.evaluation.spread import Answered, Ended, Failed, Job, Lost, News

Ask = Callable[[str, str], str]
"""What a model, by the name of its file, answers to the prompt of a task."""


class Helpers:
    """Does jobs in turns, one task of each. Every `loses`-th turn a job is lost, but none twice
    without an answer in between; with `loses` 1 all are lost.
    """

    def __init__(
        self,
        ask: Ask,
        *,
        n_at_a_time: int = 2,
        loses: int = 0,
        refuses: dict[str, HakaruError] | None = None,
        breaks: dict[str, HakaruError] | None = None,
        gives_up: dict[str, int] | None = None,
    ) -> None:
        self.ask, self.n_at_a_time, self.loses = ask, n_at_a_time, loses
        self.refuses = refuses or {}  # models, by the names of their files, that are not admitted
        self.breaks = breaks or {}  # models that are admitted and cannot be run
        self.gives_up = gives_up or {}  # after how many answers a model fails
        self.submitted = list[Job]()
        self.asked = list[tuple[str, str]]()
        self._running = deque[Job]()

    @contextmanager
    def connected(self) -> Iterator["Helpers"]:
        """What `spread` connects with."""
        yield self

    def admit(self, job: Job) -> int:
        if error := self.refuses.get(name_of(job)):
            raise error
        return self.n_at_a_time

    def submit(self, job: Job) -> None:
        self.submitted.append(job)
        self._running.append(job)

    def drop(self, numbers: Sequence[int]) -> None:
        self._running = deque(job for job in self._running if job.number not in numbers)

    def listen(self) -> Iterator[News]:
        places, turn, lost = dict[int, int](), 0, set[int]()
        while self._running:
            job, turn = self._running.popleft(), turn + 1
            place = places.get(id(job), 0)
            n_answered = sum(name == name_of(job) for name, _ in self.asked)
            if error := self.breaks.get(name_of(job)):
                yield Failed(number=job.number, error=error)
            elif n_answered == self.gives_up.get(name_of(job)):
                yield Failed(number=job.number, error=MachineError("gave up"))
            elif self.loses == 1 or (
                self.loses and turn % self.loses == 0 and job.number not in lost
            ):
                lost.add(job.number)
                yield Lost(number=job.number, reason="the node died")
            elif place == len(job.items):
                yield Ended(number=job.number)
            else:
                places[id(job)] = place + 1
                lost.discard(job.number)
                self._running.append(job)
                prompt = job.items[place].prompt
                self.asked.append((name_of(job), prompt))
                answer = Answer(self.ask(name_of(job), prompt), False)
                yield Answered(number=job.number, answer=answer, on={"host": f"n{turn % 2}"})


def name_of(job: Job) -> str:
    """The name of the model's file."""
    return job.files[0].path.rpartition("/")[2]
