"""Debian's Chromium, driven by Playwright: one browser for the tests of a file, a context for each
page.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from msgspec import Struct, field
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

PROGRAM: Final = shutil.which("chromium")
PRESENT: Final = pytest.mark.skipif(PROGRAM is None, reason="Debian's chromium is not installed")
SERIOUS: Final = {"serious", "critical"}


class Window(Struct):
    """A page in a window of its own, with what it asked for and what it complained of."""

    page: Page
    asked: list[str] = field(default_factory=list)  # addresses
    complaints: list[str] = field(default_factory=list)  # of the console

    def evaluate(self, script: str) -> Any:
        """The value of some JavaScript."""
        return self.page.evaluate(script)

    @property
    def is_cut_off(self) -> bool:
        """Whether something stands beyond the right edge."""
        return bool(self.evaluate("document.documentElement.scrollWidth > innerWidth"))

    def barriers(self) -> list[str]:
        """What axe-core finds that keeps people out, with the elements."""
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {[node['html'][:120] for node in one['nodes']]}"
            for one in found
            if one["impact"] in SERIOUS
        ]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium without a screen, that ends with the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def window(
    browser: Browser, *, width: int = 1280, dark: bool = False, **context: Any
) -> Iterator[Window]:
    """A window of a person who prefers these colours, with nothing remembered."""
    made = browser.new_context(
        viewport=ViewportSize(width=width, height=800),
        color_scheme="dark" if dark else "light",
        **context,
    )
    page = made.new_page()
    opened = Window(page)
    page.on("request", lambda request: opened.asked.append(request.url))
    page.on("console", lambda message: opened.complaints.append(message.text))
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    yield opened
    made.close()
