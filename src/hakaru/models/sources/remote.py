"""Reading the beginning of a file on a web server, by range requests, forward and only as far as
the caller reads.

After a cut the reading goes on where it stopped. From a server that ignores ranges the file is read
from the start, and the connection closed early. A file that changes meanwhile raises `Changed`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import httpx

from hakaru.errors import ModelDamaged, ModelNotFound
from hakaru.language import say
from hakaru.models.sources.web import Cut, Patience, meant, reason, send

FIRST_PIECE: Final = 2**18
LARGEST_PIECE: Final = 2**22
MAX_SIZE: Final = 2**50  # a petabyte is a lie

_RANGE: Final = re.compile(r"bytes (\d{1,16})-(\d{1,16})/(\d{1,16})")


class Changed(Exception):
    """The file has changed between two requests."""


class RemoteFile:
    """A file on a web server, read forward. `size` and `version` are known after `open`."""

    def __init__(
        self, client: httpx.Client, url: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self.url = url
        self.size = 0
        self.version: str | None = None
        self.fetched_bytes = 0
        self._client, self._headers = client, dict(headers or {})
        self._patience = Patience(url)
        self._response: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())
        self._at = self._end = 0
        self._piece = FIRST_PIECE
        self._opened = False

    def __enter__(self) -> "RemoteFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def open(self) -> None:
        """Ask for the first piece, with which the size comes. Raises Offline, ModelNotFound,
        ModelDamaged.
        """
        self._patience.until_done(self._open)

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
            raise Cut(say("the answer ended early"))
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
            raise Cut(reason(error)) from error
        if not piece:
            self._close()
        return piece[: self._end - self._at]

    def _open(self) -> None:
        stop = self._at + self._piece
        stop = min(stop, self.size) if self._opened else stop
        self._piece = min(4 * self._piece, LARGEST_PIECE)
        span = {"Range": f"bytes={self._at}-{stop - 1}", "Accept-Encoding": "identity"}
        self._response = response = send(self._client, self.url, self._headers | span)
        self._pieces = self._counted(response)
        if response.status_code == 206:
            start, end, size = self._content_range(response)
        else:
            start, end, size = 0, *(self._content_length(response),) * 2
        self._identify(response, size)
        self._end = end
        self._skip(self._at - start)

    def _content_range(self, response: httpx.Response) -> tuple[int, int, int]:
        match = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        start, last, size = map(int, match.groups()) if match else (-1, -1, -1)
        if start != self._at or not start <= last < size < MAX_SIZE:
            raise ModelNotFound(
                "{url}: the server answers a range request with '{found}', expected the bytes "
                "from {start} on and the whole size.",
                url=meant(self.url),
                found=response.headers.get("Content-Range", "")[:80],
                start=self._at,
            )
        return start, last + 1, size

    def _content_length(self, response: httpx.Response) -> int:
        length = response.headers.get("Content-Length", "")
        if self._opened and response.status_code == 416:
            raise Changed
        if response.status_code == 416 or length == "0":
            raise ModelDamaged("{path}: the file is empty; fetch it again.", path=meant(self.url))
        if (
            not length.isdecimal()
            or len(length) > 16
            or int(length) >= MAX_SIZE
            or response.headers.get("Content-Encoding", "identity") != "identity"
        ):
            raise ModelNotFound(
                "{url}: the server does not say how large the file is, so its size cannot be "
                "judged; download it and name the file.",
                url=meant(self.url),
            )
        return int(length)

    def _identify(self, response: httpx.Response, size: int) -> None:
        """Remember version and size of the file. Raises Changed if they are no longer the same."""
        version = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if self._opened and (version, size) != (self.version, self.size):
            raise Changed
        self.version, self.size, self._opened = version, size, True
        if "Authorization" not in response.request.headers:
            self._headers = {
                name: value
                for name, value in self._headers.items()
                if name.lower() != "authorization"
            }
        self.url = str(response.url)  # the end of redirects, which the next request goes to

    def _skip(self, n: int) -> None:
        """Skip the first `n` bytes of an answer that begins too early."""
        at, self._at = self._at, self._at - n
        while n > 0:
            piece = self._next()
            if not piece:
                self._at = at
                raise Cut(say("the answer ended early"))
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


def _before(piece: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield piece
    yield from pieces
