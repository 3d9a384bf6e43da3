"""The way of a body into the engine: read in turn, refused if it is no such request or its prompt
cannot fit, and tokenized in turn.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from hakaru.serving import request_schemas as schemas
from hakaru.serving.engine_client import EngineClient
from hakaru.serving.for_engine import for_engine
from hakaru.serving.limits import MAX_VALUES, SMALL, Limits, Turnstile, holds_too_many, pieces
from hakaru.serving.pictures import media_bytes
from hakaru.serving.prompts import prompts_of
from hakaru.serving.refusals import error_response, too_large
from hakaru.serving.strict_turns import PROBE, PROBE_OF_USERS, has_odd_turns, with_strict_turns
from hakaru.serving.wide_forms import refuse_wide_forms

BODY_WITHIN_S: Final = 30.0
TURN_WITHIN_S: Final = 30.0
TOKENIZED_S: Final = 0.1
TOKENIZED_S_PER_BYTE: Final = 5e-6
"""Seconds that a text is assumed to be tokenized, fixed and per byte: the engine does not say when
that is done. The slowest text (spaces) took 2.5e-6 s a byte on a busy machine.
"""
LOST_AT_CUTS: Final = 16
"""Tokens by which a text may have fewer than its pieces together, for every cut."""


class Refused(Exception):
    """A request that goes no further, with its answer."""

    def __init__(self, answer: Response) -> None:
        super().__init__()
        self.answer = answer


def refused_as(error: schemas.Unreadable) -> Refused:
    """The refusal of a body that is no such request."""
    code = "invalid_value" if error.field else "invalid_json"
    return Refused(error_response(400, str(error), code, param=error.field))


class Intake:
    """The bodies of one server."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._caps: dict[str, Any] | None = None  # of the template; None: not asked yet
        self._odd_turns: bool | None = None  # whether it takes them
        self._reading, self._tokenizing = Turnstile(2 * limits.max_body), Turnstile(limits.at_once)

    async def body(self, request: Request) -> bytes:
        """The body of `request`. Raises Refused for a body that is too long or too slow, or finds
        no room beside others within TURN_WITHIN_S.
        """
        limit, declared = self.limits.max_body, request.headers.get("content-length")
        if declared is None and "transfer-encoding" not in request.headers:
            return b""
        expected = int(declared) if declared else limit
        if expected > limit:
            await self._poured_away(request)
            raise self._too_long(expected)
        async with AsyncExitStack() as stack:
            if expected > SMALL:
                await stack.enter_async_context(_turn(self._reading, expected))
            return await self._read(request)

    async def _read(self, request: Request) -> bytes:
        read = bytearray()
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                async for piece in request.stream():
                    read += piece
                    if len(read) > self.limits.max_body:
                        raise self._too_long(len(read))
        except TimeoutError as error:
            raise Refused(
                error_response(
                    408, f"the body did not come within {BODY_WITHIN_S:.0f} s", "too_slow"
                )
            ) from error
        return bytes(read)

    @asynccontextmanager
    async def admitted(
        self, client: EngineClient, path: str, body: bytes, *, is_llama_cpp: bool
    ) -> AsyncIterator[bytes]:
        """A block in which `body` may go to the engine behind `client`, as the block is given it:
        llama.cpp's in words that it follows. The next body may go as soon as this one should be
        tokenized, long before its answer is done. Raises Refused.
        """
        if path not in schemas.SCHEMAS:
            yield body
            return
        request, body = await _request(path, body, is_llama_cpp=is_llama_cpp)
        if schemas.has_tools(request) and not await self.template_can("supports_tools", client):
            raise _without_tools()  # the engine would drop them, in silence
        if is_llama_cpp and has_odd_turns(request) and not await self._takes_odd_turns(client):
            try:
                body = with_strict_turns(request, body)
            except schemas.Unreadable as error:
                raise refused_as(error) from error
        n_bytes = len(body) - media_bytes(request)
        if n_bytes <= SMALL:
            yield body
            return
        async with _turn(self._tokenizing, n_bytes) as leave:
            if n_bytes > self.limits.surely_short and (n_ctx := self.limits.n_ctx):
                await self._check(client, request, body, n_ctx)
            asyncio.get_running_loop().call_later(
                TOKENIZED_S + TOKENIZED_S_PER_BYTE * n_bytes, leave
            )
            yield body

    async def template_can(self, what: str, client: EngineClient) -> bool:
        """Whether the engine says `what` of the template; one that does not tell is trusted."""
        if self._caps is None:
            props = await client.told("/props") or {}
            self._caps = props.get("chat_template_caps", {})
        return self._caps.get(what) is not False

    async def _takes_odd_turns(self, client: EngineClient) -> bool:
        """Whether the chat template takes system turns anywhere, and users' in a row."""
        if self._odd_turns is None:
            probes = (PROBE, PROBE_OF_USERS)
            told = [await client.told("/apply-template", probe) for probe in probes]
            self._odd_turns = None not in told
        return self._odd_turns

    async def _check(
        self, client: EngineClient, request: schemas.Request, body: bytes, n_ctx: int
    ) -> None:
        """Raises Refused for a prompt that surely has more tokens than the context."""
        for prompt in await prompts_of(client, request, body):
            least = self.limits.least_tokens(prompt)
            if (
                least <= n_ctx
                and isinstance(prompt, str)
                and len(prompt.encode()) > self.limits.at_once
            ):
                least = await self._counted(client, prompt, n_ctx)
            if least > n_ctx:
                raise Refused(
                    error_response(
                        400,
                        f"the prompt has at least {least} tokens, but the context has {n_ctx}",
                        "context_length_exceeded",
                        n_prompt_tokens=least,
                        n_ctx=n_ctx,
                    )
                )

    async def _counted(self, client: EngineClient, text: str, n_ctx: int) -> int:
        """How many tokens `text` has at least. The engine counts piece by piece, until the sum is
        above the context.
        """
        least = 0
        for piece in pieces(text):
            counted = await client.told("/tokenize", json.dumps({"content": piece}).encode())
            if counted is None:
                return 0
            least += max(0, len(counted["tokens"]) - LOST_AT_CUTS)
            if least > n_ctx:
                break
        return least

    def _too_long(self, n_bytes: int) -> Refused:
        limits = self.limits
        if limits.n_ctx is None:
            return Refused(too_large(n_bytes, limits.max_body))
        return Refused(
            error_response(
                400,
                f"the request has {n_bytes} bytes; a prompt that fits the context of "
                f"{limits.n_ctx} tokens, and all around it, has at most {limits.max_body}",
                "context_length_exceeded",
                n_ctx=limits.n_ctx,
            )
        )

    async def _poured_away(self, request: Request) -> None:
        """Read the body and drop it: a client that is still sending hears no answer."""
        try:
            async with asyncio.timeout(BODY_WITHIN_S):
                async for _ in request.stream():
                    pass
        except TimeoutError as error:
            raise Refused(too_large("too many", self.limits.max_body)) from error


