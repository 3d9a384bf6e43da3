"""The chat of the page in a real browser: what it sends, shows and keeps, and input methods."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from chromium import PRESENT, Window, chromium, window
from page_server import PageServer, page_server

pytestmark = PRESENT
HOSTILE = "Look: <img src=x onerror=alert(1)> **bold**.\n\n```html\n<b>code</b>\n```\nDone. "
DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PageServer, Browser]]:
    """The page of a scripted server, and a browser."""
    with page_server(tmp_path_factory.mktemp("page")) as server, chromium() as browser:
        yield server, browser


@pytest.fixture
def server(running: tuple[PageServer, Browser]) -> PageServer:
    """The server, as it was."""
    server, _ = running
    server.asked.clear()
    server.answer, server.pause_s, server.sees, server.refuses = ["Hel", "lo."], 0.0, False, False
    return server


@pytest.fixture
def seen(running: tuple[PageServer, Browser], server: PageServer) -> Iterator[Window]:
    """The chat, in a window that remembers nothing."""
    with window(running[1], permissions=["clipboard-read", "clipboard-write"]) as opened:
        opened.page.goto(f"{server.url}/?lang=en")
        yield opened


def ask(page: Page, text: str) -> None:
    """Type a message and press Enter."""
    page.get_by_label("Message").fill(text)
    page.get_by_label("Message").press("Enter")


def last(page: Page, role: str = "assistant") -> str:
    """The text of the last message of somebody."""
    return page.locator(f"#messages .{role} .text").last.inner_text()


def test_a_conversation_goes_on_and_is_kept_by_the_browser(
    seen: Window, server: PageServer
) -> None:
    """All that was said is sent with each question; the speed and the context in use are told; when
    the page is loaded again everything is there, until it is deleted.
    """
    page = seen.page
    page.get_by_text("System prompt").click()
    page.get_by_role("textbox", name="System prompt").fill("Be short.")
    ask(page, "Hi")
    expect(page.locator("#figures")).to_have_text("12.3 tokens/s · 42 of 2,048 tokens of context")
    ask(page, "Again")
    expect(page.locator("#messages article")).to_have_count(4)
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    assert [(m["role"], m["content"]) for m in server.asked[-1]["messages"]] == [
        ("system", "Be short."),
        ("user", "Hi"),
        ("assistant", "Hello."),
        ("user", "Again"),
    ]
    assert server.asked[-1]["stream"] is True
    page.get_by_role("button", name="New").click()
    expect(page.locator("#messages article")).to_have_count(0)
    ask(page, "Another")
    expect(page.locator("#messages article")).to_have_count(2)
    page.reload()
    expect(page.locator("#conversation option")).to_have_text(["Another", "Hi"])
    page.get_by_label("Conversation", exact=True).select_option(label="Hi")
    expect(page.locator("#messages article")).to_have_count(4)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    told = Path(download.value.path()).read_text(encoding="utf-8")
    assert told.startswith("## System\n\nBe short.\n\n## You\n\nHi\n")
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Delete").click()
    expect(page.locator("#conversation option")).to_have_text(["Another"])


def test_an_answer_is_text_and_never_html(seen: Window, server: PageServer) -> None:
    """Fences become blocks of code with a button that copies; tags of the model are letters. Whole
    sentences are said to screen readers.
    """
    server.answer = [HOSTILE[i : i + 7] for i in range(0, len(HOSTILE), 7)]
    page = seen.page
    ask(page, "Show me")
    expect(page.locator("#figures")).to_contain_text("tokens/s")
    answer = page.locator("#messages .assistant")
    expect(answer.locator(".text")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(answer.locator("img, b")).to_have_count(0)
    expect(answer.locator("strong")).to_have_text("bold")
    expect(answer.locator("pre")).to_have_text("<b>code</b>")
    answer.locator(".copyable button").click()
    expect(answer.locator(".copyable button")).to_have_text("Copied")
    assert seen.evaluate("navigator.clipboard.readText()") == "<b>code</b>"
    assert seen.complaints == []
    assert seen.barriers() == []


def test_answers_are_stopped_asked_for_again_and_questions_edited(
    seen: Window, server: PageServer
) -> None:
    """What was said until the stop stays; another answer takes its place; an edited question takes
    away what came behind it.
    """
    page, server.answer, server.pause_s = seen.page, ["word "] * 200, 0.05
    ask(page, "Count")
    expect(page.locator("#messages .assistant .text")).to_contain_text("word word")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Send")).to_be_visible()
    assert last(page).startswith("word") and len(last(page).split()) < 200
    server.answer, server.pause_s = ["Better."], 0.0
    page.get_by_role("button", name="Answer again").click()
    expect(page.locator("#messages .assistant .text")).to_have_text("Better.")
    assert [m["content"] for m in server.asked[-1]["messages"]] == ["Count"]
    page.get_by_role("button", name="Edit").click()
    expect(page.get_by_label("Message")).to_have_value("Count")
    expect(page.locator("#messages article")).to_have_count(0)


def test_enter_of_an_input_method_does_not_send(seen: Window, server: PageServer) -> None:
    """Neither while Chromium composes, nor in Safari's order, where the composition has ended when
    its Enter comes; the next Enter sends.
    """
    page = seen.page
    devtools = page.context.new_cdp_session(page)
    page.get_by_label("Message").focus()
    devtools.send(
        "Input.imeSetComposition", {"text": "にほん", "selectionStart": 3, "selectionEnd": 3}
    )
    for code in (229, 13):
        key = {"type": "rawKeyDown", "key": "Enter", "code": "Enter"}
        devtools.send("Input.dispatchKeyEvent", key | {"windowsVirtualKeyCode": code})
    assert page.get_by_label("Message").input_value() == "にほん"
    devtools.send("Input.insertText", {"text": "日本"})
    is_taken = seen.evaluate("""(() => {
      const field = document.getElementById("message");
      field.dispatchEvent(new CompositionEvent("compositionend", { data: "日本", bubbles: true }));
      const enter = { key: "Enter", keyCode: 229, isComposing: false, bubbles: true };
      return !field.dispatchEvent(new KeyboardEvent("keydown", { ...enter, cancelable: true }));
    })()""")
    assert not is_taken and server.asked == []
    assert page.get_by_label("Message").input_value() == "日本"
    page.get_by_label("Message").press("Shift+Enter")
    assert page.get_by_label("Message").input_value() == "日本\n"
    page.get_by_label("Message").press("Enter")
    expect(page.locator("#messages .user .text")).to_have_text("日本")
    expect(page.locator("#messages .assistant .text")).to_have_text("Hello.")
    assert len(server.asked) == 1


def test_pictures_are_for_models_that_see(
    running: tuple[PageServer, Browser], server: PageServer
) -> None:
    """The button is there only for them, and the picture is sent as data, not as an address."""
    with window(running[1]) as blind:
        with blind.page.expect_response("**/props"):
            blind.page.goto(f"{server.url}/?lang=en")
        expect(blind.page.get_by_text("Add a picture")).to_be_hidden()
    server.sees = True
    with window(running[1]) as opened:
        page = opened.page
        page.goto(f"{server.url}/?lang=en")
        expect(page.get_by_text("Add a picture")).to_be_visible()
        dot = {"name": "dot.png", "mimeType": "image/png", "buffer": DOT}
        page.get_by_label("Add a picture").set_input_files(dot)  # type: ignore[arg-type]
        expect(page.get_by_role("img", name="Picture 1")).to_be_visible()
        ask(page, "What is it?")
        expect(page.locator("#messages .user img")).to_be_visible()
        text, picture = server.asked[-1]["messages"][-1]["content"]
        assert text == {"type": "text", "text": "What is it?"}
        assert picture["image_url"]["url"].startswith("data:image/png;base64,")
        assert opened.complaints == []


def test_a_conversation_that_is_too_long_is_told(seen: Window, server: PageServer) -> None:
    """With what to do; the question stays."""
    server.refuses = True
    ask(seen.page, "Too long")
    expect(seen.page.get_by_role("alert")).to_contain_text("longer than the context")
    expect(seen.page.locator("#messages article")).to_have_count(1)
    expect(seen.page.get_by_role("button", name="Send")).to_be_visible()
