"""The gateway: a small front on loopback, before llama.cpp's server on its Unix socket.

It lets through the endpoints of the OpenAI API and nothing else, checks the Host header (so that no web page can reach it by DNS
rebinding), never sends CORS headers, turns every error into `{"error": {message, type, param, code}}`, and answers 503 with Retry-After while
the engine comes up. A stream that breaks ends with an error event, never in silence. Prompts are not logged.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from hakaru.engine.server import NO_KEEPALIVE
from hakaru.serving.supervisor import Supervisor

FORWARDED: Final = {
    "/v1/models": "GET",
    "/metrics": "GET",
    "/v1/chat/completions": "POST",
    "/v1/completions": "POST",
    "/v1/embeddings": "POST",
}
LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
MAX_BODY: Final = 32 * 2**20
_KEPT_HEADERS: Final = frozenset({"content-type", "cache-control"})


def make_gateway(supervisor: Supervisor, pages: Sequence[BaseRoute] = ()) -> Starlette:
    """The ASGI application in front of `supervisor`'s engine; `pages` are what a browser may see beside the API."""
    client = _EngineClient(supervisor)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await client.close()

    async def forward(request: Request) -> Response:
        return refused(request) or await client.forward(request)

    async def health(request: Request) -> Response:
        if refusal := refused(request):
            return refusal
        ready = supervisor.state == "ready"
        return JSONResponse({"status": supervisor.state, "restarts": supervisor.restarts}, status_code=200 if ready else 503)

    routes = [Route(path, forward, methods=[method]) for path, method in FORWARDED.items()]
    handlers: Any = {
        404: lambda request, error: error_response(404, f"there is no {request.url.path}", code="not_found"),
        405: lambda request, error: error_response(
            405, f"{request.method} is not for {request.url.path}", code="method_not_allowed"
        ),
    }
    return Starlette(routes=[*routes, Route("/health", health), *pages], lifespan=lifespan, exception_handlers=handlers)


def error_response(status: int, message: str, *, code: str, **extra: object) -> JSONResponse:
    """An error in the form that OpenAI's clients read."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": code, **extra}}, status, headers)


def refused(request: Request) -> Response | None:
    """The answer to a request that no route may see: a foreign Host header, or a body that is too large."""
    host = request.headers.get("host", "").rsplit(":", 1)[0] if not request.headers.get("host", "").endswith("]") else "[::1]"
    if host not in LOCAL_HOSTS:
        return error_response(
            403, f"the Host header names '{host}'; this server answers on this machine only", code="forbidden_host"
        )
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY:
        return error_response(413, f"the request has {length} bytes, more than the {MAX_BODY} allowed", code="request_too_large")
    return None


class _EngineClient:
    """One HTTP client per engine process: a restarted engine has another socket."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor
        self._clients: dict[str, httpx.AsyncClient] = {}

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def forward(self, request: Request) -> Response:
        if self._supervisor.state != "ready":
            return error_response(503, f"the model is {self._supervisor.state}; try again", code="loading")
        body = await request.body()
        if len(body) > MAX_BODY:
            return error_response(
                413, f"the request has {len(body)} bytes, more than the {MAX_BODY} allowed", code="request_too_large"
            )
        client = self._client(str(self._supervisor.server.socket))
        outgoing = client.build_request(
            request.method, request.url.path, content=body, headers={"content-type": request.headers.get("content-type", "")}
        )
        try:
            answer = await client.send(outgoing, stream=True)
        except httpx.TransportError as error:
            return error_response(
                503, f"the engine does not answer ({type(error).__name__}); it is being restarted", code="engine_died"
            )
        if answer.status_code >= 400:
            return _translated(answer.status_code, await answer.aread())
        headers = {k: v for k, v in answer.headers.items() if k.lower() in _KEPT_HEADERS}
        return StreamingResponse(_relayed(answer), answer.status_code, headers)

    def _client(self, socket: str) -> httpx.AsyncClient:
        if socket not in self._clients:
            transport = httpx.AsyncHTTPTransport(uds=socket, limits=NO_KEEPALIVE)
            self._clients[socket] = httpx.AsyncClient(transport=transport, base_url="http://engine", timeout=None)
        return self._clients[socket]


async def _relayed(answer: httpx.Response) -> AsyncIterator[bytes]:
    """The engine's answer, piece by piece; if it breaks off, an error event says so."""
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx.TransportError:
        error = {
            "message": "the engine ended in the middle of the answer",
            "type": "server_error",
            "param": None,
            "code": "engine_died",
        }
        yield f"data: {json.dumps({'error': error})}\n\n".encode()
    finally:
        await answer.aclose()


def _translated(status: int, body: bytes) -> Response:
    """The engine's error in OpenAI's form; a prompt that is too long says both numbers."""
    try:
        found = json.loads(body)["error"]
        message, kind = str(found["message"]), str(found.get("type", ""))
    except (ValueError, KeyError, TypeError):
        return error_response(status, body.decode(errors="replace")[:500] or "the engine gave no reason", code="engine_error")
    if kind == "exceed_context_size_error":
        numbers = {key: found[key] for key in ("n_prompt_tokens", "n_ctx") if key in found}
        return error_response(400, message, code="context_length_exceeded", **numbers)
    return error_response(status, message, code=kind or "engine_error")
