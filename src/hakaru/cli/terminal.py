"""The session of a command: what it has to say while it works goes to the terminal."""

from hakaru.cli.output import print_aside, print_text, warn
from hakaru.hardware.machine import Machine
from hakaru.session import Session, Watch, nobody_listens, nobody_watches


def terminal_session(
    machine: Machine | None = None,
    watch: Watch = nobody_watches,
    *,
    quiet: bool = False,
    aside: bool = False,
    keeps: bool = True,
) -> Session:
    """A session whose notes stand on stdout and whose warnings on stderr.

    `quiet` leaves the notes out, for commands whose stdout is one JSON object; `aside` puts them on
    stderr, for commands whose stdout is a conversation. `keeps` is that
    of `Session.here`.
    """
    note = print_aside if aside else nobody_listens if quiet else print_text
    return Session.here(machine=machine, watch=watch, note=note, warn=warn, keeps=keeps)
