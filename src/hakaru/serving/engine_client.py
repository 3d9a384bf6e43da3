"""Questions to the engine, each on a connection of its own to its Unix socket, and the answers as
they come.

Every token of a stream comes this way, on processors that the engine would like to have alone, so
nothing stands between asyncio and the parser of HTTP (llhttp, by httptools). A whole HTTP library
took three times as much of a processor for each token (docs/labbook.md).

A connection is used once: llama.cpp's server closes it after a streamed answer without saying so.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import httptools

AHEAD: Final = 2**16
"""Bytes of an answer that may wait for a client that reads slowly; then the engine waits, too."""


class EngineLost(Exception):
    """The engine closed the connection before its answer was whole."""


class NobodyListens(EngineLost):
    """There is no engine at the socket: it heard nothing of the question."""


class Answer(asyncio.Protocol):
    """An answer on its way. `status` and `headers` are there before the first piece."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}  # by their names in small letters
        self.is_whole = False
        self._parser = httptools.HttpResponseParser(self)
        self._pieces: list[bytes] = []
        self._lost: str | None = None  # how the connection ended, if the answer is not whole
        self._news: asyncio.Future[None] | None = None  # whoever waits for more

    async def head(self) -> None:
        """Return when the status and the headers have come. Raises EngineLost."""
        while not self.status:
            await self._more()

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

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._lost = type(error).__name__
            self._transport.abort()
        self._tell()
        if sum(map(len, self._pieces)) > AHEAD:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._lost or type(exc or EOFError()).__name__
        self._tell()

    # what the parser calls

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self.status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self.is_whole = True
        self._transport.close()


class EngineClient:
    """Asks the engine that listens at `socket`."""

    def __init__(self, socket: str) -> None:
        self.socket = socket

    async def ask(
        self, method: str, path: str, body: bytes = b"", content_type: str = "application/json"
    ) -> Answer:
        """The answer, once its head is there. Whoever drops it before its end closes it. Raises
        EngineLost.
        """
        loop = asyncio.get_running_loop()
        try:
            transport, answer = await loop.create_unix_connection(Answer, self.socket)
        except OSError as error:
            raise NobodyListens(type(error).__name__) from error
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n"
            f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        transport.write(head.encode("latin-1") + body)
        try:
            await answer.head()
        except BaseException:  # a client that left, too
            answer.close()
            raise
        return answer

    async def told(self, path: str, body: bytes | None = None) -> Any:
        """The JSON that the engine answers with to a GET, or to a POST of `body`; None where it
        refuses. Raises EngineLost.
        """
        answer = await (self.ask("GET", path) if body is None else self.ask("POST", path, body))
        try:
            raw = await answer.body()
        finally:
            answer.close()
        return json.loads(raw) if answer.status == 200 else None
