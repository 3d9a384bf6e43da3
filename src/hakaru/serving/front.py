"""The HTTP server in front: uvicorn, which ends when it is told to.

A person who stops a server waits for its end, and an answer may take minutes. So the engine ends
first: every answer on its way then ends with an error that says why. The front ends after the
engine, in well under a second.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Generator
from typing import Final

import uvicorn
from starlette.applications import Starlette

from hakaru.serving.supervisor import Supervisor

LAST_WORDS_WITHIN_S: Final = 0.3
"""So long the server waits for a client that does not read."""


class Front(uvicorn.Server):
    """uvicorn for `gateway`, which stops the engine of `supervisor` before itself."""

    def __init__(self, gateway: Starlette, supervisor: Supervisor) -> None:
        super().__init__(
            uvicorn.Config(
                gateway, log_level="critical", access_log=False, timeout_graceful_shutdown=0
            )
        )
        self._supervisor = supervisor

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """As uvicorn does; but Ctrl-C stays ignored where it was ignored, as behind a shell's
        `&`.
        """
        is_ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
        with super().capture_signals():
            if is_ignored:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
            yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the engine, give its last words a moment to leave, and close everything."""
        await asyncio.to_thread(self._supervisor.stop)
        if tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=LAST_WORDS_WITHIN_S)
        await super().shutdown(sockets)
