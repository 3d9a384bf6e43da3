"""The HTTP server in front: uvicorn, which ends when it is told to.

A person who stops a server waits for its end, and an answer may take minutes. So the engine ends
first: every answer on its way then ends with an error that says why. The front ends after the
engine, in well under a second. Whoever stops it may leave the answers on their way some time: then
no connection is accepted any more, and the engine ends after the last of them.
"""

import asyncio
import socket
import time
from pathlib import Path
from typing import Final, Protocol

import uvicorn
from starlette.applications import Starlette

from hakaru.serving.connections import Connection
from hakaru.serving.short_slice import take_short_slices

LAST_WORDS_WITHIN_S: Final = 0.3  # the longest wait for a client that does not read
LOOK_S: Final = 0.1  # between two looks whether the answers need not be waited for any more


class Engines(Protocol):
    """What keeps the engine, or several."""

    def stop(self) -> None:
        """End the engines for good."""


class Front(uvicorn.Server):
    """uvicorn for `gateway`, which stops its `engines` before itself. It runs in a
    thread, so the signals of the process are not its business.
    """

    def __init__(
        self, gateway: Starlette, engines: Engines, certificate: tuple[Path, Path] | None = None
    ) -> None:
        cert, key = certificate or (None, None)
        super().__init__(
            uvicorn.Config(
                gateway, http=Connection, ws="none", log_level="critical", access_log=False,
                timeout_graceful_shutdown=0, ssl_certfile=cert, ssl_keyfile=key,
            )
        )  # fmt: skip
        self.config.load()  # with what uvicorn imports at its start, while the engine still loads
        self.config.get_loop_factory()
        self._engines = engines
        self._within_s = 0.0

    @property
    def n_answering(self) -> int:
        """Requests that are being answered."""
        return len(self.server_state.tasks)

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer until it is told to leave, beside an engine that keeps every processor busy."""
        take_short_slices()
        super().run(sockets)

    def leave(self, within_s: float = 0.0) -> None:
        """Ask the server to end. `run` returns soon after the answers that are on their way, and
        cuts those that take longer than `within_s`.
        """
        self._within_s = within_s
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the answers end, as far as there is time; end the engine, give its last words a
        moment to leave, and close everything.
        """
        if self._within_s:
            await self._drained()
        await asyncio.to_thread(self._engines.stop)
        if tasks := set(self.server_state.tasks):
            await asyncio.wait(tasks, timeout=LAST_WORDS_WITHIN_S)
        await super().shutdown(sockets)

    async def _drained(self) -> None:
        """Return when nothing is being answered any more, or there is no time left."""
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()  # at once where nobody asks, else behind the answer
        began = time.monotonic()
        while self.server_state.tasks and time.monotonic() - began < self._within_s:
            await asyncio.wait(set(self.server_state.tasks), timeout=LOOK_S)
