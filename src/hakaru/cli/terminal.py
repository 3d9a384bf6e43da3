"""The session of a command: what it has to say while it works goes to the terminal."""

from hakaru.cli.output import print_aside, print_text, warn
from hakaru.cli.progress import Watching
from hakaru.engine.early import EarlyEngine
from hakaru.hardware.machine import Machine
from hakaru.session import Session, nobody_listens, nobody_waits, nobody_watches


def terminal_session(
    machine: Machine | None = None,
    watching: Watching | None = None,
    *,
    quiet: bool = False,
    aside: bool = False,
    keeps: bool = True,
    early: EarlyEngine | None = None,
) -> Session:
    """A session whose progress `watching` shows, with its notes on stdout and its warnings on
    stderr.

    `quiet` leaves the notes out, for commands whose stdout is one JSON object; `aside` puts them on
    stderr, for commands whose stdout is a conversation. `keeps` and
    `early` are those of `Session.here`.
    """
    note = print_aside if aside else nobody_listens if quiet else print_text
    return Session.here(
        machine=machine,
        watch=watching or nobody_watches,
        foresee=watching.foresee if watching else nobody_waits,
        note=note,
        warn=warn,
        keeps=keeps,
        early=early,
    )
