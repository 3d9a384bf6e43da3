"""The part "Models" of the page: rendered, asked for, and read in a real browser."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from chromium import PRESENT, Browser, chromium
from hakaru.errors import MachineError
from hakaru.language import use_language
from hakaru.pictures import page_file
from hakaru.selection.choose import choose
from hakaru.selection.chosen import Chosen
from hakaru.servers import HOST
from hakaru.serving.callers import who_may_ask
from hakaru.serving.port import bound_socket
from hakaru.web.shared import copy_words, language_of, script, style
from hakaru.web.which_model import HEADERS, SCRIPTS, models_part, models_routes

asked: list[tuple[str, str]] = []


def ask(task: str, language: str) -> Chosen:
    """An RTX 4090 in the place of this machine."""
    asked.append((task, language))
    return choose(task, language=language, hardware="RTX 4090")  # type: ignore[arg-type]


def lone_page(request: Request) -> Response:
    """A page with the empty part, as the server's own page has it."""
    use_language(language_of(request))
    html = page_file.render(
        "models.html", title="t", back="b", scripts=SCRIPTS,
        models=models_part("chat", language_of(request)), **copy_words(),
    )  # fmt: skip
    return HTMLResponse(html, headers=HEADERS)


async def health(request: Request) -> Response:
    return JSONResponse({})


@contextmanager
def served(ask: Any = ask) -> Iterator[str]:
    """The part at a free port, as the gateway has it, until the block ends."""
    app = Starlette(
        routes=[
            *models_routes(ask, lambda command: f"./{command}"), Route("/", lone_page),
            Route("/health", health), Route("/page.css", style),
            *(Route(path, script) for path in SCRIPTS),
        ],
        middleware=who_may_ask(),
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
    with bound_socket(None) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(5)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with served() as url:
        yield url


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    with chromium(tmp_path / "profile") as browser:
        yield browser


def test_the_page_has_every_row_and_the_command_that_fetches_it(url: str) -> None:
    """Also without scripts: the form asks for a page, in both languages."""
    page = httpx.get(f"{url}/models?task=code&language=ja&lang=en", timeout=60)
    rows = choose("code", language="ja", hardware="RTX 4090").rows
    assert page.status_code == 200
    for row in rows:
        assert f"./hakaru pull {row.model.id}:{row.type}</code>" in page.text
    assert '<option value="code" selected>' in page.text
    assert '<option value="ja" selected>' in page.text
    assert "./hakaru choose --task code --language ja" in page.text
    japanese = httpx.get(f"{url}/models?task=code&language=ja&lang=ja", timeout=60)
    assert "推奨" in japanese.text and '<html lang="ja">' in japanese.text
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "unsafe" not in policy and "style=" not in page.text


def test_a_question_is_worked_out_once(url: str) -> None:
    """The next reader gets the same answer at once."""
    for _ in range(3):
        httpx.get(f"{url}/models/rows?task=tool-use&language=en", timeout=60)
    assert asked.count(("tool-use", "en")) == 1


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("task=poems", "&#39;poems&#39;, expected one of chat"),
        ("language=fr", "expected one of en"),
    ],
)
def test_a_wrong_question_is_told(url: str, query: str, words: str) -> None:
    """In one sentence, with 400, and as text."""
    answer = httpx.get(f"{url}/models/rows?{query}", timeout=60)
    assert answer.status_code == 400 and words in answer.text


def test_strangers_get_no_answer(url: str) -> None:
    """Neither another host's name nor another site's page."""
    for path in ("/models", "/models/rows", "/models.js"):
        assert httpx.get(url + path, headers={"Host": "evil.example"}).status_code == 403
        assert httpx.get(url + path, headers={"Origin": "https://evil.example"}).status_code == 403


