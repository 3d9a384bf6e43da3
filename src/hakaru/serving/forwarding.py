"""A request's way to the engine, and the way of its answer back.

Errors of the engine become OpenAI's form, and a stream that breaks ends with an error event, never
in silence. While the engine is being started again, a request waits for it some seconds. The engine
is one that a supervisor keeps here, or a backend elsewhere.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, Final, Generic, Protocol, TypeVar

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from hakaru.errors import EngineDied
from hakaru.serving import message_start, response_events
from hakaru.serving.engine_client import Answer, EngineClient, EngineLost, NobodyListens
from hakaru.serving.in_flight import Full, InFlight, Visit
from hakaru.serving.intake import Intake, Refused
from hakaru.serving.limits import Limits
from hakaru.serving.refusals import error_event, error_response
from hakaru.serving.silent_drops import HEADER, effort_in, left_out
from hakaru.serving.upstream_errors import Translate, of_engine, status_in

HELD_S: Final = 10.0
"""The longest wait for an engine that is being started again; a small model is back after 0.5 to
3.8 s.
"""
T = TypeVar("T")


class Upstream(Protocol):
    """Who answers."""

    @property
    def state(self) -> str:
        """Whether it can be asked: `ready`; `loading`: it soon can."""

    @property
    def n_slots(self) -> int:
        """How many conversations it answers at once."""

    @property
    def llama_cpp_model(self) -> str | None:
        """What a llama.cpp server calls its model; None: it is another server."""

    def client(self) -> EngineClient:
        """Who asks it. Raises EngineDied where there is nobody to ask."""

    def broken_off(self, how: str) -> tuple[str, str]:
        """Message and code for an answer that broke off."""


U = TypeVar("U", bound=Upstream)
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
FAILED_AT_ONCE: Final = b'data: {"error"'
"""How a stream begins that has only an error: vLLM sends the head before it works."""


class Forwarding(Generic[U]):
    """Requests to `upstream`. `queue` requests may wait for their turn. `log` hears what was
    refused, without its text. `translate` makes an error of ours from one of its own.
    """

    def __init__(
        self,
        upstream: U,
        limits: Limits,
        *,
        queue: int | None = None,
        log: Callable[[str], None] = lambda sentence: None,
        translate: Translate = of_engine,
    ) -> None:
        self.upstream, self._intake, self._log = upstream, Intake(limits), log
        self._translate = translate
        self.in_flight = InFlight(upstream.n_slots, queue)

    async def forward(self, request: Request, body: bytes | None = None) -> Response:
        """The engine's answer to `request`, or why there is none. `body`: where it was read
        already.
        """
        answer = await self._counted(request, lambda visit: self._tried(request, body, visit))
        if answer.status_code >= 400:
            self._log(f"{request.method} {request.url.path}: {answer.status_code}")
        return answer

    async def attempt(self, request: Request, body: bytes) -> Response:
        """The engine's answer to `request`, asked once. Raises EngineLost where none of it came, so
        that another one can be asked.
        """

        async def attempted(visit: Visit) -> Response:
            try:
                return await self._answer(self.upstream.client(), request, body, visit)
            except Refused as refusal:
                return refusal.answer

        return await self._counted(request, attempted)

    async def _counted(
        self, request: Request, answering: Callable[[Visit], Awaitable[Response]]
    ) -> Response:
        """An answer, with which the visit ends, also where it is on its way yet."""
        visit = self.in_flight.enter() if request.method == "POST" else Visit(None)
        answer: Response | None = None
        try:
            answer = await answering(visit)
        finally:
            if not isinstance(answer, Relayed):
                visit.leave()
        return answer

    async def _tried(self, request: Request, read: bytes | None, visit: Visit) -> Response:
        """The engine's answer, with which `visit` ends, or why there is none."""
        try:
            await self._ready()
            body = await self._intake.body(request) if read is None else read
            client = self.upstream.client()
            try:
                return await self._answer(client, request, body, visit)
            except NobodyListens:  # the engine has just died: it heard nothing of the request
                await self._missed(client)
                await self._ready()
                return await self._answer(self.upstream.client(), request, body, visit)
        except EngineLost as error:
            return self._no_answer(error)
        except EngineDied:  # for good, after it was ready
            return self._not_ready()
        except Refused as refusal:
            return refusal.answer

    async def is_alive(self) -> bool:
        """Whether the engine answers now; one that was stopped or hangs does not. While nothing is
        asked of it, what computes there must answer (`/slots`): it has nothing else to do. A long
        prompt may keep it from that for seconds, so meanwhile `/health` is enough.
        """
        path = "/slots" if self.in_flight.is_idle else "/health"
        try:
            async with asyncio.timeout(ALIVE_WITHIN_S):
                status, _ = await self.upstream.client().whole("GET", path)
                return status != 503
        except (EngineDied, EngineLost, TimeoutError):
            return False

    async def models(self) -> list[dict[str, Any]]:
        """What the engine tells of its models. Raises Refused."""
        await self._ready()
        try:
            models: list[dict[str, Any]] = (await self.upstream.client().told("/v1/models"))["data"]
        except (EngineDied, EngineLost) as error:
            raise Refused(self._no_answer(error)) from error
        return models

    def _no_answer(self, error: Exception) -> Response:
        return error_response(503, *self.upstream.broken_off(str(error)))

    async def _missed(self, client: EngineClient) -> None:
        """Return when the supervisor has missed the engine that `client` asked, which has just
        died.
        """
        began = time.monotonic()
        while time.monotonic() - began < ALIVE_WITHIN_S and self.upstream.state == "ready":
            if client.address != self.upstream.client().address:
                return
            await asyncio.sleep(LOOK_FOR_ENGINE_S)

    async def _ready(self) -> None:
        """Return when the engine is up, perhaps after a wait. Raises Refused."""
        began = time.monotonic()
        while self.upstream.state == "loading" and time.monotonic() - began < HELD_S:
            await asyncio.sleep(LOOK_FOR_ENGINE_S)
        if self.upstream.state != "ready":
            raise Refused(self._not_ready())

    def _not_ready(self) -> Response:
        message = f"the model is {self.upstream.state}; try again"
        return error_response(503, message, code="loading")

    async def _answer(
        self, client: EngineClient, request: Request, body: bytes, visit: Visit
    ) -> Response:
        """The engine's answer. Raises Refused and EngineLost."""
        path, content_type = request.url.path, request.headers.get("content-type", "")
        works = request.method == "POST" and path not in COUNTING
        n_ctx, name = self._intake.limits.n_ctx, self.upstream.llama_cpp_model
        sent = body
        async with self._intake.admitted(client, path, sent, is_llama_cpp=bool(name)) as body:
            missing = await _left_out(self._intake, client, path, sent) if name else ()
            if works:
                _take_place(visit)
            # the head of an answer to HEAD would promise a body that does not come
            method = "GET" if request.method == "HEAD" else request.method
            asked = client.ask(method, path, body, content_type, is_work=works)
            answer = await unless_gone(request, asked)
        if answer is None:
            return Response(status_code=499)  # nobody reads it
        if answer.status >= 300:
            return self._translate(answer.status, await answer.body(), answer.headers)
        if answer.first.startswith(FAILED_AT_ONCE):
            event = (await answer.body()).partition(b"\n")[0].removeprefix(b"data: ")
            return self._translate(status_in(event), event, answer.headers)
        pieces = _pieces_of(answer, client, path, (sent, body), n_ctx, name)
        relayed = Relayed(answer, pieces, self.upstream, visit)
        if missing:
            relayed.headers[HEADER] = ", ".join(missing)
        return relayed


