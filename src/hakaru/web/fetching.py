"""One model at a time onto this disk, for the page: as `hakaru pull` fetches it, in a thread.

What was interrupted goes on where it was when the same model is fetched again. The memory is judged
as if nothing of this server were loaded, as in the rows from which the person chose.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from contextvars import copy_context
from typing import Literal, NoReturn

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import HakaruError
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.pulling.download import Download
from hakaru.pulling.pull import Pulled, pull
from hakaru.servers import promised_bytes, running
from hakaru.session import Session

State = Literal["none", "fetching", "stopping", "asks", "done", "failed", "stopped"]
Pull = Callable[..., Pulled]
"""`pull`, or what stands for it."""


class Stand(Struct, frozen=True, kw_only=True):
    """How far it is."""

    state: State = "none"
    model: str = ""
    step: str = ""  # what is done, in the language of who began it
    done: int = 0  # parts of the step
    total: int = 0
    ends_at: float | None = None  # by the monotonic clock; None: not known yet
    note: str = ""  # the last thing that a person should know
    places: tuple[str, ...] = ()  # where it is published, if that is the question
    pulled: Pulled | None = None
    error: HakaruError | None = None


class _Asked(Exception):
    """The name has several places."""

    def __init__(self, places: Sequence[str]) -> None:
        super().__init__()
        self.places = tuple(places)


class Fetching:
    """What is being fetched, or was fetched last."""

    def __init__(self, machine: Machine, pull: Pull = pull) -> None:
        self.now = Stand()
        self._machine, self._pull = machine, pull
        self._stop, self._lock = threading.Event(), threading.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether another model has to wait."""
        return self.now.state in {"fetching", "stopping"}

    def start(self, model: str) -> bool:
        """Begin; False if another model is being fetched. Sentences are told in the language in
        use.
        """
        with self._lock:
            if self.is_busy:
                return False
            self._stop.clear()
            self.now = Stand(state="fetching", model=model)
        context = copy_context()
        threading.Thread(target=context.run, args=(self._run, model), daemon=True).start()
        return True

    def stop(self) -> None:
        """End it soon; what came is kept."""
        with self._lock:
            if self.now.state == "fetching":
                self._stop.set()
                self.now = replace(self.now, state="stopping")

    def _run(self, model: str) -> None:
        told: dict[str, object] = {"state": "failed"}
        try:
            with closing(Ledger(keeps=False)) as ledger:
                pulled = self._pull(model, ask=_ask, hear=self._hear, session=self._session(ledger))
            told = {"state": "done", "pulled": pulled}
        except _Asked as question:
            told = {"state": "asks", "places": question.places}
        except HakaruError as error:
            told = {"state": "failed", "error": error}
        except KeyboardInterrupt:  # raised by `_goes_on`
            told = {"state": "stopped"}
        finally:
            with self._lock:
                self.now = replace(self.now, **told)

    def _session(self, ledger: Ledger) -> Session:
        return Session(
            machine=self._machine, look=_without_us, ledger=ledger, watch=self._watch,
            foresee=self._foresee, note=self._note, warn=self._note,
        )  # fmt: skip

    def _goes_on(self, **told: object) -> None:
        """Keep what is told. Raises KeyboardInterrupt, which `pull` knows as the wish to stop."""
        if self._stop.is_set():
            raise KeyboardInterrupt
        with self._lock:
            self.now = replace(self.now, **told)

    def _hear(self, download: Download) -> None:
        self._goes_on()

    def _watch(self, step: str, done: int, total: int) -> None:
        self._goes_on(step=step, done=done, total=total)

    def _foresee(self, least_s: float, most_s: float) -> None:
        self._goes_on(ends_at=time.monotonic() + most_s)

    def _note(self, sentence: str) -> None:
        self._goes_on(note=sentence)


def _ask(question: str, places: Sequence[str]) -> NoReturn:
    raise _Asked(places)


def _without_us() -> Machine:
    """The machine with the memory that is free now, and what this server was promised."""
    machine = probe_machine()
    ours = sum(promised_bytes(server) for server in running() if server.pid == os.getpid())
    available = machine.memory.available_bytes + ours
    return replace(machine, memory=replace(machine.memory, available_bytes=available))
