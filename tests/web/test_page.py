"""The page: rendered in two languages, escaped, self-contained; a real browser reads it where there
is one.
"""

import shutil
import subprocess
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from starlette.testclient import TestClient

from hakaru.memory.settings import ContextSettings
from hakaru.serving.gateway import make_gateway
from hakaru.serving.limits import Limits
from hakaru.serving.port import bound_socket
from hakaru.serving.supervisor import Supervisor
from hakaru.web.page import page_routes

LIMITS = Limits(n_ctx=1024, longest=64, max_body=2**20, at_once=2**18)

pytestmark = [pytest.mark.engine, pytest.mark.alone]


class Text(HTMLParser):
    """The words of a page, and every address that it names."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words, self.addresses = "", list[str]()
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [value or "" for name, value in attrs if name in {"src", "href"}]


@pytest.fixture(scope="module")
def page(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The gateway with the page, before a running engine whose file has an unfriendly name."""
    unfriendly = tmp_path_factory.mktemp("m") / "<b>&quot;.gguf"
    unfriendly.symlink_to(tiny)
    supervisor = Supervisor(unfriendly, ContextSettings(n_ctx=512))
    supervisor.start()
    app = make_gateway(supervisor, LIMITS, page_routes(supervisor))
    with TestClient(app, base_url="http://127.0.0.1:8600") as client:
        yield client
    supervisor.stop()


def test_the_page_speaks_the_reader_s_language(page: TestClient) -> None:
    """By the browser's preference, or by the link on the page."""
    english = page.get("/", headers={"Accept-Language": "en-GB"})
    japanese = page.get("/", headers={"Accept-Language": "ja,en;q=0.5"})
    assert '<html lang="en">' in english.text
    assert "Memory that the engine took" in english.text
    assert '<html lang="ja">' in japanese.text
    assert "エンジンが使ったメモリ" in japanese.text
    assert page.get("/?lang=ja", headers={"Accept-Language": "en"}).text == japanese.text


def test_the_page_is_escaped_and_needs_nothing_from_elsewhere(page: TestClient) -> None:
    """No script, a strict policy, only its own addresses, and a file name is text."""
    answer = page.get("/")
    found = Text(answer.text)
    assert "<b>&quot; on this machine" in found.words
    assert "<b>" not in answer.text
    assert "<script" not in answer.text
    assert all(a.startswith(("/", "data:,")) for a in found.addresses)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert "http://127.0.0.1:8600/v1" in found.words
    assert page.get("/page.css").headers["Content-Type"].startswith("text/css")


def test_the_page_is_not_for_other_hosts(page: TestClient) -> None:
    """The same refusal as for the API."""
    assert page.get("/", headers={"Host": "evil.example"}).status_code == 403
    assert page.get("/page.css", headers={"Host": "evil.example"}).status_code == 403


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed")
def test_a_browser_shows_the_page(tiny: Path, tmp_path: Path) -> None:
    """Headless Chromium loads the page and its style under the policy, without an error on its
    console.
    """
    import threading

    import uvicorn

    supervisor = Supervisor(tiny, ContextSettings(n_ctx=512))
    supervisor.start()
    listener = bound_socket(None)
    port = listener.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(
            make_gateway(supervisor, LIMITS, page_routes(supervisor)), log_level="critical"
        )
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        assert httpx.get(f"http://127.0.0.1:{port}/").status_code == 200
        done = subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
             f"--user-data-dir={tmp_path}", "--dump-dom", f"http://127.0.0.1:{port}/"],
             capture_output=True, text=True, timeout=60, check=True)  # fmt: skip
    finally:
        server.should_exit = True
        thread.join()
        supervisor.stop()
    assert "tiny-f16 on this machine" in Text(done.stdout).words
    assert "CONSOLE" not in done.stderr
