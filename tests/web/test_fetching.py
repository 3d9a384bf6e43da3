"""Fetching a model from the page, against a hub on the loopback interface."""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from chromium import PRESENT, window
from hakaru.serving.entrance import entrance_for
from hakaru.testing import tiny_shape, write_header_only
from hakaru.web.page import page_routes
from houses import House
from loopback import Loopback
from page_server import PageServer, page_server

pytestmark = pytest.mark.usefixtures("no_engine")
MODEL = "qwen3-0.6b:Q8_0"
REPO = "ggml-org/Qwen3-0.6B-GGUF"
FILE = "Qwen3-0.6B-Q8_0.gguf"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A model of some 16 MiB."""
    shape = tiny_shape(n_layer=2, n_embd=512, n_ff=1024, n_head=8, n_vocab=8192)
    return write_header_only(tmp_path / FILE, shape)


@pytest.fixture
def place(hub: Loopback, file: Path) -> Loopback:
    """A hub that has it."""
    hub.add_repository(REPO, {FILE: file}, hashes=True)
    return hub


@pytest.fixture
def server(tmp_path: Path, place: Loopback) -> Iterator[PageServer]:
    """The page of a scripted server."""
    with page_server(tmp_path) as server:
        yield server
        httpx.post(f"{server.url}/fetching/stop", json={})
        told_when(server, "none", "stopped", "done", "failed", "asks")


def begin(server: PageServer, model: str = MODEL, **headers: str) -> httpx.Response:
    return httpx.post(f"{server.url}/fetching", json={"model": model}, headers=headers)


def told_when(server: PageServer, *states: str) -> dict[str, Any]:
    """What is told as soon as it is in one of the states."""
    for _ in range(300):
        told: dict[str, Any] = httpx.get(f"{server.url}/fetching").json()
        if told["state"] in states:
            return told
        time.sleep(0.05)
    raise AssertionError(told)


def test_a_model_is_fetched_and_checked(server: PageServer, file: Path) -> None:
    """It lies where `hakaru pull` puts it, and the page has the command that serves it."""
    assert httpx.get(f"{server.url}/fetching").json()["state"] == "none"
    assert begin(server).json()["state"] == "fetching"
    done = told_when(server, "done", "failed")
    assert done["state"] == "done", done
    path = Path(done["command"].removeprefix("./hakaru serve "))
    assert path.read_bytes() == file.read_bytes()
    assert "Its SHA-256 is the one that the Hub announces." in done["sentences"]
    begin(server)
    again = told_when(server, "done")
    assert not any("Fetched" in sentence for sentence in again["sentences"])


def test_what_was_stopped_goes_on(server: PageServer, place: Loopback, file: Path) -> None:
    """One at a time; the progress has the time left; no byte comes twice."""
    place.piece_delay_s = 0.02
    begin(server)
    while not httpx.get(f"{server.url}/fetching").json().get("share"):
        time.sleep(0.05)
    second = begin(server, "qwen3-0.6b:Q4_K_M")
    assert second.status_code == 409 and MODEL in second.json()["error"]["message"]
    time.sleep(1.2)
    told = httpx.get(f"{server.url}/fetching").json()["sentences"]
    assert f"MiB of {FILE}" in told[1] and told[2] == "less than a minute left"
    assert httpx.post(f"{server.url}/fetching/stop", json={}).json()["state"] == "stopping"
    assert "goes on there" in told_when(server, "stopped")["sentences"][0]
    before = place.sent_bytes
    assert 2**20 < before < file.stat().st_size
    place.piece_delay_s = 0.0
    begin(server)
    assert told_when(server, "done", "failed")["state"] == "done"
    assert place.sent_bytes - before < file.stat().st_size - 2**20


def test_what_is_wrong_is_told_in_a_sentence(
    server: PageServer, place: Loopback, file: Path
) -> None:
    """What the Hub has not, and places among which a person chooses, one of which may then be
    fetched.
    """
    begin(server, "qwen3-0.6b:Q2_K")
    assert "Q2_K" in told_when(server, "failed")["sentences"][0]
    mine = ["mradermacher/SmolLM2-135M-Instruct-GGUF", "unsloth/SmolLM2-135M-Instruct-GGUF"]
    for repo in mine:
        place.add_repository(repo, {"x-Q8_0.gguf": file})
    begin(server, "smollm2-135m-instruct:Q8_0")
    asks = told_when(server, "asks", "done", "failed")
    assert asks["places"] == [f"hf:{repo}:Q8_0" for repo in mine]
    assert begin(server, "hf:someone/else:Q8_0").status_code == 400
    begin(server, asks["places"][1])
    assert told_when(server, "done", "failed")["state"] == "done"


@pytest.mark.parametrize(
    "model",
    ["", "qwen3-0.6b", "/etc/passwd", "hf:org/repo:Q8_0", "https://x.example/a.gguf", "a:b"],
)
def test_only_models_of_the_catalogue_are_fetched(server: PageServer, model: str) -> None:
    """The server is nobody's way to other addresses or files."""
    assert begin(server, model).status_code == 400
    assert httpx.get(f"{server.url}/fetching").json()["state"] == "none"