def test_the_gateway_answers_meanwhile() -> None:
    """While an answer is worked out, and many ask, other requests are answered; two questions are
    not worked out at the same time.
    """
    may_go, running, most = threading.Event(), [0], [0]

    def slow(task: str, language: str) -> Chosen:
        running[0] += 1
        most[0] = max(most[0], running[0])
        may_go.wait(20)
        running[0] -= 1
        raise MachineError("the ledger is damaged")

    with served(slow) as url:
        answers: list[int] = []

        def get(task: str) -> None:
            address = f"{url}/models/rows?task={task}"
            answers.append(httpx.get(address, timeout=60).status_code)

        threads = [threading.Thread(target=get, args=[task]) for task in ("chat", "code", "rag")]
        for thread in threads:
            thread.start()
        assert all(httpx.get(f"{url}/health", timeout=10).status_code == 200 for _ in range(5))
        may_go.set()
        for thread in threads:
            thread.join(30)
        assert answers == [500, 500, 500] and most == [1]


def wait_for(browser: Browser, condition: str) -> None:
    """Wait at most 30 s until some JavaScript is true."""
    assert browser.evaluate(
        "new Promise(done => { const end = Date.now() + 30000; const look = () => "
        f"({condition}) ? done(true) : Date.now() > end ? done(false) : setTimeout(look, 50); "
        "look(); })"
    ), condition


SHOWN = "document.querySelectorAll('#models-answer table.rows tbody').length > 5"


@PRESENT
@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_page_shows_it_at_every_width(url: str, browser: Browser, language: str) -> None:
    """From a phone to a desktop, dark and light: nothing is cut off, nothing complains, nothing is
    asked of another host, and no text of the picture covers another or a mark.
    """
    for width, dark in ((375, False), (768, True), (1280, False)):
        browser.look(width=width, dark=dark)
        browser.open(f"{url}/?lang={language}")
        wait_for(browser, SHOWN)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.complaints == []
        assert all(address.startswith((url, "data:")) for address in browser.requested)
        covered = browser.evaluate("""(() => {
          const svg = [...document.querySelectorAll("svg.choice")].find(s => s.clientWidth > 0);
          const box = node => node.getBoundingClientRect();
          const common = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
            && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
          const texts = [...svg.querySelectorAll("text")];
          const marks = [...svg.querySelectorAll(".mark")];
          const found = [];
          texts.forEach((a, i) => {
            for (const b of texts.slice(i + 1))
              if (common(box(a), box(b))) found.push([a.textContent, b.textContent]);
            for (const b of marks)
              if (common(box(a), box(b))) found.push([a.textContent, "a mark"]);
          });
          return found;
        })()""")
        assert covered == []


@PRESENT
def test_another_task_is_asked_for_by_key(url: str, browser: Browser) -> None:
    """The form has labels, the answer is said to screen readers, and a fetched row is copied."""
    browser.look(width=1280)
    browser.open(f"{url}/?lang=en")
    wait_for(browser, SHOWN)
    labels = "[...document.querySelectorAll('select')].map(s => s.labels[0].textContent)"
    assert browser.evaluate(labels) == ["Task", "Language"]
    said = "document.getElementById('models-status').textContent"
    first = browser.evaluate(said)
    assert first.startswith("Recommended: ")
    browser.evaluate(
        "(() => { const s = document.getElementById('task'); s.focus(); s.value = 'rag';"
        "s.dispatchEvent(new Event('change', {bubbles: true})); })()"
    )
    wait_for(browser, f"{said}.startsWith('Recommended: ') && {said} !== {first!r}")
    assert browser.evaluate("document.activeElement.id") == "task"
    for _ in range(30):
        browser.press("Tab")
        if browser.evaluate("document.activeElement.dataset.copies === 'pull1'"):
            break
    browser.press("Enter")
    wait_for(browser, "document.activeElement.textContent === 'Copied'")


@PRESENT
def test_a_server_that_is_gone_is_told(browser: Browser) -> None:
    """Instead of an empty part."""
    with served() as url:
        browser.open(f"{url}/?lang=en")
        wait_for(browser, SHOWN)
    browser.evaluate(
        "document.querySelector('#models form').dispatchEvent("
        "new Event('submit', {cancelable: true}))"
    )
    wait_for(
        browser,
        "document.getElementById('models-status').textContent === 'The server gave no answer.'",
    )
