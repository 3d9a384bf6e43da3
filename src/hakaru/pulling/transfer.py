"""One file from a web server onto the disk, in a way that loses nothing.

The bytes are appended to a part file as they come. Whoever is killed finds the part file again and
asks for the rest (Range). Whether it is still the same file, the server's ETag or date tells
(If-Range). Why huggingface_hub does not do this stands in docs/decisions/0027-own-transfer.md.
"""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import httpcore
import httpx
from msgspec import Struct

from hakaru.errors import ModelDamaged, Offline, TooManyRequests
from hakaru.language import say
from hakaru.models.sources.web import TIMEOUT, Cut, meant, reason, send, shown
from hakaru.session import Tell
from hakaru.units import format_bytes

TRIES: Final = 5  # failures in a row, without a byte between them
PAUSE_S: Final = 1.0  # doubled after every failure
LONGEST_WAIT_S: Final = 120  # that a server may ask for
READ: Final = 2**18
MOST_AT_ONCE: Final = 2**35
"""Bytes of one request. Content networks refuse answers of more than 50 GB (huggingface_hub,
MAX_HTTP_DOWNLOAD_SIZE).
"""
_RANGE: Final = re.compile(r"bytes (\d{1,16})-(\d{1,16})/(\d{1,16})")

Hear = Callable[[int], None]
"""Called with the bytes of the file that are on the disk."""


class Remote(Struct, frozen=True, kw_only=True):
    """A file on a web server, and what is known of it before it is fetched."""

    url: str
    bytes: int | None  # None: the server tells when it answers
    is_fixed: bool  # the address means the same bytes for ever, as that of a commit does
    headers: Mapping[str, str]


class Changed(Exception):
    """What was there of the file belongs to another state of it, and was removed."""


def transfer(client: httpx.Client, remote: Remote, part: Path, *, hear: Hear, tell: Tell) -> int:
    """Bring what `part` still lacks of the file. Returns the bytes that came over the network.

    After a cut the transfer goes on where it was; `tell` hears why it waits. Raises ModelNotFound,
    ModelDamaged, Offline, and OSError for a disk that does not take the bytes. `part` keeps what
    has come.
    """
    came, failures, is_whole = 0, 0, False
    while not is_whole:
        before = size_of(part)
        try:
            is_whole = _ask_for_the_rest(client, remote, part, hear)
        except (Cut, Changed, TooManyRequests) as trouble:
            failures = 1 if size_of(part) > before else failures + 1
            time.sleep(_pause(trouble, failures, remote, part, tell))
        came += max(0, size_of(part) - before)
    return came


def size_of(part: Path) -> int:
    """Bytes of the file that are there; 0 where there is no file."""
    return part.stat().st_size if part.exists() else 0


def forget(part: Path) -> None:
    """Remove what came of a file, and what was noted of its state."""
    part.unlink(missing_ok=True)
    note_of(part).unlink(missing_ok=True)


def _pause(trouble: Exception, failures: int, remote: Remote, part: Path, tell: Tell) -> float:
    """Seconds until the next try. Raises Offline where there is none."""
    if isinstance(trouble, TooManyRequests):
        if trouble.wait_s is None or trouble.wait_s > LONGEST_WAIT_S or failures >= TRIES:
            raise trouble
        tell(say("The server asks to wait {n} s.", n=trouble.wait_s))
        return trouble.wait_s
    if failures < TRIES:
        return 0 if isinstance(trouble, Changed) else PAUSE_S * 2 ** (failures - 1)
    if isinstance(trouble, Changed):
        raise Offline(
            "{url}: changes while it is read; try again later.", url=meant(remote.url)
        ) from trouble
    raise Offline(
        "{url}: failed {n} times ({reason}). The {bytes} that came are kept: the same command goes "
        "on there.",
        url=meant(remote.url),
        n=failures,
        reason=trouble,
        bytes=format_bytes(size_of(part)),
    ) from trouble