@pytest.mark.parametrize("path", ["/fetching", "/fetching/stop", "/fetching/serve"])
def test_only_the_own_page_changes_something(server: PageServer, path: str) -> None:
    """Not another site, port or host, not a form, no large or broken body."""
    url, body = server.url + path, {"model": MODEL}
    foreign = [
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"}, {"Origin": "http://127.0.0.1:1"},
        {"Host": "evil.example"},
    ]  # fmt: skip
    for stranger in foreign:
        assert httpx.post(url, json=body, headers=stranger).status_code == 403, stranger
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        sent = httpx.post(url, content='{"model": "x"}', headers={"Content-Type": kind})
        assert sent.status_code == 415
    assert httpx.post(url, json={"model": "x" * 5000}).status_code == 413
    for broken in (b"{", b"[]", b"\xff"):
        sent = httpx.post(url, content=broken, headers={"Content-Type": "application/json"})
        assert sent.status_code == 400
    assert httpx.get(f"{server.url}/fetching").json()["state"] == "none"
    assert httpx.get(f"{server.url}/fetching", headers=foreign[1]).status_code == 403


def test_other_machines_fetch_nothing(tmp_path: Path) -> None:
    """A server that they reach has no such route and no such button; on this machine a key is asked
    for where one is demanded.
    """
    key = "a-key-of-a-person-73"
    abroad = entrance_for(host="0.0.0.0", api_key=[key], insecure=True)
    with page_server(tmp_path, abroad) as server:
        own = {"Authorization": f"Bearer {key}"}
        assert begin(server, **own).status_code == 404
        assert 'id="fetching"' not in httpx.get(server.url, headers=own).text
    with page_server(tmp_path, entrance_for(api_key=[key])) as server:
        assert begin(server).status_code == 401


@PRESENT
@pytest.mark.parametrize("look", [("ja", 360, False), ("en", 1280, True)], ids=str)
def test_a_button_of_a_row_fetches(
    browser: Browser, server: PageServer, place: Loopback, look: tuple[str, int, bool]
) -> None:
    """By keyboard, with a bar and words for screen readers, in every state for everybody; stopped
    and gone on with the buttons of the panel; another page sees the same.
    """
    language, width, dark = look
    words = {"en": ("Stop", "Go on"), "ja": ("停止", "続ける")}[language]
    place.piece_delay_s = 0.02
    with window(browser, width=width, dark=dark) as opened:
        page = opened.page
        page.goto(f"{server.url}/?lang={language}#models")
        row = page.locator("#models-answer [data-fetches]").first
        expect(row).to_be_visible(timeout=30_000)
        row.evaluate("(button, model) => { button.dataset.fetches = model }", MODEL)
        row.focus()
        page.keyboard.press("Enter")
        panel, bar = page.locator("#fetching"), page.locator("#fetching progress")
        expect(bar).to_have_attribute("value", re.compile(r"0\.\d+"))
        expect(panel).to_contain_text(f"MiB of {FILE}" if language == "en" else FILE)
        expect(panel.get_by_role("status")).to_contain_text(MODEL)
        assert not opened.is_cut_off and opened.barriers() == []
        panel.get_by_role("button", name=words[0]).click()
        expect(panel.get_by_role("button", name=words[1])).to_be_visible(timeout=10_000)
        assert not opened.is_cut_off and opened.barriers() == []
        place.piece_delay_s = 0.0
        panel.get_by_role("button", name=words[1]).press("Enter")
        expect(panel.locator("code")).to_contain_text("./hakaru serve ", timeout=10_000)
        expect(panel.get_by_role("status")).to_contain_text(MODEL)
        assert not opened.is_cut_off and opened.barriers() == []
        page.reload()
        expect(panel).to_contain_text(FILE)
        assert opened.complaints == []


@PRESENT
def test_what_was_fetched_is_served_beside_the_others(
    browser: Browser, house: House, place: Loopback
) -> None:
    """Where several models are served, a button is enough: the chat can ask it."""
    house.serves("a", "b", pages=page_routes)
    with window(browser) as opened:
        page = opened.page
        page.goto(f"{house.url.removesuffix('/v1')}/?lang=en#models")
        page.evaluate(
            "model => fetch('/fetching', {method: 'POST', body: JSON.stringify({model}), "
            "headers: {'Content-Type': 'application/json'}})",
            MODEL,
        )
        page.reload()
        button = page.get_by_role("button", name="Serve it here, too")
        button.click(timeout=15_000)
        name = FILE.removesuffix(".gguf")
        expect(page.locator("#fetching .told")).to_contain_text(f"{name} is served here, too")
        page.locator("#chat-tab").click()
        page.locator("#chat-model").select_option(name)
        page.get_by_label("Message").fill("Who are you?")
        page.keyboard.press("Enter")
        answer = page.locator("#messages .assistant .text")
        expect(answer).to_have_text(f"I am {name}.", timeout=30_000)
        assert house.states()[name] == "loaded"
