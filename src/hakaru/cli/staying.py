"""How a command that serves stays until Ctrl-C."""

from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Final

from hakaru.cli.output import print_aside, print_text
from hakaru.cli.tell.serve import draining, greeting, ways_on
from hakaru.errors import HungUp, Terminated
from hakaru.language import say
from hakaru.serving.serve_at import Serving
from hakaru.signals import listen_again

DRAIN_S: Final = 10.0
"""How long answers on their way may go on after SIGTERM."""


def stay(
    served: AbstractContextManager[Serving],
    *,
    quiet: bool = False,
    has_pages: bool,
    source: Path | None = None,
    drain_s: float = DRAIN_S,
) -> int:
    """Serve until Ctrl-C, or say where the model is served already. With `quiet` stdout is left
    alone. `source` is the file that the served one was made from, if another. After SIGTERM the
    answers on their way have `drain_s` seconds.
    """

    tell = print_aside if quiet else print_text
    with served as serving, suppress(KeyboardInterrupt):
        try:
            tell(greeting(serving))
            for line in ways_on(serving, source, has_pages=has_pages):
                tell(line)
            if not serving.is_new:
                return 0
            serving.wait()
        except HungUp:
            return 0  # nobody reads any more
        except Terminated:
            if drain_s and (n := serving.n_answering):
                tell(draining(n, drain_s))
                listen_again()
                serving.drain(drain_s)
    tell(say("Stopped."))
    return 0
