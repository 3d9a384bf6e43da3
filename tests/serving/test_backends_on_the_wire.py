"""What a server elsewhere may do on the wire: TLS, prefixes, IPv6, redirects, and bodies that are
framed in every way. Each answer is told byte by byte.
"""

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from hakaru.errors import Offline
from hakaru.serving.serve_at import Serving
from hakaru.serving.serve_backends import serve_backends
from raw_server import certificate, raw_server

MODELS = {"object": "list", "data": [{"id": "smol", "object": "model", "owned_by": "x"}]}
ANSWER = {"model": "smol", "choices": [{"text": "one"}]}
Frame = Callable[[bytes], bytes]


def by_length(body: bytes) -> bytes:
    """The usual way; the connection stays open where the client would keep it."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def in_chunks(body: bytes) -> bytes:
    """Of three bytes each, with an extension and a trailer."""
    parts = [body[i : i + 3] for i in range(0, len(body), 3)]
    chunks = b"".join(b"%x;a=b\r\n%b\r\n" % (len(part), part) for part in parts)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + chunks + b"0\r\nX-Sum: 1\r\n\r\n"


def until_closed(body: bytes) -> bytes:
    """As HTTP/1.0 has it: the end of the connection is the end of the body."""
    return b"HTTP/1.0 200 OK\r\nConnection: close\r\n\r\n" + body


def compressed(body: bytes) -> bytes:
    """Although nobody asked for that."""
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
    return head + by_length(gzip.compress(body)).partition(b"\r\n")[2]


def says(frame: Frame = by_length) -> Callable[[str, bytes], bytes]:
    """A server that frames all its answers so."""
    return lambda head, body: frame(json.dumps(MODELS if head[0] == "G" else ANSWER).encode())


def ask(serving: Serving, **more: Any) -> httpx.Response:
    body = {"model": "smol", "prompt": "x", **more}
    return httpx.post(f"{serving.url}/completions", json=body, timeout=20)


@pytest.mark.parametrize("frame", [by_length, in_chunks, until_closed], ids=lambda f: f.__name__)
def test_a_body_comes_whole_however_it_is_framed(frame: Frame) -> None:
    """And is passed on as it is."""
    with raw_server(says(frame)) as server:
        with serve_backends([f"127.0.0.1:{server.port}"], silent_s=5) as serving:
            answer = ask(serving)
        assert (answer.status_code, answer.json()) == (200, ANSWER)
        assert all("Accept-Encoding: identity" in head for head in server.heads)


def test_a_compressed_answer_is_none() -> None:
    """It is not passed on as garbage; why it is none is told."""
    with raw_server(says(compressed)) as server:
        told = pytest.raises(Offline, match="it compresses its answers, which was not asked for")
        with told, serve_backends([f"127.0.0.1:{server.port}"], silent_s=5):
            pass


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
def test_https_is_believed_by_the_authorities_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE names another one; before that, and for another name, nothing is asked. A path
    may stand before /v1, and the key comes along.
    """
    cert, tls = certificate(tmp_path, "127.0.0.1")
    other, of_other = certificate(tmp_path, "other.example")
    keys = tmp_path / "keys"
    keys.write_text("secret-of-the-backend\n")
    with raw_server(says(), tls=tls) as server, raw_server(says(), tls=of_other) as misnamed:
        urls = [f"https://127.0.0.1:{one.port}/openai/v1" for one in (server, misnamed)]
        for trusted, url, why in (
            (other, urls[0], "its certificate is not trusted: self.signed certificate"),
            (other, urls[1], "IP address mismatch, certificate is not valid for '127.0.0.1'"),
        ):
            monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
            with pytest.raises(Offline, match=why), serve_backends([url], key_file=keys):
                pass
        assert server.heads == misnamed.heads == []
        monkeypatch.setenv("SSL_CERT_FILE", str(cert))
        with serve_backends(urls[:1], key_file=keys, silent_s=5) as serving:
            assert ask(serving).json() == ANSWER
        for head in server.heads:
            assert head.split(" ")[1].startswith("/openai/v1/")
            assert "Authorization: Bearer secret-of-the-backend\r\n" in head


def test_an_ipv6_address_stands_in_brackets() -> None:
    """In the address that is typed, and in the Host header."""
    try:
        server = raw_server(says(), host="::1")
        with server as one:
            with serve_backends([f"http://[::1]:{one.port}"], silent_s=5) as serving:
                assert ask(serving).json() == ANSWER
            assert f"Host: [::1]:{one.port}\r\n" in one.heads[0]
    except OSError:
        pytest.skip("there is no IPv6 here")


def test_a_redirect_is_not_followed_and_takes_no_key_along(tmp_path: Path) -> None:
    """At the first meeting the person hears where it leads; later the client hears of an error of
    the backend's, and no other machine hears anything.
    """
    keys = tmp_path / "keys"
    keys.write_text("secret-of-the-backend\n")
    is_moved = True
    with raw_server(says()) as stranger:
        there = f"http://127.0.0.1:{stranger.port}/v1/models"

        def moves(head: str, body: bytes) -> bytes:
            if is_moved:
                return f"HTTP/1.1 307 X\r\nLocation: {there}\r\nContent-Length: 0\r\n\r\n".encode()
            return says()(head, body)

        with raw_server(moves) as server:
            url = f"http://127.0.0.1:{server.port}"
            told = pytest.raises(Offline, match=rf"leads elsewhere \(307\), to {there}; name that")
            with told, serve_backends([url], key_file=keys, silent_s=5):
                pass
            is_moved = False
            with serve_backends([url], key_file=keys, silent_s=5) as serving:
                is_moved = True
                answer = ask(serving)
        assert answer.status_code == 503
        assert answer.json()["error"]["message"] == "the backend leads elsewhere (307)"
        assert "location" not in answer.headers
        assert stranger.heads == []


def test_a_full_backend_says_when_to_come_again() -> None:
    """The client hears its Retry-After; a reason in plain text is kept, too."""
    is_full = False

    def say(head: str, body: bytes) -> bytes:
        if is_full:
            return b"HTTP/1.1 429 X\r\nRetry-After: 17\r\nContent-Length: 9\r\n\r\ncome back"
        return says()(head, body)

    with (
        raw_server(say) as server,
        serve_backends([f"127.0.0.1:{server.port}"], silent_s=5) as serving,
    ):
        is_full = True
        answer = ask(serving)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "17")
    error = answer.json()["error"]
    assert (error["message"], error["code"]) == ("come back", "queue_full")


def test_half_a_body_is_not_passed_on_as_a_whole_one() -> None:
    """Of a whole answer nothing was sent yet, so the client hears a 503."""
    is_cut = False

    def say(head: str, body: bytes) -> bytes:
        whole = says()(head, body)
        return whole[:-5] if is_cut else whole

    with (
        raw_server(say) as server,
        serve_backends([f"127.0.0.1:{server.port}"], silent_s=5) as serving,
    ):
        is_cut = True
        answer = ask(serving)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "backend_lost")
