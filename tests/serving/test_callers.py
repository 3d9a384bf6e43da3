"""Who may ask a server: by Host, by Origin, and by how a request is framed."""

import asyncio
import socket
import threading
from collections.abc import Iterator

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from hakaru.errors import Misuse
from hakaru.serving.callers import who_may_ask
from hakaru.serving.origins import origin_of
from hakaru.serving.port import bound_socket

APP = "https://app.example"


async def answer(request: Request) -> Response:
    await request.body()
    return JSONResponse({})


def app(*origins: str) -> Starlette:
    routes = [Route("/v1/models", answer, methods=["GET", "POST"])]
    return Starlette(routes=routes, middleware=who_may_ask(origins))


def asked(
    method: str = "GET", path: str = "/v1/models", *, origins: tuple[str, ...] = (), **headers: str
) -> httpx.Response:
    """The answer to a request with these headers, `_` for `-`."""
    spelled = {name.replace("_", "-"): value for name, value in headers.items()}

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app(*origins))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.request(method, path, headers=spelled)

    return asyncio.run(ask())


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "Localhost.:8600", "127.0.0.1:8600", "[::1]:8600"],
)
def test_every_spelling_of_this_machine_is_this_machine(host: str) -> None:
    assert asked(host=host).status_code == 200
    assert asked(origin=f"http://{host}").status_code == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "localhost..", "127.0.0.1.evil.example", "::1"],
)
def test_no_other_host_is(host: str) -> None:
    """A page whose name was bound anew to this machine sends its own name."""
    refused = asked(host=host)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden_host")


@pytest.mark.parametrize("end", ["%0a", "%0d%0a", "%00", "%7f"])
def test_a_path_is_the_whole_path(end: str) -> None:
    """A line end behind a path would pass a route's pattern, past the checks by path and into the
    head of the question to the engine.
    """
    answer = asked(path=f"/v1/models{end}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_a_page_of_a_site_that_was_named_reads_the_answer() -> None:
    """The question before the question, too; with a header of a client's own."""
    given = asked(origins=(APP,), origin=APP, sec_fetch_site="cross-site")
    assert given.status_code == 200
    assert given.headers["access-control-allow-origin"] == APP
    question = {
        "access_control_request_method": "POST",
        "access_control_request_headers": "authorization,content-type",
    }
    before = asked("OPTIONS", origins=(APP,), origin=APP, **question)
    assert before.status_code == 200
    assert "authorization" in before.headers["access-control-allow-headers"].lower()


@pytest.mark.parametrize(
    "origin", ["http://app.example", "https://app.example:8443", "https://evil.example", "null"]
)
def test_no_other_site_is_let_in(origin: str) -> None:
    """Neither by another scheme or port of the same name, nor as a page without an origin."""
    refused = asked(origins=(APP,), origin=origin)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forbidden_origin")
    assert "access-control-allow-origin" not in refused.headers


def test_a_site_that_was_named_comes_in_by_the_name_of_this_machine_alone() -> None:
    assert asked(origins=(APP,), origin=APP, host="evil.example").status_code == 403


@pytest.mark.parametrize(
    ("typed", "origin"),
    [
        ("http://localhost:3000", "http://localhost:3000"),
        (" HTTPS://App.Example/ ", APP),
        ("https://app.example:443", APP),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_spelled_as_browsers_do(typed: str, origin: str) -> None:
    assert origin_of(typed) == origin


@pytest.mark.parametrize(
    "typed",
    ["*", "app.example", "https://", "https://app.example/chat", "https://a:99999", "ftp://a", ""],
)
def test_what_is_no_origin_is_refused(typed: str) -> None:
    """`*` too: every page of the web could use the model then."""
    with pytest.raises(Misuse, match="expected the origin of a site"):
        origin_of(typed)


@pytest.fixture
def port() -> Iterator[int]:
    """A real server: how a request is framed is read by it."""
    server = uvicorn.Server(uvicorn.Config(app(), log_level="critical"))
    with bound_socket(None) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(5)


def test_a_request_that_is_framed_in_two_ways_ends_the_connection(port: int) -> None:
    """What one program takes for a body another takes for the next request."""
    head = b"POST /v1/models HTTP/1.1\r\nHost: localhost\r\n"
    body = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=10) as raw:
        raw.sendall(head + body + b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        heard = b""
        while piece := raw.recv(4096):
            heard += piece
    assert heard.startswith(b"HTTP/1.1 400")
    assert heard.count(b"HTTP/1.1") == 1
