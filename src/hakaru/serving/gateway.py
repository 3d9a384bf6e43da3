"""The gateway: a small front on loopback, before llama.cpp's server on its Unix socket.

It lets through the endpoints of the OpenAI API and nothing else, and only for `callers` that may
ask. It turns every error into `{"error": {message, type, param, code}}`, and answers 503 with
Retry-After while the engine comes up. A stream that breaks ends with an error event, never in
silence. Prompts are not logged.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from hakaru.engine.mode import Gives
from hakaru.engine.server import NO_KEEPALIVE
from hakaru.serving.callers import who_may_ask
from hakaru.serving.intake import Intake, Refused
from hakaru.serving.limits import Limits
from hakaru.serving.refusals import error_response
from hakaru.serving.supervisor import Supervisor

FORWARDED: Final = {"/v1/models": "GET", "/metrics": "GET"}
ANSWERED: Final[dict[Gives, tuple[str, ...]]] = {
    "text": ("/v1/chat/completions", "/v1/completions"),
    "embedding": ("/v1/embeddings",),
    "reranker": ("/v1/rerank",),
}
"""The endpoints of a model, by what it gives."""
LOOK_FOR_CLIENT_S: Final = 0.25
_KEPT_HEADERS: Final = frozenset({"content-type", "cache-control"})


def make_gateway(
    supervisor: Supervisor,
    limits: Limits,
    pages: Sequence[BaseRoute] = (),
    origins: Sequence[str] = (),
) -> Starlette:
    """The ASGI application in front of `supervisor`'s engine; `pages` are what a browser may see
    beside the API, `origins` the sites whose pages may use it.
    """
    client = _EngineClient(supervisor, limits)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await client.close()

    async def health(request: Request) -> Response:
        ready = supervisor.state == "ready"
        return JSONResponse(
            {"status": supervisor.state, "restarts": supervisor.restarts},
            status_code=200 if ready else 503,
        )

    async def no_answer(request: Request) -> Response:
        return error_response(
            400,
            f"this model cannot answer {request.url.path}: it gives {supervisor.mode.gives}; ask "
            f"{' or '.join(answered)}",
            code="unsupported",
        )

    answered = ANSWERED[supervisor.mode.gives]
    routes = [Route(path, client.forward, methods=[method]) for path, method in FORWARDED.items()]
    routes += [
        Route(path, client.forward if path in answered else no_answer, methods=["POST"])
        for paths in ANSWERED.values()
        for path in paths
    ]
    handlers: Any = {
        404: lambda request, error: error_response(
            404, f"there is no {request.url.path}", code="not_found"
        ),
        405: lambda request, error: error_response(
            405, f"{request.method} is not for {request.url.path}", code="method_not_allowed"
        ),
    }
    return Starlette(
        routes=[*routes, Route("/health", health), *pages],
        lifespan=lifespan,
        exception_handlers=handlers,
        middleware=who_may_ask(origins),
    )


class _EngineClient:
    """One HTTP client per engine process: a restarted engine has another socket."""

    def __init__(self, supervisor: Supervisor, limits: Limits) -> None:
        self._supervisor, self._intake = supervisor, Intake(limits)
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def forward(self, request: Request) -> Response:
        if self._supervisor.state != "ready":
            return error_response(
                503, f"the model is {self._supervisor.state}; try again", code="loading"
            )
        try:
            return await self._answer(request, await self._intake.body(request))
        except Refused as refusal:
            return refusal.answer

    async def _answer(self, request: Request, body: bytes) -> Response:
        """The engine's answer. Raises Refused."""
        client = self._client(str(self._supervisor.server.socket))
        outgoing = client.build_request(
            request.method,
            request.url.path,
            content=body,
            headers={"content-type": request.headers.get("content-type", "")},
        )
        try:
            async with self._intake.admitted(client, request.url.path, body):
                answer = await _unless_gone(request, client.send(outgoing, stream=True))
        except httpx.TransportError as error:
            return error_response(503, *_broken_off(self._supervisor, type(error).__name__))
        if answer is None:
            return Response(status_code=499)  # nobody reads it
        if answer.status_code >= 400:
            return _translated(answer.status_code, await answer.aread())
        headers = {k: v for k, v in answer.headers.items() if k.lower() in _KEPT_HEADERS}
        return StreamingResponse(_relayed(answer, self._supervisor), answer.status_code, headers)

    def _client(self, socket: str) -> httpx.AsyncClient:
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
        error = {"message": message, "type": "server_error", "param": None, "code": code}
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
    if kind == "exceed_context_size_error":
        numbers = {key: error[key] for key in ("n_prompt_tokens", "n_ctx") if key in error}
        return error_response(400, message, code="context_length_exceeded", **numbers)
    return error_response(status, message, code=kind or "engine_error")
