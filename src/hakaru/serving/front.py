"""The HTTP server in front: uvicorn, which ends when it is told to.

A person who stops a server waits for its end, and an answer may take minutes. So the engine ends
first: every answer on its way then ends with an error that says why. The front ends after the
engine, in well under a second.
"""

import asyncio
import socket
from typing import Final

import uvicorn
from starlette.applications import Starlette

from hakaru.serving.supervisor import Supervisor

LAST_WORDS_WITHIN_S: Final = 0.3  # the longest wait for a client that does not read


class Front(uvicorn.Server):
    """uvicorn for `gateway`, which stops the engine of `supervisor` before itself. It runs in a
    thread, so the signals of the process are not its business.
    """

    def __init__(self, gateway: Starlette, supervisor: Supervisor) -> None:
        super().__init__(
            uvicorn.Config(
                gateway, log_level="critical", access_log=False, timeout_graceful_shutdown=0
            )
        )
        self._supervisor = supervisor

    def leave(self) -> None:
        """Ask the server to end. `run` returns soon."""
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the engine, give its last words a moment to leave, and close everything."""
        await asyncio.to_thread(self._supervisor.stop)
        if tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=LAST_WORDS_WITHIN_S)
        await super().shutdown(sockets)
