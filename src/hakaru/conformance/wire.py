"""Questions over HTTP, as bytes: nothing of an answer is mended or hidden, and no question takes
longer than its time.

Each question has a connection of its own, so that a server which closes idle connections at a bad
moment is not taken for one that breaks off; only `keeps_alive` shares one. Proxies of the
environment are used, but not for addresses of this machine.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Literal

import httpx

from hakaru.conformance.stream_events import ChatStream, StreamEvent, events_of

MOST_BYTES: Final = 2**24  # of one answer; a server that never ends is left
Trouble = Literal["unreachable", "closed", "slow", "too long"]


@dataclass(frozen=True)
class Reply:
    """An answer, as far as it came."""

    status: int
    headers: httpx.Headers
    pieces: tuple[tuple[float, bytes], ...]  # second after the request, and what came then
    seconds: float  # until the end
    broken: Trouble | None = None  # why it did not come to its end
    client: object = None  # address and port of the client's end of the connection

    @cached_property
    def body(self) -> bytes:
        """All bytes of the answer."""
        return b"".join(piece for _, piece in self.pieces)

    @property
    def media(self) -> str:
        """The content type, without its parameters."""
        kind: str = self.headers.get("content-type", "")
        return kind.partition(";")[0].strip().lower()

    @cached_property
    def value(self) -> Any:
        """The body as JSON; None if it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @cached_property
    def events(self) -> tuple[StreamEvent, ...]:
        """The events of a stream."""
        return tuple(events_of(self.pieces))

    @cached_property
    def stream(self) -> ChatStream:
        """The body as a streamed answer."""
        return ChatStream(self.events)

    @property
    def is_last(self) -> bool:
        """Whether the server says that no other answer comes over this connection."""
        return "close" in self.headers.get("connection", "").lower()

    @property
    def is_ok(self) -> bool:
        """Whether the server says that all is well, and sent all of it."""
        return self.status == 200 and self.broken is None

    def as_json(self) -> dict[str, Any]:
        """The answer as a result keeps it."""
        return {
            "status": self.status,
            "content_type": self.media or None,
            "body": self.body.decode("utf-8", "replace"),
            "seconds": round(self.seconds, 3),
            "broken": self.broken,
        }


class NoAnswer(Exception):
    """No whole answer came."""

    def __init__(
        self, trouble: Trouble, detail: str, reply: Reply | None = None, body: Any = None
    ) -> None:
        super().__init__(detail)
        self.trouble, self.detail, self.reply, self.body = trouble, detail, reply, body


@dataclass
class Exchange:
    """A question and its answer."""

    method: str
    url: str
    content: bytes | None
    reply: Reply | None = None
    trouble: str | None = None

    def asked(self) -> dict[str, Any]:
        """The request as a result keeps it. Headers, and with them the key, are left out."""
        text = (self.content or b"").decode("utf-8", "replace")
        path = httpx.URL(self.url).raw_path.decode("ascii")
        return {"method": self.method, "path": path, "body": text or None}

    def came(self) -> dict[str, Any]:
        """The answer as a result keeps it."""
        return self.reply.as_json() if self.reply else {"broken": self.trouble}


@dataclass
class Wire:
    """The way to one server. `log` has the exchanges since it was last emptied."""

    key: str | None = None
    within_s: float = 30.0
    log: list[Exchange] = field(default_factory=list)
    keeps_alive: bool = False  # whether questions, one after the other, share a connection

    async def __aenter__(self) -> "Wire":
        self._clients = dict[bool, httpx.AsyncClient]()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def ask(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        until: Callable[[bytes], bool] | None = None,
        within_s: float | None = None,
    ) -> Reply:
        """The answer to one question. `headers` None: the key as OpenAI's clients send it.

        `until` is asked after each piece, with all that came so far: true closes the connection.
        Raises NoAnswer, after `within_s` seconds at the latest.
        """
        content = _as_bytes(body)
        exchange = Exchange(method, url, content)
        self.log.append(exchange)
        sent = {"content-type": "application/json"} if content is not None else {}
        sent |= self.authorization(self.key) if headers is None else dict(headers)
        request = httpx.Request(method, url, content=content, headers=sent)
        answer = _Answer()
        try:
            async with asyncio.timeout(within_s or self.within_s):
                await answer.take(self._client(request.url), request, until)
        except TimeoutError:
            trouble: tuple[Trouble, str] = "slow", ""
        except httpx.ConnectError as error:
            trouble = "unreachable", str(error) or type(error).__name__
        except httpx.HTTPError as error:
            trouble = "closed", f"{type(error).__name__} {error}".strip()
        except _TooLong:
            trouble = "too long", ""
        else:
            exchange.reply = whole = answer.reply()
            assert whole
            return whole
        exchange.reply, exchange.trouble = answer.reply(trouble[0]), trouble[0]
        raise NoAnswer(*trouble, exchange.reply, body)

    def _client(self, url: httpx.URL) -> httpx.AsyncClient:
        """Who asks. Certificates are read, which takes a tenth of a second, where TLS may be."""
        is_plain = url.scheme == "http" and is_local(url)
        if is_plain not in self._clients:
            self._clients[is_plain] = httpx.AsyncClient(
                limits=httpx.Limits(max_keepalive_connections=int(self.keeps_alive)),
                trust_env=not is_local(url),
                verify=not is_plain,  # over plain HTTP, without a proxy, there is none to verify
                timeout=None,
            )
        return self._clients[is_plain]

    @staticmethod
    def authorization(key: str | None) -> dict[str, str]:
        """The header in which OpenAI's clients send a key."""
        return {"authorization": f"Bearer {key}"} if key else {}


class _TooLong(Exception):
    """More than MOST_BYTES came."""


class _Answer:
    """An answer while it comes."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._head: tuple[int, httpx.Headers] | None = None
        self._pieces: list[tuple[float, bytes]] = []
        self._client: object = None

    async def take(
        self,
        client: httpx.AsyncClient,
        request: httpx.Request,
        until: Callable[[bytes], bool] | None,
    ) -> None:
        """Send the request and keep what comes. Raises httpx.HTTPError and _TooLong."""
        response = await client.send(request, stream=True)
        try:
            self._head, n_bytes = (response.status_code, response.headers), 0
            self._client = response.extensions["network_stream"].get_extra_info("client_addr")
            async for piece in response.aiter_bytes():
                self._pieces.append((self._spent(), piece))
                n_bytes += len(piece)
                if n_bytes > MOST_BYTES:
                    raise _TooLong
                if until and until(b"".join(one for _, one in self._pieces)):
                    return
        finally:
            await response.aclose()

    def reply(self, broken: Trouble | None = None) -> Reply | None:
        """What came; None if not even a status did."""
        if self._head is None:
            return None
        return Reply(*self._head, tuple(self._pieces), self._spent(), broken, self._client)

    def _spent(self) -> float:
        return time.perf_counter() - self._began


def _as_bytes(body: Mapping[str, Any] | bytes | None) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return json.dumps(body, ensure_ascii=False).encode()


def is_local(url: httpx.URL) -> bool:
    """Whether an address is one of this machine, which no proxy may answer for."""
    try:
        return ip_address(url.host).is_loopback
    except ValueError:
        return url.host == "localhost" or url.host.endswith(".localhost")
