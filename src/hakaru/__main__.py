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

from hakaru.signals import ENDING, INTERRUPTED, heeded

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from hakaru.engine.early import EarlyEngine
    from hakaru.evaluation.tiers import Tier
    from hakaru.serving.serve_at import Elsewhere, Loaded
    from hakaru.serving.serve_several import Several
    from hakaru.web.live import LivePage


RARELY: Final = (50_000, 20, 20)
"""When the collector of cycles looks: a command makes hundreds of thousands of small values that
live to its end, and looking through them again and again takes a tenth of its time.
"""


def main() -> None:
    """Run the command line: one sentence instead of a traceback, and the exit code of the error."""
    gc.set_threshold(*RARELY)
    early, words = None, sys.argv[1:]
    with heeded(*ENDING):
        try:
            if words[:1] == ["serve"]:
                from hakaru.engine.early import EarlyEngine

                early = EarlyEngine(words)
                early.begin()
            from hakaru.cli import run  # an import can be interrupted, too

            _leave(run(words, pages=_pages, live=_live, early=early), early)
        except KeyboardInterrupt:  # before the command began, or when it had ended
            _leave(INTERRUPTED, early)


def _leave(code: int, early: "EarlyEngine | None") -> None:
    """End the process with what is registered for its end, but without waiting for threads, or for
    one more Ctrl-C.
    """
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    if early:
        early.end()
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
