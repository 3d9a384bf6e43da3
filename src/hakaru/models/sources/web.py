"""Reading the beginning of a file on a web server, by range requests, forward and no further than asked.

A connection that is cut is taken up again where it broke off; a server that ignores ranges is read from the start and left
early; a file that changes meanwhile raises `Changed`. All errors of HTTP are translated here and nowhere else. httpx
follows redirects and never shows the Authorization header to another host.

Left out: connections are not retried when nobody answers at all, since then the person should know at once.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from types import TracebackType
from typing import Final, TypeVar

import httpx

from hakaru.errors import HakaruError, Misuse, ModelDamaged, ModelNotFound, Offline

TRIES: Final = 4
PAUSE_S: Final = 0.5  # doubled after every failure
TIMEOUT: Final = httpx.Timeout(20, connect=10)
PATIENCE_S: Final = 300  # for one file: a server that drips is no server
FIRST_PIECE: Final = 2**18
LARGEST_PIECE: Final = 2**22
MAX_REDIRECTS: Final = 5
MAX_SMALL: Final = 2**24

_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


T = TypeVar("T")


class Changed(Exception):
    """The file became another one between two requests."""


class _Cut(Exception):
    """A failure after which another try makes sense."""


def web_client() -> httpx.Client:
    """A client for all requests of one question. Refused in offline mode."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        raise Offline("the network is needed, but HF_HUB_OFFLINE is set; unset it, or name a file that is here.")
    return httpx.Client(timeout=TIMEOUT, follow_redirects=True, max_redirects=MAX_REDIRECTS)


def read_small(client: httpx.Client, url: str, headers: Mapping[str, str]) -> bytes:
    """The whole answer of `url`, at most MAX_SMALL bytes."""

    def once() -> bytes:
        body = bytearray()
        with closing(_send(client, url, headers)) as response:
            try:
                for piece in response.iter_bytes():
                    body += piece
                    if len(body) > MAX_SMALL:
                        raise ModelDamaged("{url}: answers with more than {limit} bytes.", url=_shown(url), limit=MAX_SMALL)
            except (httpx.TransportError, httpx.DecodingError) as error:
                raise _Cut(_reason(error)) from error
        return bytes(body)

    return _Patience(url).until_done(once)


