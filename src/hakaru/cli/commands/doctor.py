"""`hakaru doctor`: what is installed, and how wrong the predictions were on this machine."""

from dataclasses import dataclass

from hakaru.cli.output import print_json
from hakaru.cli.tell.doctor import print_checkup
from hakaru.cli.terminal import terminal_session
from hakaru.planning.checkup import checkup


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """`hakaru doctor`."""

    json: bool


def run(options: DoctorOptions) -> int:
    """Print the state of hakaru here. Returns 6 if an engine is missing."""
    answer = checkup(terminal_session(keeps=False))
    if options.json:
        print_json(answer.as_json())
    else:
        print_checkup(answer)
    return 0 if answer.is_whole else 6