@asynccontextmanager
async def _turn(turnstile: Turnstile, n_bytes: int) -> AsyncIterator[Callable[[], None]]:
    """A block that begins when `n_bytes` have room. Raises Refused after TURN_WITHIN_S."""
    try:
        leave = await turnstile.entered(n_bytes, within_s=TURN_WITHIN_S)
    except TimeoutError as error:
        raise Refused(
            error_response(503, "too many large requests at the same time; try again", "busy")
        ) from error
    try:
        yield leave
    finally:
        leave()


def _without_tools() -> Refused:
    return Refused(
        error_response(
            400,
            "tools: this model's chat template does not show tools to the model; leave them out, "
            "serve a model that was taught to use tools, or give a template that shows them "
            "(hakaru serve --chat-template)",
            "tools_unsupported",
            param="tools",
        )
    )


async def _request(path: str, body: bytes, *, is_llama_cpp: bool) -> tuple[schemas.Request, bytes]:
    """The request in `body`, and the body as the engine reads it. Raises Refused for a body that is
    none.
    """
    if len(body) > MAX_VALUES and await asyncio.to_thread(holds_too_many, body):
        raise Refused(
            error_response(400, f"the body holds more than {MAX_VALUES} values", "invalid_json")
        )
    try:
        request = schemas.decoded(path, body)
        if is_llama_cpp:
            refuse_wide_forms(request)
            body = for_engine(request, body)
        return request, body
    except schemas.Unreadable as error:
        raise refused_as(error) from error