def _ask_for_the_rest(client: httpx.Client, remote: Remote, part: Path, hear: Hear) -> bool:
    """One request. Returns True if the file is whole then."""
    at, state = size_of(part), _noted(part)
    if remote.bytes is not None and at == remote.bytes:
        return True
    if at and (at > (remote.bytes or at) or not (remote.is_fixed or state)):
        forget(part)
        at, state = 0, None
    asked = {"Accept-Encoding": "identity", "Range": f"bytes={at}-{at + MOST_AT_ONCE - 1}"}
    if at and state and not state.startswith("W/"):
        asked["If-Range"] = state
    with closing(send(client, remote.url, {**remote.headers, **asked})) as response:
        if response.status_code == 416:
            return _ends_there(response, remote, part, at)
        start, whole = _span(response, at)
        now = response.headers.get("ETag") or response.headers.get("Last-Modified")
        if start and not remote.is_fixed and now != state:
            forget(part)
            raise Changed
        _check_size(remote, whole)
        if not start and not remote.is_fixed:
            _remember(part, now)
        end = _append(response, part, start, remote.bytes if whole is None else whole, hear)
        return whole is None or end == whole


def _ends_there(response: httpx.Response, remote: Remote, part: Path, at: int) -> bool:
    """Whether the file ends where the answer 416 says that nothing comes any more."""
    if at and response.headers.get("Content-Range") == f"bytes */{at}" and remote.bytes is None:
        return True
    if not at:
        raise ModelDamaged("{path}: the file is empty; fetch it again.", path=meant(remote.url))
    forget(part)
    raise Changed


def _span(response: httpx.Response, at: int) -> tuple[int, int | None]:
    """The byte at which the answer begins, and the size of the whole file, None if it is not
    told.
    """
    if response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        return 0, int(length) if length.isdecimal() and len(length) <= 16 else None
    span = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    start, last, whole = map(int, span.groups()) if span else (-1, -1, -1)
    if start != at or not start <= last < whole:
        raise ModelDamaged(
            "{url}: the server answers a range request with '{found}', expected the bytes from "
            "{start} on; try another server.",
            url=shown(str(response.url)),
            found=response.headers.get("Content-Range", "")[:80],
            start=at,
        )
    return start, whole


def _check_size(remote: Remote, whole: int | None) -> None:
    if None not in {whole, remote.bytes} and whole != remote.bytes:
        raise ModelDamaged(
            "{url}: the server sends {found} bytes, but {expected} were announced; it is another "
            "file: try again later, or name another repository.",
            url=meant(remote.url),
            found=f"{whole:,}",
            expected=f"{remote.bytes:,}",
        )


def _append(response: httpx.Response, part: Path, start: int, whole: int | None, hear: Hear) -> int:
    """Write the answer behind the first `start` bytes of `part`. Returns where the file ends."""
    length = response.headers.get("Content-Length", "")
    n = int(length) if length.isdecimal() else None
    at = start
    with part.open("ab" if start else "wb") as file:
        try:
            for piece in body(response, n):
                file.write(piece)
                at += len(piece)
                if whole is not None and at > whole:
                    raise ModelDamaged(
                        "{url}: the server sends more than the {expected} bytes that were "
                        "announced; try again later, or name another repository.",
                        url=shown(str(response.url)),
                        expected=f"{whole:,}",
                    )
                hear(at)
        except (httpx.TransportError, httpcore.NetworkError, httpcore.TimeoutException) as error:
            raise Cut(reason(error)) from error
    if (n is not None and at < start + n) or (n is None and whole is not None and at < whole):
        raise Cut(say("the answer ended early"))
    return at


def body(response: httpx.Response, n: int | None) -> Iterator[bytes]:
    """The body of an answer, `n` bytes long (None: until it ends).

    Where the body is nothing but its bytes, all but the first piece is read straight from the
    connection: through h11 it comes half as fast as curl brings it (benchmarks/pull.py).
    """
    pieces = response.iter_raw()  # kept: when it goes, it closes the connection
    stream = response.extensions.get("network_stream")
    is_chunked = "Transfer-Encoding" in response.headers
    if n is None or stream is None or is_chunked or response.http_version != "HTTP/1.1":
        yield from pieces
        return
    left = n
    with suppress(StopIteration):
        first = next(pieces)
        left -= len(first)
        yield first
    while left > 0:
        piece: bytes = stream.read(min(READ, left), timeout=TIMEOUT.read)
        if not piece:
            return
        left -= len(piece)
        yield piece


def note_of(part: Path) -> Path:
    """Where the ETag or date of a part file is noted."""
    return part.with_name(f"{part.name}.etag")


def _noted(part: Path) -> str | None:
    """The ETag or date of the file whose bytes `part` has."""
    with suppress(OSError):
        return note_of(part).read_text(encoding="utf-8") or None
    return None


def _remember(part: Path, state: str | None) -> None:
    """Note the state before the first byte comes, in place of that of older bytes."""
    part.unlink(missing_ok=True)
    note_of(part).write_text(state or "", encoding="utf-8")
