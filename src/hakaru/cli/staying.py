"""How a command that serves stays until Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Final

from hakaru.cli.output import print_aside, print_text
from hakaru.cli.tell.serve import draining, greeting, ways_on
from hakaru.errors import Terminated
from hakaru.language import say
from hakaru.serving.serve_at import Serving

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
    with _ended_once(), served as serving, suppress(KeyboardInterrupt):
        tell(greeting(serving))
        for line in ways_on(serving, source, has_pages=has_pages):
            tell(line)
        if not serving.is_new:
            return 0
        try:
            serving.wait()
        except Terminated:
            if drain_s and (n := serving.n_answering):
                tell(draining(n, drain_s))
                serving.drain(drain_s)
    tell(say("Stopped."))
    return 0


@contextmanager
def _ended_once() -> Iterator[None]:
    """The first Ctrl-C or SIGTERM in the block does what it always does. Those that follow change
    nothing: what runs is being stopped already. But a second signal after SIGTERM cuts off the
    answers that are waited for.
    """
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def heard(following: Any, number: int, frame: FrameType | None) -> None:
        for other in before:
            signal.signal(other, following)
        handler = before[signal.Signals(number)]
        assert callable(handler)
        handler(number, frame)

    last = partial(heard, signal.SIG_IGN)

    def first(number: int, frame: FrameType | None) -> None:
        heard(last if number == signal.SIGTERM else signal.SIG_IGN, number, frame)

    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, first)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
