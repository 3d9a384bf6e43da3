"""A session: the machine, the ledger, the engine's lab and whoever watches, made once for one
command.

Every verb of hakaru is a function over a `Session`. The command line makes one with `Session.here`,
a program that imports hakaru may make one with a ledger or a lab of its own:

    Session(machine=probe_machine(), ledger=Ledger(Path("figures.sqlite")))

A session is a value. Making one with `Session(...)` reads nothing of the machine and starts no
process.
"""

from collections.abc import Callable
from time import monotonic

from msgspec import Struct, field
from msgspec.structs import replace

from hakaru.engine.early import EarlyEngine
from hakaru.engine.lab import Lab
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.ledger import Ledger

Watch = Callable[[str, int, int], None]
"""Called with progress: the name of a step, how many of its parts are done, and of how many."""

Foresee = Callable[[float, float], None]
"""Called with the seconds that the whole work still takes, present step included: at least about,
and at most about.
"""

Tell = Callable[[str], None]
"""Called with one sentence for a person."""


def nobody_watches(step: str, done: int, total: int) -> None:
    """The `watch` of callers without a screen."""


def nobody_waits(least_s: float, most_s: float) -> None:
    """The `foresee` of callers without a screen."""


def nobody_listens(sentence: str) -> None:
    """The `note` of callers who want the result alone."""


def log_warning(sentence: str) -> None:
    """The `warn` of a program that imports hakaru: the sentence goes to the logger `hakaru`."""
    import logging  # no command of hakaru needs it

    logging.getLogger("hakaru").warning(sentence)


class Session(Struct, frozen=True, kw_only=True):
    """Everything that a verb needs besides its arguments."""

    machine: Machine  # where models are placed, and whose speeds are measured
    look: Callable[[], Machine] | None = None  # reads the machine anew; None: `machine` holds
    ledger: Ledger  # what was measured before, and where new figures go
    lab: Lab = field(default_factory=Lab)  # llama.cpp for dry runs, quantizing and comparing
    early: EarlyEngine | None = None  # for the next server; it may run already
    watch: Watch = nobody_watches  # hears how far a step is
    foresee: Foresee = nobody_waits  # hears how long the whole work still takes
    note: Tell = nobody_listens  # hears what a person likes to know, such as the kind of the model
    warn: Tell = log_warning  # hears what a person should know, such as a GPU that is not used

    def machine_now(self) -> Machine:
        """The machine with the memory that is free now."""
        return self.look() if self.look else self.machine

    def warn_of_silence(self, machine: Machine) -> None:
        """Warn of each accelerator that is in `machine` and not planned with."""
        for sentence in machine.silence():
            self.warn(sentence)

    @classmethod
    def here(
        cls,
        *,
        machine: Machine | None = None,
        watch: Watch = nobody_watches,
        foresee: Foresee = nobody_waits,
        note: Tell = nobody_listens,
        warn: Tell = log_warning,
        keeps: bool = True,
        early: EarlyEngine | None = None,
    ) -> "Session":
        """A session on this machine, with the ledger in the data directory.

        `machine`: what `probe_machine` returned; None: it is called. `keeps` False is for verbs
        whose result is told or written elsewhere, such as `fit`, `test` and a preset: on a full
        disk and in a read-only home they do their work and warn that nothing is remembered. `early`
        is the engine that may have been started for the server of this session. Raises MachineError
        for a ledger that cannot be opened.
        """
        ledger = Ledger(watch=watch, keeps=keeps)
        if ledger.trouble:
            warn(say("nothing is remembered: {reason}", reason=ledger.trouble))

        def look() -> Machine:
            return early.as_before(probe_machine()) if early else probe_machine()

        return cls(
            machine=machine or look(),
            look=look,
            ledger=ledger,
            early=early,
            watch=watch,
            foresee=foresee,
            note=note,
            warn=warn,
        )


def last_step(
    session: Session,
    *,
    may_end_early: bool = False,
    n_behind: int = 0,
    clock: Callable[[], float] = monotonic,
) -> Session:
    """The session for the last long step of a work: what is left of the step, by its pace so far,
    is left of the whole. `may_end_early`: it is left at most. `n_behind`: parts of the same kind
    that another step still does.
    """
    begun: dict[str, tuple[float, int]] = {}  # by step: when it began, and with how many parts done

    def watch(step: str, done: int, total: int) -> None:
        began, before = begun.setdefault(step, (clock(), done))
        behind = n_behind if len(begun) == 1 else 0
        if done > before:
            pace = (clock() - began) / (done - before)
            least = behind if may_end_early else total - done + behind
            session.foresee(pace * least, pace * (total - done + behind))
        session.watch(step, done, total)

    return replace(session, watch=watch)