class RemoteFile:
    """A file on a web server, read forward. `size` and `version` are known once it is open."""

    def __init__(self, client: httpx.Client, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self.size = 0
        self.version: str | None = None
        self.fetched_bytes = 0
        self._client, self._headers = client, dict(headers or {})
        self._patience = _Patience(url)
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._at = self._end = 0
        self._piece = FIRST_PIECE
        self._opened = False

    def __enter__(self) -> "RemoteFile":
        self._patience.until_done(self._open)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def read(self, n: int) -> bytes:
        """The next bytes, at most `n` and at least one, or none at the file's end."""
        if self._at >= self.size:
            return b""
        return self._patience.until_done(lambda: self._read(n))

    def _read(self, n: int) -> bytes:
        if self._response is None:
            self._open()
        piece = self._next()
        if not piece:
            raise _Cut("the answer ended early")
        if len(piece) > n:
            self._pieces = _before(piece[n:], self._pieces)
            piece = piece[:n]
        self._at += len(piece)
        if self._at >= self._end:
            self._close()
        return piece

    def _next(self) -> bytes:
        try:
            piece = next(self._pieces, b"")
        except httpx.TransportError as error:
            self._close()
            raise _Cut(_reason(error)) from error
        if not piece:
            self._close()
        return piece[: self._end - self._at]

    def _open(self) -> None:
        asked = self._at + self._piece
        self._piece = min(4 * self._piece, LARGEST_PIECE)
        span = {
            "Range": f"bytes={self._at}-{(min(asked, self.size) if self._opened else asked) - 1}",
            "Accept-Encoding": "identity",
        }
        self._response = response = _send(self._client, self.url, self._headers | span)
        self._pieces = self._counted(response)
        if response.status_code == 206:
            start, end, size = self._content_range(response)
        else:
            start, end, size = 0, *(self._content_length(response),) * 2
        self._identify(response, size)
        self._end = end
        self._skip(self._at - start)

    def _content_range(self, response: httpx.Response) -> tuple[int, int, int]:
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        start, last, size = (int(n) for n in found.groups()) if found else (-1, -1, -1)
        if start != self._at or not start <= last < size:
            raise ModelNotFound(
                "{url}: the server answers a range request with '{found}', expected the bytes from {start} on and the whole size.",
                url=_shown(self.url), found=response.headers.get("Content-Range", "")[:80], start=self._at,
            )  # fmt: skip
        return start, last + 1, size

    def _content_length(self, response: httpx.Response) -> int:
        length = response.headers.get("Content-Length", "")
        if self._opened and response.status_code == 416:
            raise Changed
        if response.status_code == 416 or length == "0":
            raise ModelDamaged("{path}: the file is empty; fetch it again.", path=_shown(self.url))
        if not length.isdecimal() or response.headers.get("Content-Encoding", "identity") != "identity":
            raise ModelNotFound(
                "{url}: the server does not say how large the file is, so its size cannot be judged; download it and name the file.",
                url=_shown(self.url),
            )
        return int(length)

    def _identify(self, response: httpx.Response, size: int) -> None:
        """Remember what the file is, or find that it is no longer the same."""
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if self._opened and (version, size) != (self.version, self.size):
            raise Changed
        self.version, self.size, self._opened = version, size, True
        if "Authorization" not in response.request.headers:
            self._headers = {k: v for k, v in self._headers.items() if k.lower() != "authorization"}
        self.url = str(response.url)  # what a redirect led to is asked directly from now on

    def _skip(self, n: int) -> None:
        """Read over the first `n` bytes, where a server that ignores ranges begins again."""
        at, self._at = self._at, self._at - n
        while n > 0:
            piece = self._next()
            if not piece:
                self._at = at
                raise _Cut("the answer ended early")
            self._pieces = _before(piece[n:], self._pieces) if len(piece) > n else self._pieces
            self._at += min(n, len(piece))
            n -= len(piece)
        self._at = at

    def _counted(self, response: httpx.Response) -> Iterator[bytes]:
        for piece in response.iter_raw():
            self.fetched_bytes += len(piece)
            yield piece

    def _close(self) -> None:
        self._pieces = iter(())
        if self._response is not None:
            self._response.close()
            self._response = None


def _before(piece: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield piece
    yield from rest


class _Patience:
    """How often and how long one file is tried."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._failures = 0
        self._deadline = time.monotonic() + PATIENCE_S

    def until_done(self, action: Callable[[], T]) -> T:
        """What `action` returns, tried again after a cut. Raises Offline when there is no point any more."""
        while True:
            try:
                result = action()
            except _Cut as cut:
                self._failures += 1
                if self._failures >= TRIES:
                    raise Offline(
                        "{url}: failed {n} times ({reason}); try again later.", url=_shown(self._url), n=TRIES, reason=cut
                    ) from cut
                time.sleep(PAUSE_S * 2 ** (self._failures - 1))
            else:
                if time.monotonic() > self._deadline:
                    raise Offline("{url}: the server is too slow ({n} s); try again later.", url=_shown(self._url), n=PATIENCE_S)
                return result


def _send(client: httpx.Client, url: str, headers: Mapping[str, str]) -> httpx.Response:
    """The streamed answer with status 200, 206 or 416. Raises _Cut where another try makes sense, else a HakaruError."""
    shown = _shown(url)
    try:
        response = client.send(client.build_request("GET", url, headers=dict(headers)), stream=True)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Misuse("'{found}': is no web address; expected such as https://host/model.gguf.", found=shown) from error
    except httpx.TooManyRedirects as error:
        raise ModelNotFound("{url}: redirects more than {n} times; check the address.", url=shown, n=MAX_REDIRECTS) from error
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
        raise Offline("{url}: cannot be reached ({reason}); check the network.", url=shown, reason=_reason(error)) from error
    except httpx.TransportError as error:
        raise _Cut(_reason(error)) from error
    if response.status_code in {200, 206, 416}:
        return response
    response.close()
    raise _refusal(response, shown)


def _refusal(response: httpx.Response, shown: str) -> HakaruError | _Cut:
    """What a status means to the person. Source of the Hub's X-Error-Code: huggingface_hub, utils/_http.py."""
    status = response.status_code
    if status == 429:
        wait = response.headers.get("Retry-After", "")
        if wait.isdecimal():
            return Offline("{url}: too many requests; the server asks to wait {n} seconds.", url=shown, n=wait[:9])
        return Offline("{url}: too many requests; wait some minutes and try again.", url=shown)
    if response.headers.get("X-Error-Code") == "GatedRepo":
        return ModelNotFound(
            "{url}: its authors ask for consent first; accept the licence on the repository's page and set HF_TOKEN to your token.",
            url=shown,
        )
    if status in {401, 403}:
        return ModelNotFound(
            "{url}: access is refused ({status}), or there is no such model; check the name. If it is private or gated, ask for "
            "access on its page and set HF_TOKEN.",
            url=shown, status=status,
        )  # fmt: skip
    if status in {404, 410}:
        return ModelNotFound("{url}: there is no such file or repository; check the name.", url=shown)
    if status >= 500 or status == 408:
        return _Cut(f"HTTP {status}")
    return ModelNotFound("{url}: the server answers {status}, expected the file.", url=shown, status=status)


def _shown(url: str) -> str:
    """The address without what is secret in it."""
    return re.sub(r"(?<=://)[^/@]*@", "", url).partition("?")[0]


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
