"""The probe that asks for a token, run as an orchestrator runs it."""

import http.server
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from hakaru.deploying.token_probe import token_probe

KEY = "a-key-of-a-person-73"


@contextmanager
def server(answer: Callable[[dict[str, object]], tuple[int, object]]) -> Iterator[str]:
    """A server whose completions `answer` gives, to who has the key; its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            has_key = self.headers["Authorization"] == f"Bearer {KEY}"
            status, body = answer(asked) if has_key else (401, {})
            self.send_response(status if self.path == "/v1/completions" else 404)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            """Nothing."""

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}"
    finally:
        listening.shutdown()
        listening.server_close()
        thread.join()


def outcome(url: str, *, key: str = KEY, within_s: int = 10) -> int:
    """The probe's exit code."""
    command = token_probe(url, "it's $(m)", within_s=within_s)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "VLLM_API_KEY": key}
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode


def test_a_token_is_health() -> None:
    """One is asked for, of the model by its name, with the key."""
    asked: list[dict[str, object]] = []

    def generates(request: dict[str, object]) -> tuple[int, object]:
        asked.append(request)
        return 200, {"usage": {"completion_tokens": 1}}

    with server(generates) as url:
        assert outcome(url) == 0
        assert outcome(url, key="another-key-of-theirs") != 0
    assert asked == [{"model": "it's $(m)", "prompt": "1", "max_tokens": 1}]


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, {"usage": {"completion_tokens": 0}}), (200, {}), (500, {}), (404, {})],
)
def test_anything_else_is_none(status: int, body: object) -> None:
    """An answer without a token, an error, a model of another name."""
    with server(lambda _: (status, body)) as url:
        assert outcome(url) != 0


def test_silence_is_none() -> None:
    """As after a lost node, where a request hangs; and where nobody listens."""

    def hangs(_: dict[str, object]) -> tuple[int, object]:
        time.sleep(2)
        return 200, {"usage": {"completion_tokens": 1}}

    with server(hangs) as url:
        assert outcome(url, within_s=1) != 0
    assert outcome(url) != 0
