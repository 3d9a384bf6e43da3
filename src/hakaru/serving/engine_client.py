"""Questions to the engine, each on a connection of its own, and the answers as they come. The
engine listens at a Unix socket, or elsewhere (`backend_address`).

Every token of a stream comes this way, on processors that the engine would like to have alone, so
nothing stands between asyncio and the parser of HTTP (llhttp, by httptools). A whole HTTP library
took three times as much of a processor for each token (docs/labbook.md).

A connection is used once: llama.cpp's server closes it after a streamed answer without saying so.
"""

import asyncio
import json
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, Protocol

import httptools
from msgspec import Struct

AHEAD: Final = 2**16
"""Bytes of an answer that may wait for a client that reads slowly; then the engine waits, too."""


class EngineLost(Exception):
    """The engine closed the connection before its answer was whole."""


class NobodyListens(EngineLost):
    """There is no engine at the address: it heard nothing of the question."""


def _why_not(error: OSError) -> str:
    """Why there is no connection."""
    match error:
        case ConnectionRefusedError():
            return "nobody listens there"
        case TimeoutError():
            return "no connection came about in time"
        case socket.gaierror():
            return "its name is not known"
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted: {error.verify_message.rstrip('.')}"
        case ssl.SSLError():
            return f"it does not speak TLS as expected: {error.reason}"
    return error.strerror or str(error)


class Address(Protocol):
    """Where an engine listens."""

    @property
    def prefix(self) -> str:
        """What stands before every path."""

    @property
    def head(self) -> str:
        """The lines of a request's head that are the same for all: Host, perhaps a key."""

    async def connected(self, make: "Callable[[], Answer]") -> "tuple[asyncio.Transport, Answer]":
        """A new connection. Raises OSError, also where none comes about in time."""


class UnixSocket(Struct, frozen=True):
    """The address of an engine on this machine."""

    path: str
    prefix: str = ""
    head: str = "Host: engine\r\n"

    async def connected(self, make: "Callable[[], Answer]") -> "tuple[asyncio.Transport, Answer]":
        """A new connection."""
        return await asyncio.get_running_loop().create_unix_connection(make, self.path)


class Answer(asyncio.Protocol):
    """An answer on its way to `client`. `status` and `headers` are there before the first piece.
    `is_work`: its body is made of tokens, so that it shows that the engine works.
    """

    def __init__(self, client: "EngineClient", *, is_work: bool) -> None:
        self._client, self._is_work = client, is_work
        self.status = 0
        self.headers: dict[str, str] = {}  # by their names in small letters
        self.is_whole = False
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._lost: str | None = None  # how the connection ended, if the answer is not whole
        self._news: asyncio.Future[None] | None = None  # whoever waits for more

    async def begun(self) -> None:
        """Return when the answer is whole, or, where it is a stream or a long one, when its first
        piece has come: what breaks off before that can be asked again. Raises EngineLost.
        """
        while not (self.is_whole or (self._pieces and self._is_long)):
            await self._more()

    @property
    def first(self) -> bytes:
        """What has come of the body, and was not read yet."""
        return b"".join(self._pieces)

    @property
    def _is_long(self) -> bool:
        declared = self.headers.get("content-length", "")
        return not declared.isdigit() or int(declared) > AHEAD

    async def pieces(self) -> AsyncIterator[bytes]:
        """The body, as it comes. Raises EngineLost where it breaks off."""
        while True:
            if self._pieces:
                came = b"".join(self._pieces)
                self._pieces.clear()
                self._transport.resume_reading()
                yield came
            elif self.is_whole:
                return
            else:
                await self._more()

    async def body(self) -> bytes:
        """The whole body. Raises EngineLost."""
        return b"".join([piece async for piece in self.pieces()])

    def close(self) -> None:
        """End the connection; the engine then stops working on the answer."""
        self._transport.abort()

    def give_up(self, why: str) -> None:
        """End an answer that does not come any more; whoever waits for it hears why."""
        if not self.is_whole:
            self._lost = self._lost or why
            self._transport.abort()
            self._tell()

    async def _more(self) -> None:
        """Return when something has come. Raises EngineLost."""
        if self._lost is not None:
            raise EngineLost(self._lost)
        self._news = asyncio.get_running_loop().create_future()
        await self._news

    def _tell(self) -> None:
        if self._news and not self._news.done():
            self._news.set_result(None)

    # what asyncio calls

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport
        self._client.open.add(self)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._lost = self._lost or type(error).__name__
            self._transport.abort()
        self._tell()
        if sum(map(len, self._pieces)) > AHEAD:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        has_length = self.headers.keys() & {"content-length", "transfer-encoding"}
        if exc is None and self.status and not has_length:
            self.is_whole = True  # the connection's end is the body's (RFC 9112, 6.3)
        self._lost = self._lost or type(exc or EOFError()).__name__
        self._client.open.discard(self)
        self._tell()

    # what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is whole. Raises ValueError, which ends the parser."""
        self.status = self._parser.get_status_code()
        if self.headers.get("content-encoding", "identity") != "identity":
            self._lost = "it compresses its answers, which was not asked for"
            raise ValueError

    def on_body(self, body: bytes) -> None:
        """A part of the body. A comment in a stream of events says only that somebody listens."""
        self._pieces.append(body)
        if self._is_work and self.status == 200 and not body.startswith(b":"):
            self._client.heard_at = time.monotonic()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self.is_whole = True
        self._transport.close()


class EngineClient:
    """Asks the engine that listens at `address`."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.open: set[Answer] = set()  # what is on its way
        self.heard_at = 0.0  # when the engine last gave something that it had worked on

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        content_type: str = "application/json",
        *,
        is_work: bool = False,
    ) -> Answer:
        """The answer, once it has begun. Whoever drops it before its end closes it. Raises
        EngineLost.
        """
        try:
            transport, answer = await self.address.connected(lambda: Answer(self, is_work=is_work))
        except OSError as error:
            raise NobodyListens(_why_not(error)) from error
        head = (
            f"{method} {self.address.prefix}{path} HTTP/1.1\r\n{self.address.head}"
            f"Connection: close\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        transport.write(head.encode("latin-1") + body)
        try:
            await answer.begun()
        except BaseException:  # a client that left, too
            answer.close()
            raise
        return answer

    def give_up(self, why: str) -> None:
        """End all that is on its way; whoever waits for it hears why."""
        for answer in list(self.open):
            answer.give_up(why)

    async def whole(
        self, method: str, path: str, body: bytes = b"", *, is_work: bool = False
    ) -> tuple[int, bytes]:
        """The status and the body of an answer. Raises EngineLost."""
        answer = await self.ask(method, path, body, is_work=is_work)
        try:
            return answer.status, await answer.body()
        finally:
            answer.close()

    async def told(self, path: str, body: bytes | None = None) -> Any:
        """The JSON that the engine answers with to a GET, or to a POST of `body`; None where it
        refuses. Raises EngineLost.
        """
        status, raw = await self.whole("GET" if body is None else "POST", path, body or b"")
        return json.loads(raw) if status == 200 else None
