"""The part "Models" of the page: rendered, and asked for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from hakaru.errors import MachineError
from hakaru.language import use_language
from hakaru.pictures import page_file
from hakaru.selection.choose import choose
from hakaru.selection.chosen import Chosen
from hakaru.servers import HOST
from hakaru.serving.callers import who_may_ask
from hakaru.serving.port import bound_socket
from hakaru.web.shared import copy_words, language_of, script, style
from hakaru.web.which_model import HEADERS, MODULES, SCRIPTS, models_part, models_routes

asked: list[tuple[str, str]] = []


def ask(task: str, language: str) -> Chosen:
    """An RTX 4090 in the place of this machine."""
    asked.append((task, language))
    return choose(task, language=language, hardware="RTX 4090")  # type: ignore[arg-type]


def lone_page(request: Request) -> Response:
    """A page with the empty part, as the server's own page has it."""
    use_language(language_of(request))
    html = page_file.render(
        "models.html", title="t", back="b", scripts=SCRIPTS, modules=MODULES,
        models=models_part("chat", language_of(request)),
        failed="The server gave no answer.", **copy_words(),
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
            *(Route(path, script) for path in (*SCRIPTS, *MODULES, "/call.js")),
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
    for path in ("/models", "/models/rows", "/ask.js"):
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
