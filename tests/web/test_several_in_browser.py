"""The page of a server of several models, in a real browser; small programs stand for engines."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from chromium import PRESENT, Window, window
from hakaru.web.page import page_routes
from houses import House

pytestmark = [PRESENT, pytest.mark.usefixtures("no_engine")]


@pytest.fixture
def seen(browser: Browser, house: House) -> Iterator[Window]:
    """The page of two models, of which the first is loaded."""
    house.serves("a", "b", pages=page_routes)
    with window(browser) as opened:
        opened.page.goto(f"{house.url.removesuffix('/v1')}/?lang=en")
        yield opened


def test_a_chat_chooses_its_model(seen: Window, house: House) -> None:
    """It is loaded by the question, which the page tells; each answer has its model's name, and a
    conversation that is opened again goes on with its model.
    """
    page = seen.page
    expect(page.locator("#state")).to_have_text("1 of 2 models are loaded")
    for name in ("a", "b"):
        page.get_by_label("Model", exact=True).first.select_option(name)
        page.get_by_label("Message").fill("Who are you?")
        page.keyboard.press("Enter")
        answer = page.locator("#messages .assistant .text").last
        expect(answer).to_have_text(f"I am {name}.", timeout=30_000)
        expect(page.locator("#messages .assistant h3").last).to_have_text(name)
        expect(page.get_by_role("button", name="Send")).to_be_visible()  # the answer has ended
    expect(page.locator("#state")).to_have_text("2 of 2 models are loaded", timeout=15_000)
    assert house.started == ["a", "b"]
    page.reload()
    expect(page.locator("#chat-model")).to_have_value("b")
    assert seen.complaints == []


def test_every_tab_tells_of_the_model_that_is_chosen(seen: Window) -> None:
    """What is loaded and what it holds; the memory and the evidence of each; both engines; the
    names in the calls.
    """
    page = seen.page
    page.locator("#machine-tab").click()
    states = page.locator("#machine-states dd")
    idle = re.compile(r"idle for \d+ s; .+ of the RAM")
    expect(states.first).to_have_text(idle, timeout=15_000)
    expect(states.last).to_have_text("not loaded")
    of = page.locator("#machine-of")
    expect(of).to_contain_text("Memory: planned, and allocated")
    page.locator("#machine-model").select_option("b")
    expect(of).to_contain_text("b is not loaded. The first request that names it loads it.")
    page.locator("#candidates-tab").click()
    page.locator("#candidates-model").select_option("b")
    expect(page.locator("#candidates-of")).to_contain_text("How fast it is here was not measured")
    expect(page.locator("#candidates-of")).to_contain_text("/b.gguf")
    page.locator("#privacy-tab").click()
    expect(page.locator("#privacy-now dt").last).to_have_text("The engine's network")
    page.locator("#api-tab").click()
    expect(page.locator("#api")).to_contain_text("Every request names one of the models: a, b.")
    expect(page.locator("#api")).to_contain_text('"model": "a"')
    assert seen.complaints == []


@pytest.mark.parametrize("look", [("ja", 360, False), ("en", 1280, True)], ids=str)
def test_every_tab_can_be_read(browser: Browser, house: House, look: tuple[str, int, bool]) -> None:
    """Nothing is cut off, and axe-core finds no serious violation."""
    language, width, dark = look
    house.serves("a", "b", pages=page_routes)
    with window(browser, width=width, dark=dark) as opened:
        opened.page.goto(f"{house.url.removesuffix('/v1')}/?lang={language}")
        for tab in ("chat", "machine", "candidates", "privacy", "api"):
            opened.page.locator(f"#{tab}-tab").click()
            opened.page.wait_for_load_state("networkidle")
            assert not opened.is_cut_off, tab
            assert opened.barriers() == [], tab
        assert opened.complaints == []
