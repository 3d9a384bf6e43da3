"""The console script, and `python -m hakaru`. The two faces meet only here: the command line is
told how to make the pages. A process begins and ends here, and whenever Ctrl-C comes, it shows no
traceback.
"""

import atexit
import gc
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from hakaru.evaluation.tiers import Tier
    from hakaru.serving.serve_at import Elsewhere, Loaded
    from hakaru.serving.serve_several import Several
    from hakaru.web.live import LivePage


RARELY: Final = (50_000, 20, 20)
"""When the collector of cycles looks: a command makes hundreds of thousands of small values that
live to its end, and looking through them again and again takes a tenth of its time.
"""

A_MOMENT_S: Final = 0.01


def main() -> None:
    """Run the command line: one sentence instead of a traceback, and the exit code of the error."""
    gc.set_threshold(*RARELY)
    early, words = None, sys.argv[1:]
    try:
        sys.unraisablehook = _not_lost
        if words[:1] == ["serve"]:
            from hakaru.engine.early import EarlyEngine

            signal.signal(signal.SIGTERM, signal.default_int_handler)  # until `run` has its own
            early = EarlyEngine(words)
            early.begin()
        from hakaru.cli import run  # an import can be interrupted, too

        code = run(words, pages=_pages, live=_live, early=early)
    except KeyboardInterrupt:  # once more, while the first was being told
        code = 130
    if early:
        early.end()
    _leave(code)


def _not_lost(unraisable: "sys.UnraisableHookArgs") -> None:
    """Ctrl-C or SIGTERM in the middle of a destructor, where Python drops exceptions, comes again a
    moment later: raised here it would be dropped, too.
    """
    kind = unraisable.exc_type
    if not issubclass(kind, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)
        return

    def again(*_: object) -> None:
        raise kind

    signal.signal(signal.SIGALRM, again)
    signal.setitimer(signal.ITIMER_REAL, A_MOMENT_S)


def _leave(code: int) -> None:
    """End the process with what is registered for its end, but without waiting for threads, or for
    one more Ctrl-C.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _pages(what: "Loaded | Several | Elsewhere") -> "Sequence[BaseRoute]":
    from functools import partial

    from hakaru.cli.paste import runnable
    from hakaru.web.page import page_routes

    return page_routes(what, runnable=partial(runnable, here=False))


def _live(title: str, tier: "Tier") -> "LivePage":
    from hakaru.web.live import LivePage

    return LivePage(title, tier)


if __name__ == "__main__":
    main()
