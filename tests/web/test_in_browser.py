"""The page in a real browser: every tab, in both languages, dark and light, from a phone to a
desktop, by keyboard, and by axe-core's rules.
"""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from chromium import PRESENT, Window, window
from page_server import PageServer, page_server

pytestmark = PRESENT
LOOKS = [("ja", 390, False), ("en", 820, True), ("ja", 1280, True)]
FILLED = {
    "chat": "#message",
    "machine": "#machine-now dd",
    "models": "#models-answer tbody:nth-of-type(6)",
    "candidates": "#candidates svg.choice:visible",
    "privacy": "#privacy-now dd",
    "api": "#api pre",
}
"""The tabs, and what stands in each when it is filled."""
COVERED = """(() => {
  const box = node => node.getBoundingClientRect();
  const common = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
    && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3;
  const shown = [...document.querySelectorAll("svg.choice")].filter(s => s.clientWidth > 0);
  return shown.flatMap(svg => {
    const texts = [...svg.querySelectorAll("text:not(.number-in)")];
    const marks = [...svg.querySelectorAll(".mark")];
    return texts.flatMap((a, i) => [...texts.slice(i + 1), ...marks]
      .filter(b => common(box(a), box(b))).map(b => [a.textContent, b.textContent || "a mark"]));
  });
})()"""
"""The texts of pictures that cover another text, or a mark."""


@pytest.fixture(scope="module")
def page_at(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageServer]:
    """A server's page whose engine is scripted."""
    with page_server(tmp_path_factory.mktemp("page")) as server:
        yield server


@pytest.fixture
def seen(browser: Browser, page_at: PageServer) -> Iterator[Window]:
    """The page in English, in a wide window."""
    with window(browser) as opened:
        opened.page.goto(f"{page_at.url}/?lang=en")
        yield opened


@pytest.mark.parametrize("look", LOOKS, ids=str)
def test_every_tab_can_be_read(
    browser: Browser, page_at: PageServer, look: tuple[str, int, bool]
) -> None:
    """Nothing is cut off, the console stays empty under the policy, nothing is asked of another
    host, no text of a picture covers another, and axe-core finds no serious violation.
    """
    language, width, dark = look
    with window(browser, width=width, dark=dark) as opened:
        opened.page.goto(f"{page_at.url}/?lang={language}")
        for tab, filled in FILLED.items():
            opened.page.locator(f"#{tab}-tab").click()
            expect(opened.page.locator(filled).first).to_be_visible(timeout=30_000)
            assert not opened.is_cut_off, tab
            assert opened.barriers() == [], tab
            assert opened.evaluate(COVERED) == [], tab
        ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (ground == "rgb(22, 25, 30)") == dark
        assert opened.complaints == []
        assert all(address.startswith((page_at.url, "data:")) for address in opened.asked)


def test_tabs_are_gone_through_by_arrows(seen: Window) -> None:
    """One stop of the Tab key; arrows, Home and End choose; the address names the tab, and opens
    it again, also in the other language.
    """
    page = seen.page
    page.locator("[role=tab][aria-selected=true]").focus()
    for key, tab in (("ArrowRight", "machine"), ("End", "api"), ("ArrowRight", "chat")):
        page.keyboard.press(key)
        assert seen.evaluate("document.activeElement.id") == f"{tab}-tab"
        expect(page.locator("section:visible")).to_have_count(1)
        expect(page.get_by_role("tabpanel")).to_have_attribute("id", tab)
    assert page.locator("[role=tab][tabindex='0']").count() == 1
    page.keyboard.press("End")
    assert page.url.endswith("#api")
    page.get_by_role("link", name="日本語").click()
    expect(page.locator("#api")).to_be_visible()
    expect(page.locator("html")).to_have_attribute("lang", "ja")


def test_without_scripts_everything_stands_on_one_page(
    browser: Browser, page_at: PageServer
) -> None:
    """The list of tabs is a list of contents."""
    with window(browser, java_script_enabled=False) as opened:
        opened.page.goto(page_at.url)
        expect(opened.page.locator("main section:visible")).to_have_count(len(FILLED))
        opened.page.locator("#api-tab").click()
        assert opened.page.url.endswith("#api")
        assert opened.page.get_by_role("tab").count() == 0


def test_other_settings_are_planned(seen: Window) -> None:
    """By the planner, in words, as a chart with its table, with the command; and a wrong setting is
    told.
    """
    page = seen.page
    page.locator("#machine-tab").click()
    page.get_by_label("Type of the KV cache").select_option("q8_0")
    page.get_by_label("Conversations at the same time").fill("4")
    page.get_by_role("button", name="Work it out").click()
    plan = page.locator("#plan")
    expect(plan).to_contain_text("that may be used: it fits.")
    expect(plan.locator("svg.bar")).to_have_count(1)
    expect(plan).to_contain_text("--parallel 4 --cache-type-k q8_0 --cache-type-v q8_0")
    expect(page.locator("#plan-status")).to_contain_text("it fits")
    page.locator("#what-model").fill("qwen3-0.6b")
    page.get_by_label("Type of the weights").select_option("Q6_K")
    expect(plan).to_contain_text("hakaru pull qwen3-0.6b:Q6_K")
    page.locator("#what-model").fill("")
    page.get_by_label("Context, tokens").fill("99999999")
    page.keyboard.press("Enter")
    expect(plan).to_contain_text("Context, tokens is 99999999, expected a whole number from 1 to")


def test_what_is_held_is_told_anew(seen: Window) -> None:
    """While somebody looks."""
    seen.page.locator("#machine-tab").click()
    before = len(seen.asked)
    seen.page.wait_for_timeout(2500)
    assert sum("/machine/now" in address for address in seen.asked[before:]) == 1


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_the_keyboard_copies(browser: Browser, page_at: PageServer, has_clipboard: bool) -> None:
    """Tab to the button and Enter, also where the browser offers pages no clipboard; the button
    says that it was done, and is itself again after a while.
    """
    with window(browser, permissions=["clipboard-read", "clipboard-write"]) as opened:
        page = opened.page
        if not has_clipboard:
            page.add_init_script(
                "window.real = navigator.clipboard;"
                "Object.defineProperty(navigator, 'clipboard', {value: undefined})"
            )
        page.goto(f"{page_at.url}/?lang=en#api")
        button = page.get_by_role("button", name="Copy: In Python")
        button.focus()
        page.keyboard.press("Enter")
        expect(button).to_have_text("Copied")
        expect(page.locator("#said")).to_have_text("Copied")
        text = opened.evaluate("(window.real || navigator.clipboard).readText()")
        assert text.startswith("from openai import OpenAI")
        assert text.endswith("print(answer.choices[0].message.content)")
        expect(button).to_have_text("Copy", timeout=5000)


def test_another_task_is_asked_for_by_key(seen: Window) -> None:
    """The answer is said to screen readers, and the form keeps the focus; where the server is gone,
    the page says so.
    """
    page = seen.page
    page.locator("#models-tab").click()
    said = page.locator("#models-status")
    expect(said).to_contain_text("Recommended: ", timeout=30_000)
    with page.expect_response("**/models/rows?task=rag*", timeout=30_000):
        page.get_by_label("Task").focus()
        page.get_by_label("Task").select_option("rag")
    expect(said).to_contain_text("Recommended: ")
    assert seen.evaluate("document.activeElement.id") == "task"
    expect(page.locator("#models-answer button").first).to_be_visible()
    page.route("**/models/rows*", lambda route: route.abort())
    page.get_by_role("button", name="Show").click()
    expect(said).to_have_text("The server gave no answer.")
