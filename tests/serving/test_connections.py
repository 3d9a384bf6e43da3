"""Connections on which nothing comes, and more of them than there is room for."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from hakaru.serving import connections
from hakaru.serving.connections import Connection, most_connections


@contextmanager
def listening() -> Iterator[int]:
    """A server with these connections; its port."""
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("here"))])
    server = uvicorn.Server(uvicorn.Config(app, http=Connection, log_level="critical"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def everything(connection: socket.socket) -> bytes:
    """What comes until the server closes."""
    connection.settimeout(10)
    return b"".join(iter(lambda: connection.recv(65536), b""))


def answered(connection: socket.socket) -> bytes:
    """One answer of the page."""
    connection.settimeout(10)
    read = b""
    while not read.endswith(b"\r\n\r\nhere"):
        read += connection.recv(65536)
    return read


@pytest.mark.parametrize(
    "sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "]
)
def test_who_sends_no_request_is_let_go(sent: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an answer that says so."""
    monkeypatch.setattr(connections, "HEAD_WITHIN_S", 0.2)
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(sent)
        answer = everything(client)
    assert answer.startswith(b"HTTP/1.1 408") and b'"code": "too_slow"' in answer


@pytest.mark.parametrize(
    "sent",
    [b"\x16\x03\x01 TLS\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"G\x00T / H\r\n\r\n"],
)
def test_what_is_no_http_is_refused_in_the_form_of_errors(sent: bytes) -> None:
    """And the connection ends."""
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(sent)
        answer = everything(client)
    assert answer.startswith(b"HTTP/1.1 400") and b'"code": "invalid_http"' in answer


def test_a_request_is_refused_once(caplog: pytest.LogCaptureFixture) -> None:
    """An address that is too long for the parser, in a head that is too long, too."""
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert everything(client).count(b"HTTP/1.1 4") == 1
    assert not caplog.records


def test_a_second_request_may_come_later_but_not_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that rests between two requests is uvicorn's to close."""
    monkeypatch.setattr(connections, "HEAD_WITHIN_S", 0.4)
    request = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as client:
        for _ in range(2):
            client.sendall(request)
            assert answered(client).startswith(b"HTTP/1.1 200")
            time.sleep(0.2)
        client.sendall(request[:20])
        assert everything(client).startswith(b"HTTP/1.1 408")


def test_more_connections_than_there_is_room_for_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At once, and whoever comes when one has gone is answered."""
    monkeypatch.setattr(connections, "most_connections", lambda: 3)
    with listening() as port, ExitStack() as stack:
        idle = [
            stack.enter_context(socket.create_connection(("127.0.0.1", port))) for _ in range(3)
        ]
        time.sleep(0.1)
        refused = httpx.get(f"http://127.0.0.1:{port}/")
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "busy")
        assert refused.headers["retry-after"] == "1"
        idle[0].close()
        time.sleep(0.1)
        assert httpx.get(f"http://127.0.0.1:{port}/").text == "here"


def test_there_is_room_for_files_besides(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection takes two; never none is let in."""
    for files, most in ((1024, 448), (2**20, 1024), (100, 1)):
        monkeypatch.setattr("resource.getrlimit", lambda _, n=files: (n, n))
        assert most_connections() == most


def test_a_head_without_an_end_is_refused() -> None:
    """Before it fills the memory, and heard by a client that goes on sending; a long body is no
    head.
    """
    with listening() as port, socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n")
        for _ in range(40):
            client.sendall(b"X-Long: " + b"x" * 8000 + b"\r\n")
        answer = everything(client)
        assert answer.startswith(b"HTTP/1.1 431") and b'"code": "head_too_large"' in answer
        assert httpx.post(f"http://127.0.0.1:{port}/", content=b"x" * 2**20).status_code == 405
