"""A request's way to the engine, and the way of its answer back.

Errors of the engine become OpenAI's form, and a stream that breaks ends with an error event, never
in silence. While the engine is being started again, a request waits for it some seconds.
"""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final

import httpx
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from hakaru.engine.server import NO_KEEPALIVE
from hakaru.errors import EngineDied
from hakaru.serving.intake import Intake, Refused
from hakaru.serving.limits import Limits
from hakaru.serving.refusals import error_fields, error_response
from hakaru.serving.supervisor import Supervisor

LOOK_FOR_CLIENT_S: Final = 0.25
HELD_S: Final = 10.0
"""The longest wait for an engine that is being started again; a small model is back after 0.5 to
3.8 s.
"""
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
    restarted engine has another socket.
    """

    def __init__(self, supervisor: Supervisor, limits: Limits) -> None:
        self._supervisor, self._intake = supervisor, Intake(limits)
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def close(self) -> None:
        """Close all connections to engines."""
        for client in self._clients.values():
            await client.aclose()

    async def forward(self, request: Request) -> Response:
        """The engine's answer to `request`, or why there is none."""
        try:
            await self._ready()
            body, socket = await self._intake.body(request), self._socket
            try:
                return await self._answer(request, body)
            except httpx.ConnectError:  # the engine has just died: it heard nothing of the request
                await self._missed(socket)
                await self._ready()
                return await self._answer(request, body)
        except httpx.TransportError as error:
            return self._no_answer(error)
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
        return error_response(503, *_broken_off(self._supervisor, type(error).__name__))

    @property
    def _socket(self) -> str:
        """Where the engine listens now. Raises EngineDied where there is none."""
        return str(self._supervisor.server.socket)

    async def _missed(self, socket: str) -> None:
        """Return when the supervisor has missed the engine at `socket`, which has just died."""
        began = time.monotonic()
        while time.monotonic() - began < ALIVE_WITHIN_S and self._supervisor.state == "ready":
            if socket != self._socket:
                return
            await asyncio.sleep(LOOK_FOR_ENGINE_S)

    async def _ready(self) -> None:
        """Return when the engine is up, perhaps after a wait. Raises Refused."""
        began = time.monotonic()
        while self._supervisor.state == "loading" and time.monotonic() - began < HELD_S:
            await asyncio.sleep(LOOK_FOR_ENGINE_S)
        if (state := self._supervisor.state) != "ready":
            raise Refused(error_response(503, f"the model is {state}; try again", code="loading"))

    async def _answer(self, request: Request, body: bytes) -> Response:
        """The engine's answer. Raises Refused, and httpx.TransportError."""
        client = self._client()
        outgoing = client.build_request(
            request.method,
            request.url.path,
            content=body,
            headers={"content-type": request.headers.get("content-type", "")},
        )
        async with self._intake.admitted(client, request.url.path, body):
            answer = await _unless_gone(request, client.send(outgoing, stream=True))
        if answer is None:
            return Response(status_code=499)  # nobody reads it
        if answer.status_code >= 400:
            return _translated(answer.status_code, await answer.aread())
        headers = {k: v for k, v in answer.headers.items() if k.lower() in _KEPT_HEADERS}
        return StreamingResponse(_relayed(answer, self._supervisor), answer.status_code, headers)

    def _client(self) -> httpx.AsyncClient:
        socket = self._socket
        if socket not in self._clients:
            transport = httpx.AsyncHTTPTransport(uds=socket, limits=NO_KEEPALIVE)
            self._clients[socket] = httpx.AsyncClient(
                transport=transport, base_url="http://engine", timeout=None
            )
        return self._clients[socket]


async def _unless_gone(
    request: Request, sending: Coroutine[Any, Any, httpx.Response]
) -> httpx.Response | None:
    """The engine's answer. None if the client leaves before the answer comes; then the engine stops
    working on it.
    """
    task = asyncio.ensure_future(sending)
    try:
        while not (await asyncio.wait({task}, timeout=LOOK_FOR_CLIENT_S))[0]:
            if await request.is_disconnected():
                return None
        return task.result()
    finally:
        task.cancel()


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
    finally:
        await answer.aclose()


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
