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

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hakaru.errors import EngineDied
from hakaru.serving import message_start, response_events
from hakaru.serving.engine_client import Answer, EngineClient, EngineLost, NobodyListens
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
    {
        "/tokenize", "/detokenize", "/apply-template", "/v1/messages/count_tokens",
        "/v1/chat/completions/input_tokens", "/v1/responses/input_tokens",
    }
)  # fmt: skip
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
    """Requests to the engine that `supervisor` keeps. `queue` requests may wait for their turn.
    `log` hears what was refused, without its text.
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
            client = self._client()
            try:
                return await self._answer(client, request, body, visit)
            except NobodyListens:  # the engine has just died: it heard nothing of the request
                await self._missed(client)
                await self._ready()
                return await self._answer(self._client(), request, body, visit)
        except EngineLost as error:
            return self._no_answer(error)
        except EngineDied:  # for good, after it was ready
            return self._not_ready()
        except Refused as refusal:
            return refusal.answer

    async def is_alive(self) -> bool:
        """Whether the engine answers now; one that was stopped or hangs does not."""
        try:
            async with asyncio.timeout(ALIVE_WITHIN_S):
                return await self._client().told("/health") is not None
        except (EngineDied, EngineLost, TimeoutError):
            return False

    async def models(self) -> list[dict[str, Any]]:
        """What the engine tells of its models. Raises Refused."""
        await self._ready()
        try:
            models: list[dict[str, Any]] = (await self._client().told("/v1/models"))["data"]
        except (EngineDied, EngineLost) as error:
            raise Refused(self._no_answer(error)) from error
        return models

    def _no_answer(self, error: Exception) -> Response:
        return error_response(503, *_broken_off(self.supervisor, str(error)))

    def _client(self) -> EngineClient:
        """Who asks the engine that there is now. Raises EngineDied where there is none."""
        return EngineClient(str(self.supervisor.server.socket))

    async def _missed(self, client: EngineClient) -> None:
        """Return when the supervisor has missed the engine that `client` asked, which has just
        died.
        """
        began = time.monotonic()
        while time.monotonic() - began < ALIVE_WITHIN_S and self.supervisor.state == "ready":
            if client.socket != self._client().socket:
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

    async def _answer(
        self, client: EngineClient, request: Request, body: bytes, visit: Visit
    ) -> Response:
        """The engine's answer. Raises Refused and EngineLost."""
        path, content_type = request.url.path, request.headers.get("content-type", "")
        async with self._intake.admitted(client, path, body) as body:
            if path not in COUNTING:
                _take_place(visit)
            asked = client.ask(request.method, path, body, content_type)
            answer = await unless_gone(request, asked)
        if answer is None:
            return Response(status_code=499)  # nobody reads it
        if answer.status >= 400:
            return _translated(answer.status, await answer.body())
        pieces = self._pieces(client, answer, path, body)
        return _Relayed(answer, pieces, self.supervisor, visit)

    def _pieces(
        self, client: EngineClient, answer: Answer, path: str, body: bytes
    ) -> AsyncIterator[bytes]:
        """What a client gets of the engine's `answer` to a request with this `body`."""
        is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
        if path == response_events.PATH:
            events = response_events.ResponseEvents(body, self._intake.limits.n_ctx)
            return events.rewritten(answer.pieces(), is_stream=is_stream)
        if path == message_start.PATH and is_stream:

            async def n_prompt() -> int:
                counted = await client.told(f"{message_start.PATH}/count_tokens", body)
                return int(counted["input_tokens"])

            name = self.supervisor.mode.alias or self.supervisor.path.stem
            return message_start.with_start(answer.pieces(), name, n_prompt)
        return answer.pieces()


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
    answer, left = asyncio.ensure_future(awaited), asyncio.ensure_future(_left(request.receive))
    try:
        await asyncio.wait({answer, left}, return_when=asyncio.FIRST_COMPLETED)
        return answer.result() if answer.done() else None
    finally:
        answer.cancel()
        left.cancel()


async def _left(receive: Receive) -> None:
    """Return when the client of a request, whose body is read, leaves."""
    while (await receive())["type"] != "http.disconnect":
        pass


class _Relayed(StreamingResponse):
    """The engine's answer, which goes on to the client in `pieces`; if it breaks off, an error
    event says so. With it `visit` ends, however it ends.
    """

    def __init__(
        self, answer: Answer, pieces: AsyncIterator[bytes], supervisor: Supervisor, visit: Visit
    ) -> None:
        headers = {k: v for k, v in answer.headers.items() if k in _KEPT_HEADERS}
        super().__init__(pieces, answer.status, headers)
        self._pieces = pieces
        self._answer, self._supervisor, self._visit = answer, supervisor, visit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Starlette's own makes two tasks for each answer, and has no word for what breaks off."""
        gone = asyncio.ensure_future(_left(receive))
        gone.add_done_callback(lambda _: self._answer.close())  # the engine stops working on it
        is_answered = False
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            try:
                async for piece in self._pieces:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                is_answered, last = True, b""
            except EngineLost as broken:
                message, code = _broken_off(self._supervisor, str(broken))
                error = error_fields(503, message, code)
                last = f"data: {json.dumps({'error': error})}\n\n".encode()
            await send({"type": "http.response.body", "body": last})
        finally:
            self._visit.leave(is_answered=is_answered)
            gone.cancel()
            self._answer.close()


def _broken_off(supervisor: Supervisor, how: str) -> tuple[str, str]:
    """Message and code for an answer that broke off."""
    if supervisor.state == "stopped":
        return "the server was stopped before the answer was done", "server_stopped"
    return (
        f"the engine ended in the middle of the answer ({how}); it is being restarted",
        "engine_died",
    )


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
