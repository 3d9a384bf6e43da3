"""A request's way to the engine, and the way of its answer back.

Errors of the engine become OpenAI's form, and a stream that breaks ends with an error event, never
in silence. While the engine is being started again, a request waits for it some seconds.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Final, TypeVar

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hakaru.engine.server import NO_KEEPALIVE
from hakaru.errors import EngineDied
from hakaru.serving.in_flight import Full, InFlight, Visit
from hakaru.serving.intake import Intake, Refused
from hakaru.serving.limits import Limits
from hakaru.serving.refusals import error_fields, error_response
from hakaru.serving.supervisor import Supervisor

HELD_S: Final = 10.0
"""The longest wait for an engine that is being started again; a small model is back after 0.5 to
3.8 s.
"""
T = TypeVar("T")
COUNTING: Final = frozenset(
    {"/tokenize", "/detokenize", "/apply-template", "/v1/messages/count_tokens"}
)
"""What is posted and takes no turn of the engine's."""
LOOK_FOR_ENGINE_S: Final = 0.05
ALIVE_WITHIN_S: Final = 2.0
_KEPT_HEADERS: Final = frozenset({"content-type", "cache-control"})
TOO_LARGE: Final = re.compile(r"input .*too large to process", re.IGNORECASE)
"""How the engine refuses a text to embed or to rank that is longer than the context."""
AT_FAULT: Final = re.compile(
    r"compute error|invalid input batch|context size|failed to (?!parse )|std::bad_alloc"
    r"|.*\bmemory\b",
    re.IGNORECASE,
)
"""How the reasons begin for which the engine is at fault where it answers 500. With any other
reason it could not make sense of the request. Source: llama.cpp, tools/server/server-context.cpp.
"""


class Forwarding:
    """Requests to the engine that `supervisor` keeps: with one HTTP client per process, since a
    restarted engine has another socket. `queue` requests may wait for their turn. `log`
    hears what was refused, without its text.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        limits: Limits,
        *,
        queue: int | None = None,
        log: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.supervisor, self._intake, self._log = supervisor, Intake(limits), log
        self.in_flight = InFlight(supervisor.settings.n_parallel, queue)
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def close(self) -> None:
        """Close all connections to engines."""
        for client in self._clients.values():
            await client.aclose()

    async def forward(self, request: Request, body: bytes | None = None) -> Response:
        """The engine's answer to `request`, or why there is none. `body`: where it was read
        already.
        """
        visit = self.in_flight.enter() if request.method == "POST" else Visit(None)
        answer: Response | None = None
        try:
            answer = await self._tried(request, body, visit)
        finally:
            if not isinstance(answer, _Relayed):
                visit.leave()
        if answer.status_code >= 400:
            self._log(f"{request.method} {request.url.path}: {answer.status_code}")
        return answer

    async def _tried(self, request: Request, read: bytes | None, visit: Visit) -> Response:
        """The engine's answer, with which `visit` ends, or why there is none."""
        try:
            await self._ready()
            body = await self._intake.body(request) if read is None else read
            socket = self._socket
            try:
                return await self._answer(request, body, visit)
            except httpx.ConnectError:  # the engine has just died: it heard nothing of the request
                await self._missed(socket)
                await self._ready()
                return await self._answer(request, body, visit)
        except httpx.TransportError as error:
            return self._no_answer(error)
        except EngineDied:  # for good, after it was ready
            return self._not_ready()
        except Refused as refusal:
            return refusal.answer

    async def is_alive(self) -> bool:
        """Whether the engine answers now; one that was stopped or hangs does not."""
        try:
            client = self._client()
            return (await client.get("/health", timeout=ALIVE_WITHIN_S)).status_code == 200
        except (EngineDied, httpx.TransportError):
            return False

    async def models(self) -> list[dict[str, Any]]:
        """What the engine tells of its models. Raises Refused."""
        await self._ready()
        try:
            client = self._client()
            models: list[dict[str, Any]] = (await client.get("/v1/models")).json()["data"]
        except (EngineDied, httpx.TransportError) as error:
            raise Refused(self._no_answer(error)) from error
        return models

    def _no_answer(self, error: Exception) -> Response:
        return error_response(503, *_broken_off(self.supervisor, type(error).__name__))

    @property
    def _socket(self) -> str:
        """Where the engine listens now. Raises EngineDied where there is none."""
        return str(self.supervisor.server.socket)

    async def _missed(self, socket: str) -> None:
        """Return when the supervisor has missed the engine at `socket`, which has just died."""
        began = time.monotonic()
        while time.monotonic() - began < ALIVE_WITHIN_S and self.supervisor.state == "ready":
            if socket != self._socket:
                return
            await asyncio.sleep(LOOK_FOR_ENGINE_S)

    async def _ready(self) -> None:
        """Return when the engine is up, perhaps after a wait. Raises Refused."""
        began = time.monotonic()
        while self.supervisor.state == "loading" and time.monotonic() - began < HELD_S:
            await asyncio.sleep(LOOK_FOR_ENGINE_S)
        if self.supervisor.state != "ready":
            raise Refused(self._not_ready())

    def _not_ready(self) -> Response:
        message = f"the model is {self.supervisor.state}; try again"
        return error_response(503, message, code="loading")

    async def _answer(self, request: Request, body: bytes, visit: Visit) -> Response:
        """The engine's answer. Raises Refused, and httpx.TransportError."""
        client = self._client()
        outgoing = client.build_request(
            request.method,
            request.url.path,
            content=body,
            headers={"content-type": request.headers.get("content-type", "")},
        )
        async with self._intake.admitted(client, request.url.path, body):
            if request.url.path not in COUNTING:
                _take_place(visit)
            answer = await unless_gone(request, client.send(outgoing, stream=True))
        if answer is None:
            return Response(status_code=499)  # nobody reads it
        if answer.status_code >= 400:
            return _translated(answer.status_code, await answer.aread())
        headers = {k: v for k, v in answer.headers.items() if k.lower() in _KEPT_HEADERS}
        return _Relayed(answer, headers, self.supervisor, visit)

    def _client(self) -> httpx.AsyncClient:
        socket = self._socket
        if socket not in self._clients:
            transport = httpx.AsyncHTTPTransport(uds=socket, limits=NO_KEEPALIVE)
            self._clients[socket] = httpx.AsyncClient(
                transport=transport, base_url="http://engine", timeout=None
            )
        return self._clients[socket]


