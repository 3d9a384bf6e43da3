"""The backends of one gateway: each request goes to one that has its model, and to a second one
where the first gave nothing of an answer.

A request is asked again only while its client has not been sent a byte. Where nobody listened, or a
backend had no place free, any other one may be asked: that one did nothing. Where a backend heard
the request and then failed, one more is asked and no third, since the request itself may be what
ends them; and none where the request does more than to be answered (`keeps_something`).
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.requests import Request
from starlette.responses import Response

from hakaru.errors import EngineDied
from hakaru.serving.backend import Backend
from hakaru.serving.engine_client import EngineLost, NobodyListens
from hakaru.serving.forwarding import HELD_S, Relayed
from hakaru.serving.log_file import LogFile
from hakaru.serving.prompt_places import Load, PromptPlaces, beginnings_of, chosen
from hakaru.serving.refusals import error_response

MOST_HEARD: Final = 2
"""Backends that may hear one request and fail."""
LOOK_S: Final = 0.05
OF_OUR_OWN: Final = frozenset({"function", "custom", None})
"""Kinds of tools that the client calls, and not the server."""


class BackendPool:
    """The backends in the order in which they were named."""

    def __init__(self, backends: Sequence[Backend], log: LogFile) -> None:
        self.all, self._log = tuple(backends), log
        self._places = PromptPlaces()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = False

    def named(self, name: str) -> Backend | None:
        """The backend at this URL."""
        return next((one for one in self.all if one.name == name), None)

    def having(self, model: str | None) -> list[Backend]:
        """Those that have this model; None: any."""
        return [one for one in self.all if model is None or model in one.told.names]

    async def forward(
        self, request: Request, body: bytes, model: str | None, *, only_llama_cpp: bool = False
    ) -> Response:
        """The answer of a backend that has `model`, or why there is none."""
        able = [one for one in self.having(model) if one.told.is_llama_cpp or not only_llama_cpp]
        answer = await self._asked_in_turn(request, body, able, beginnings_of(model, body))
        if answer.status_code >= 400:
            self._log.gateway(f"{request.method} {request.url.path}: {answer.status_code}")
        return answer

    async def _asked_in_turn(
        self, request: Request, body: bytes, able: list[Backend], beginnings: Any
    ) -> Response:
        n_heard, answer, left = 0, _nobody(able), able
        while n_heard < MOST_HEARD and left:
            backend = await self._next(left, self._places.known(beginnings), waits=left == able)
            if backend is None:
                break
            left = [one for one in left if one is not backend]
            self._places.remember(beginnings, backend.name)
            backend.n_asked += 1
            try:
                answer = await backend.engine.attempt(request, body)
            except NobodyListens as error:
                backend.lose(str(error))
                answer = _lost(backend, error)
                continue
            except EngineLost as error:
                answer = _lost(backend, error)
            except EngineDied:
                return error_response(503, "the server was stopped", "server_stopped")
            if isinstance(answer, Relayed) or answer.status_code not in AGAIN:
                return answer
            if answer.status_code != FULL:
                n_heard += 1
                if keeps_something(body):
                    break
        return answer

    async def _next(self, left: list[Backend], knows: str | None, *, waits: bool) -> Backend | None:
        """The backend to ask, after a wait where none can be asked now and one may come back."""
        until = time.monotonic() + (HELD_S if waits else 0.0)
        while not (ready := [b for b in left if b.state == "ready" and not b.is_draining]):
            if time.monotonic() >= until or self._stopped:
                return None
            await asyncio.sleep(LOOK_S)
        loads = [Load(b.name, b.engine.in_flight.n, b.n_slots, b.n_asked) for b in ready]
        name = chosen(loads, knows)
        return next(one for one in ready if one.name == name)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """A block in which each backend is asked now and then whether it answers."""
        self._loop = asyncio.get_running_loop()
        watches = [asyncio.create_task(backend.watch()) for backend in self.all]
        try:
            yield
        finally:
            for watch in watches:
                watch.cancel()

    def stop(self) -> None:
        """End what is on its way to the backends; they go on."""
        self._stopped = True
        if self._loop and not self._loop.is_closed():
            for backend in self.all:
                self._loop.call_soon_threadsafe(backend.stop)


FULL: Final = 429
AGAIN: Final = frozenset({FULL, 500, 502, 503, 504})
"""Answers for which another backend may be asked."""


class _Tool(Struct):
    type: str | None = None


class _Doing(Struct):
    """A request, as far as it says that it does more than to be answered."""

    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    mcp_servers: Any = None
    tools: list[_Tool] | None = None


def keeps_something(body: bytes) -> bool:
    """Whether the server is told to keep the answer, to go on without the client, or to use tools
    by itself: asked twice, it might do that twice.
    """
    try:
        doing = msgspec.json.decode(body, type=_Doing)
    except (msgspec.MsgspecError, RecursionError):
        return True  # nobody knows
    kinds = {tool.type for tool in doing.tools or ()}
    return bool(
        doing.store
        or doing.background
        or doing.previous_response_id
        or doing.conversation
        or doing.mcp_servers
        or kinds - OF_OUR_OWN
    )


def _lost(backend: Backend, error: EngineLost) -> Response:
    backend.failed()
    message = f"the backend ended before it answered ({error}); try again"
    return error_response(503, message, "backend_lost")


def _nobody(able: Sequence[Backend]) -> Response:
    n = len(able)
    message = f"none of the {n} backends with this model answers now; try again"
    return error_response(503, message, "no_backend")
