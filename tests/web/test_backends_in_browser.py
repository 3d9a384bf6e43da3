"""The page of a server behind which others answer, in a real browser; small programs stand for
them.
"""

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from chromium import PRESENT, Window, window
from hakaru.serving.backend_address import backend_addresses
from hakaru.serving.entrance import entrance_for
from hakaru.serving.serve_at import Serving
from hakaru.serving.serve_backends import serve_backends
from hakaru.web.backends_page import privacy_cards_of
from hakaru.web.page import page_routes
from stand_in_backend import StandIn, stand_in

pytestmark = PRESENT
TABS = ("chat", "backends", "privacy", "api")
LOOKS = [("ja", 360, False), ("en", 1280, True)]


@pytest.fixture
def two() -> Iterator[tuple[StandIn, StandIn]]:
    """A vLLM, and a llama.cpp server with another model."""
    with stand_in() as first, stand_in("other-7b", owned_by="llamacpp") as second:
        yield first, second


@pytest.fixture
def served(two: tuple[StandIn, StandIn]) -> Iterator[Serving]:
    """The gateway before both."""
    with served_before(two) as serving:
        yield serving


def served_before(backends: tuple[StandIn, ...], **more: Any) -> Any:
    urls = [backend.url for backend in backends]
    return serve_backends(urls, silent_s=5, pages=page_routes, **more)


@pytest.fixture
def seen(browser: Browser, served: Serving) -> Iterator[Window]:
    """The page in English."""
    with window(browser) as opened:
        opened.page.goto(f"{served.url.removesuffix('v1')}?lang=en")
        yield opened


def test_a_chat_goes_to_the_server_that_has_the_model(
    seen: Window, two: tuple[StandIn, StandIn]
) -> None:
    """The models of all servers are there to choose from; the speed is what the browser saw, and
    the limit stands only where it is told.
    """
    page = seen.page
    expect(page.locator("#state")).to_have_text("2 of 2 servers answer")
    for name, backend in zip(("smol", "other-7b"), two, strict=True):
        page.get_by_label("Model", exact=True).first.select_option(name)
        page.get_by_label("Message").fill("Who are you?")
        page.keyboard.press("Enter")
        expect(page.locator("#messages .assistant .text").last).to_have_text("onetwothreefour")
        expect(page.get_by_role("button", name="Send")).to_be_visible()
        assert backend.asked[-1]["model"] == name
    told = page.locator("#figures")
    expect(told).to_have_text(re.compile(r"^[\d.]+ tokens/s · 34 of 512 tokens of context$"))
    assert seen.complaints == []


def test_every_server_is_told_with_what_it_does(
    seen: Window, served: Serving, two: tuple[StandIn, StandIn]
) -> None:
    """What it has, what came of it, and soon that it is lost, and why."""
    asked = {"model": "smol", "prompt": "x"}
    assert httpx.post(f"{served.url}/completions", json=asked).status_code == 200
    page = seen.page
    page.locator("#backends-tab").click()
    first, second = page.locator("#backends-now .cards > div").all()
    expect(first).to_contain_text(two[0].url)
    expect(first.locator(".value")).to_have_text("✓ ready")
    expect(first).to_contain_text("Whole answers: 1; failed: 0. The latest took", timeout=10_000)
    expect(first).to_contain_text("smol, by vLLM. 512 tokens for each conversation.")
    expect(second).to_contain_text("other-7b, by llama.cpp.")
    expect(second).to_contain_text("It answers 2 at the same time.")
    two[1].kill()
    httpx.post(f"{served.url}/completions", json=asked | {"model": "other-7b"}, timeout=20)
    expect(second.locator(".value")).to_have_text("lost", timeout=10_000)
    expect(second).to_contain_text("Why it is lost: nobody listens there.")
    expect(page.locator("#state")).to_have_text("1 of 2 servers answer", timeout=10_000)


def test_the_page_says_who_reads_the_prompts(seen: Window, two: tuple[StandIn, StandIn]) -> None:
    """Here other programs of this machine, as far as anybody can see; calls name a model."""
    page = seen.page
    page.locator("#privacy-tab").click()
    reads = page.locator("#privacy-now .cards > div").first
    expect(reads.locator(".value")).to_have_text("this machine")
    expect(reads).to_contain_text(f"Prompts go to {two[0].url}, {two[1].url}, on this machine")
    page.locator("#api-tab").click()
    expect(page.locator("#api")).to_contain_text("one of the models: smol, other-7b.")
    expect(page.locator("#api")).to_contain_text('"model": "smol"')


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_every_tab_can_be_read(
    browser: Browser, served: Serving, look: tuple[str, int, bool]
) -> None:
    """Nothing is cut off, nothing is asked of another host, the console stays empty under the
    policy, and axe-core finds no serious violation.
    """
    language, width, dark = look
    root = served.url.removesuffix("v1")
    with window(browser, width=width, dark=dark) as opened:
        opened.page.goto(f"{root}?lang={language}")
        for tab in TABS:
            opened.page.locator(f"#{tab}-tab").click()
            expect(opened.page.locator(f"#{tab}")).to_be_visible()
            assert not opened.is_cut_off, tab
            assert opened.barriers() == [], tab
        assert opened.complaints == []
        assert all(address.startswith((root, "data:")) for address in opened.asked)


def test_a_page_behind_a_key_tells_nothing_before_it(two: tuple[StandIn, StandIn]) -> None:
    """Neither models nor addresses; and its policy lets nothing in from elsewhere."""
    key = "k" * 40
    with served_before(two, entrance=entrance_for(api_key=[key])) as serving:
        root = serving.url.removesuffix("/v1")
        without = httpx.get(f"{root}/")
        assert without.status_code == 200 and "smol" not in without.text
        assert httpx.get(f"{root}/backends/now").status_code == 401
        page = httpx.get(f"{root}/", headers={"Authorization": f"Bearer {key}"})
        assert "smol" in page.text and two[0].url in page.text
        assert "default-src 'none'" in page.headers["content-security-policy"]


def test_other_machines_are_named_as_such() -> None:
    """Who reads prompts stands first on the tab, with what is not encrypted on the way."""
    addresses = backend_addresses(["http://192.0.2.7:8000"], trust_network=True)
    pool = SimpleNamespace(all=[SimpleNamespace(address=addresses[0])])
    leave = (addresses[0].url,)
    what: Any = SimpleNamespace(backends=pool, leave=leave)
    card = privacy_cards_of(what)[0]
    assert (card.value, card.kind) == ("other machines", "bad")
    assert f"Nothing is encrypted on the way to {leave[0]}" in card.note
