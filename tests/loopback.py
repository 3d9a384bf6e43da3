"""A real HTTP server on the loopback interface that serves files and honours Range, and every way
in which servers err.
"""

import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from msgspec import Struct, field

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Loopback(Struct):
    """What is served, how it errs, and what was asked. A path of `files` may be answered otherwise
    by the tables.
    """

    url: str = ""
    files: dict[str, Path | bytes] = field(default_factory=dict)
    statuses: dict[str, list[tuple[int, dict[str, str]]]] = field(
        default_factory=dict
    )  # the last one stays
    listings: dict[str, bytes] = field(
        default_factory=dict
    )  # of /api/models, by one field of the query: "author=org"
    redirects: dict[str, str] = field(default_factory=dict)
    etags: dict[str, list[str]] = field(default_factory=dict)  # the last one stays
    ignores_ranges: bool = False
    hides_length: bool = False
    range_answer: str | None = None  # a Content-Range that is not true
    cuts: int = 0  # so many answers break off after 32 KiB or half-way
    piece_delay_s: float = 0.0
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    sent_bytes: int = 0

    def add_repository(
        self,
        repo: str,
        files: dict[str, Path | bytes],
        *,
        hashes: bool = False,
        lies: dict[str, dict[str, object]] | None = None,
        **facts: object,
    ) -> None:
        """Serve `files` as a repository of the Hugging Face Hub, at COMMIT. With `hashes` the Hub
        tells the SHA-256 of each file; `lies` are other values for the row of a file, `facts` other
        fields of the answer.
        """
        rows: list[dict[str, object]] = []
        for name, content in files.items():
            row: dict[str, object] = {"rfilename": name, "size": _size(content)}
            if hashes:
                row["lfs"] = {"sha256": sha256_of(content), "size": _size(content)}
            rows.append(row | (lies or {}).get(name, {}))
        answer = json.dumps({"id": repo, "sha": COMMIT, "siblings": rows} | facts).encode()
        for place in (
            f"/api/models/{repo}",
            f"/api/models/{repo}/revision/main",
            f"/api/models/{repo}/revision/{COMMIT}",
        ):
            self.files[place] = answer
        for name, content in files.items():
            self.files[f"/{repo}/resolve/{COMMIT}/{name}"] = content


@contextmanager
def serving() -> Iterator[Loopback]:
    """A server at a free port of 127.0.0.1, until the block ends."""
    state = Loopback()
    handler = type("Handler", (_Handler,), {"state": state})
    server = _Server(("127.0.0.1", 0), handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
    )
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A reader who leaves is no error of the server's."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def sha256_of(content: Path | bytes) -> str:
    """The hash of a file that is served."""
    raw = content if isinstance(content, bytes) else content.read_bytes()
    return hashlib.sha256(raw).hexdigest()


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: Loopback

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class names it so
        """Quiet."""

    def do_GET(self) -> None:
        state, path = self.state, unquote(urlsplit(self.path).path)
        state.asked.append((path, {k.lower(): v for k, v in self.headers.items()}))
        if target := state.redirects.get(path):
            self._plain(302, {"Location": target})
        elif states := state.statuses.get(path):
            status, headers = states.pop(0) if len(states) > 1 else states[0]
            self._file(path) if status == 200 else self._plain(status, headers)
        elif path in state.files:
            self._file(path)
        elif path == "/api/models":
            self._listing(parse_qsl(urlsplit(self.path).query))
        else:
            self._plain(404, {})

    def _listing(self, query: list[tuple[str, str]]) -> None:
        """The repositories that the Hub lists for one of the fields, or none."""
        wanted = [f"{name}={value}" for name, value in query]
        listing = next((self.state.listings[w] for w in wanted if w in self.state.listings), b"[]")
        self.send_response(200)
        self.send_header("Content-Length", str(len(listing)))
        self.end_headers()
        self.wfile.write(listing)

    def _plain(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def _file(self, path: str) -> None:
        content = self.state.files[path]
        size = _size(content)
        etags = self.state.etags.get(path)
        etag = None if not etags else etags.pop(0) if len(etags) > 1 else etags[0]
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if self.headers.get("If-Range") not in {None, etag}:
            span = None  # it is another file now: all of it is sent
        if span and int(span[1]) >= size:
            return self._plain(416, {"Content-Range": f"bytes */{size}"})
        start, end = (
            (int(span[1]), min(int(span[2]) + 1, size))
            if span and not self.state.ignores_ranges
            else (0, size)
        )
        partial = bool(span) and not self.state.ignores_ranges
        self.send_response(206 if partial else 200)
        if partial:
            self.send_header(
                "Content-Range",
                self.state.range_answer
                if self.state.range_answer is not None
                else f"bytes {start}-{end - 1}/{size}",
            )
        if self.state.hides_length:
            self.send_header("Connection", "close")
            self.close_connection = True
        else:
            self.send_header("Content-Length", str(end - start))
        if etag:
            self.send_header("ETag", etag)
        self.end_headers()
        if self.state.cuts:
            self.state.cuts -= 1
            end, self.close_connection = start + min(2**15, (end - start) // 2), True
        return self._send(content, start, end)

    def _send(self, content: Path | bytes, start: int, end: int) -> None:
        try:
            while start < end:
                piece = _piece(content, start, min(2**16, end - start))
                time.sleep(self.state.piece_delay_s)
                self.wfile.write(piece)
                self.state.sent_bytes += len(piece)
                start += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the reader had enough


def _piece(content: Path | bytes, start: int, n: int) -> bytes:
    if isinstance(content, bytes):
        return content[start : start + n]
    with content.open("rb") as file:
        file.seek(start)
        return file.read(n)