def _take_place(visit: Visit) -> None:
    """Take a place in the engine's queue. Raises Refused where all are taken."""
    try:
        visit.take_place()
    except Full as full:
        message = f"{full.n} requests are being answered or wait for their turn; try again later"
        refused = error_response(429, message, code="queue_full")
        refused.headers["retry-after"] = str(full.retry_after_s)
        raise Refused(refused) from full


async def unless_gone(request: Request, awaited: Coroutine[Any, Any, T]) -> T | None:
    """What is awaited, such as the engine's answer. None if the client of `request`, whose body is
    read, leaves before it comes; then it is cancelled, so that the engine stops working on it.
    """
    answer, left = asyncio.ensure_future(awaited), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        answer.cancel()
        left.cancel()


async def _left(request: Request) -> None:
    """Return when the client of `request`, whose body is read, leaves."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class _Relayed(StreamingResponse):
    """The engine's answer, which goes on to the client. With it `visit` ends, however it ends."""

    def __init__(
        self, answer: httpx.Response, headers: dict[str, str], supervisor: Supervisor, visit: Visit
    ) -> None:
        super().__init__(_relayed(answer, supervisor), answer.status_code, headers)
        self._answer, self._visit = answer, visit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_answered = False
        try:
            await super().__call__(scope, receive, send)
            is_answered = self._answer.is_stream_consumed
        finally:
            self._visit.leave(is_answered=is_answered)
            await self._answer.aclose()


def _broken_off(supervisor: Supervisor, how: str) -> tuple[str, str]:
    """Message and code for an answer that broke off."""
    if supervisor.state == "stopped":
        return "the server was stopped before the answer was done", "server_stopped"
    return (
        f"the engine ended in the middle of the answer ({how}); it is being restarted",
        "engine_died",
    )


async def _relayed(answer: httpx.Response, supervisor: Supervisor) -> AsyncIterator[bytes]:
    """The engine's answer, piece by piece; if it breaks off, an error event says so."""
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx.TransportError as broken:
        message, code = _broken_off(supervisor, type(broken).__name__)
        error = error_fields(503, message, code)
        yield f"data: {json.dumps({'error': error})}\n\n".encode()


def _translated(status: int, body: bytes) -> Response:
    """The engine's error in OpenAI's form; the error of a prompt that is too long has both
    numbers.
    """
    try:
        error = json.loads(body)["error"]
        message, kind = str(error["message"]), str(error.get("type", ""))
    except (ValueError, KeyError, TypeError):
        return error_response(
            status,
            body.decode(errors="replace")[:500] or "the engine gave no reason",
            code="engine_error",
        )
    if TOO_LARGE.match(message):
        return error_response(400, message, code="context_length_exceeded")
    if status == 500 and not AT_FAULT.match(message):
        return error_response(400, message, code="invalid_value")
    if kind == "exceed_context_size_error":
        numbers = {key: error[key] for key in ("n_prompt_tokens", "n_ctx") if key in error}
        return error_response(400, message, code="context_length_exceeded", **numbers)
    return error_response(status, message, code=kind or "engine_error")
