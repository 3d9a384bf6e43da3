"""The end of a server that another process runs."""

import os
import signal
from collections.abc import Callable
from contextlib import suppress

import psutil

from hakaru.servers import Deployment

TELL_AFTER_S = 15.0
"""An end takes ten seconds by default, where answers are on their way."""


def end(server: Deployment, *, still_waiting: Callable[[], None]) -> None:
    """Ask the process of `server` to end, as SIGTERM does: the answers on their way have the time
    that it was started with. Returns when the process is gone; `still_waiting` is called once where
    that takes long.
    """
    if not server.is_alive:  # another process may have its number by now
        return
    process = psutil.Process(server.pid)
    with suppress(ProcessLookupError):
        os.kill(server.pid, signal.SIGTERM)
    try:
        process.wait(TELL_AFTER_S)
    except psutil.TimeoutExpired:
        still_waiting()
        process.wait()