async def _left_out(
    intake: Intake, client: EngineClient, path: str, sent: bytes
) -> tuple[str, ...]:
    """What llama.cpp's server behind `client` leaves out of the request. Raises Refused."""
    missing = left_out(path, sent)
    effort = effort_in(path, sent)
    if effort and not await intake.template_can("supports_reasoning_effort", client):
        return (*missing, effort)
    return missing


def _pieces_of(
    answer: Answer,
    client: EngineClient,
    path: str,
    bodies: tuple[bytes, bytes],
    n_ctx: int | None,
    name: str | None,
) -> AsyncIterator[bytes]:
    """What a client gets of `answer` to a request with these `bodies`: as it came, and as the
    engine got it. `name` is that of a model of llama.cpp's.
    """
    sent, body = bodies
    is_stream = answer.headers.get("content-type", "").startswith("text/event-stream")
    if path == response_events.PATH:
        events = response_events.ResponseEvents(sent, n_ctx, is_ungrouped=bool(name))
        return events.rewritten(answer.pieces(), is_stream=is_stream)
    if path == message_start.PATH and is_stream and name:

        async def n_prompt() -> int:
            counted = await client.told(f"{message_start.PATH}/count_tokens", body)
            return int(counted["input_tokens"])

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


class Relayed(StreamingResponse):
    """The engine's answer, which goes on to the client in `pieces`; if it breaks off, an error
    event says so. With it `visit` ends, however it ends.
    """

    def __init__(
        self, answer: Answer, pieces: AsyncIterator[bytes], upstream: Upstream, visit: Visit
    ) -> None:
        headers = {k: v for k, v in answer.headers.items() if k in _KEPT_HEADERS}
        super().__init__(pieces, answer.status, headers)
        self._pieces = pieces
        self._answer, self._upstream, self._visit = answer, upstream, visit

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
                if gone.done():  # it was closed here
                    return
                message, code = self._upstream.broken_off(str(broken))
                last = error_event(503, message, code)
            await send({"type": "http.response.body", "body": last})
        finally:
            self._visit.leave(is_answered=is_answered)
            gone.cancel()
            self._answer.close()
