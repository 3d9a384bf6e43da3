"""The page of a server that demands a key, in a real browser: asked for once, kept by the tab."""

from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, expect

from chromium import PRESENT, Window, window
from hakaru.serving.entrance import entrance_for
from page_server import PageServer, page_server

KEY = "a-key-of-a-person-73"


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """The page of a server that demands KEY."""
    with page_server(tmp_path_factory.mktemp("page"), entrance_for(api_key=[KEY])) as server:
        yield server


@pytest.fixture
def seen(browser: Browser, keyed: PageServer) -> Iterator[Window]:
    """The page in English."""
    with window(browser) as opened:
        opened.page.goto(f"{keyed.url}/?lang=en#api")
        yield opened


def test_who_has_no_key_learns_nothing(keyed: PageServer) -> None:
    """But that there is a page; every piece of it, and a wrong key, is a 401."""
    page = httpx.get(keyed.url)
    assert page.status_code == 200 and 'type="password"' in page.text
    assert keyed.loaded.supervisor.path.stem[4:] not in page.text
    for path in ("/machine/now", "/machine/plan", "/models", "/models/rows", "/privacy/now"):
        assert httpx.get(keyed.url + path).status_code == 401
    for headers in ({"Authorization": "Bearer wrong"}, {"x-api-key": KEY[:-1]}):
        assert httpx.get(keyed.url, headers=headers).status_code == 401
    whole = httpx.get(keyed.url, headers={"Authorization": f"Bearer {KEY}"})
    assert 'id="machine"' in whole.text and KEY not in whole.text


@PRESENT
@pytest.mark.parametrize("look", [("ja", 360, False), ("en", 1280, True)], ids=str)
def test_the_question_for_a_key_can_be_read(
    browser: Browser, keyed: PageServer, look: tuple[str, int, bool]
) -> None:
    """By everybody, under the policy, with the keyboard at the field."""
    language, width, dark = look
    with window(browser, width=width, dark=dark) as opened:
        opened.page.goto(f"{keyed.url}/?lang={language}")
        expect(opened.page.locator("#key")).to_be_focused()
        assert not opened.is_cut_off and opened.barriers() == [] and opened.complaints == []


@PRESENT
def test_the_key_opens_the_whole_page(seen: Window, keyed: PageServer) -> None:
    """A wrong one is told, the right one shows every tab at its address, with the chat working; it
    stands in no address, no cookie and no storage but the tab's.
    """
    page = seen.page
    for wrong in ("wrong", "鍵"):
        page.get_by_label("Key").fill(wrong)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("The server does not take this key.")
    page.get_by_label("Key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator("#api pre").first).to_be_visible()
    expect(page.locator("h1")).to_be_focused()
    expect(page.locator("#api")).to_contain_text("Authorization: Bearer YOUR_KEY")
    expect(page.locator("#api")).to_contain_text('api_key="YOUR_KEY"')
    page.locator("#chat-tab").click()
    page.get_by_label("Message").fill("Hello")
    page.keyboard.press("Enter")
    expect(page.locator("#messages .assistant .text")).to_have_text("Hello.")
    page.locator("#machine-tab").click()
    page.get_by_role("button", name="Work it out").click()
    expect(page.locator("#plan")).to_contain_text("it fits")
    assert seen.evaluate("sessionStorage.getItem('hakaru.key')") == KEY
    assert KEY not in seen.evaluate("JSON.stringify(localStorage) + document.cookie + location")
    assert not any(KEY in address for address in seen.asked)
    assert all("401" in complaint for complaint in seen.complaints)


@PRESENT
def test_the_tab_keeps_the_key_and_another_one_does_not(
    browser: Browser, seen: Window, keyed: PageServer
) -> None:
    """Also across a reload and in the other language; a key that is taken no more is asked anew."""
    page = seen.page
    page.get_by_label("Key").fill(KEY)
    page.get_by_role("button", name="Enter").click()
    expect(page.locator("#api")).to_be_visible()
    page.reload()
    expect(page.locator("#api")).to_be_visible()
    page.get_by_role("link", name="日本語").click()
    expect(page.locator("#api")).to_be_visible()
    other = page.context.new_page()
    other.goto(keyed.url)
    expect(other.locator("#key")).to_be_visible()
    seen.evaluate("sessionStorage.setItem('hakaru.key', 'an-older-key-of-it')")
    page.reload()
    expect(page.locator("#key")).to_be_visible()
    # the page may still be on its way to the one that asks for the key
    page.wait_for_function("sessionStorage.getItem('hakaru.key') === null")
