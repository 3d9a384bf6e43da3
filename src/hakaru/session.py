"""A session: the machine, the ledger, the engine's lab and whoever watches, made once for one
command.

Every verb of hakaru is a function over a `Session`. The command line makes one with `Session.here`,
a program that imports hakaru may make one with a ledger or a lab of its own:

    Session(machine=probe_machine(), ledger=Ledger(Path("figures.sqlite")))

A session is a value. Making one with `Session(...)` reads nothing of the machine and starts no
process.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from hakaru.engine.lab import Lab
from hakaru.hardware.machine import Machine
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger

Watch = Callable[[str, int, int], None]
"""What is told of progress: the name of a step, how many of its parts are done, and how many there
are.
"""


def nobody_watches(step: str, done: int, total: int) -> None:
    """The watch of callers without a screen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Everything that a verb needs besides what it is asked."""

    machine: Machine  # where models are placed, and whose speeds are measured
    ledger: Ledger  # what was measured before, and where new figures go
    lab: Lab = field(default_factory=Lab)  # llama.cpp for dry runs, quantizing and comparing
    watch: Watch = nobody_watches

    @classmethod
    def here(
        cls, *, machine: Machine | None = None, watch: Watch = nobody_watches, keeps: bool = True
    ) -> "Session":
        """A session on this machine, with the ledger in the data directory.

        `machine` is what `probe_machine` returned, where the command looked before; None looks now.
        `keeps` False is for commands that only ask: a ledger that cannot be written is then no
        error (see `Ledger`). Raises MachineError for a ledger that cannot be opened.
        """
        return cls(
            machine=machine or probe_machine(), ledger=Ledger(watch=watch, keeps=keeps), watch=watch
        )
