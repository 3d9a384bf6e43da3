"""The page of a real server: in two languages, escaped, self-contained, with what was measured."""

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest

from copies import quantized_copy
from hakaru.__main__ import _pages
from hakaru.choosing.candidate import Constraints
from hakaru.choosing.loop import tune_at
from hakaru.choosing.worker import Effort
from hakaru.evaluation import test as verbs
from hakaru.evaluation.tiers import TIERS
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.serving.serve import serve
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama
from hakaru.units import format_bytes
from hakaru.web.page import page_routes

pytestmark = pytest.mark.engine


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
def page(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The page of a server whose model has an unfriendly name."""
    unfriendly = tmp_path_factory.mktemp("m") / "<b>&quot; モデル.gguf"
    unfriendly.symlink_to(tiny)
    with (
        serve(unfriendly, n_ctx=512, pages=page_routes) as serving,
        httpx.Client(base_url=serving.url.removesuffix("/v1"), timeout=60) as client,
    ):
        yield client


def test_the_page_speaks_the_reader_s_language(page: httpx.Client) -> None:
    """By the browser's preference, or by the link on the page."""
    english = page.get("/", headers={"Accept-Language": "en-GB"})
    japanese = page.get("/", headers={"Accept-Language": "ja,en;q=0.5"})
    assert '<html lang="en">' in english.text
    assert "What was measured" in english.text
    assert '<html lang="ja">' in japanese.text
    assert "測定結果" in japanese.text
    linked = page.get("/?lang=ja", headers={"Accept-Language": "en"})
    assert "測定結果" in linked.text


def test_the_page_is_escaped_and_needs_nothing_from_elsewhere(page: httpx.Client) -> None:
    """Scripts of its own, a strict policy, only its own addresses, and a file name is text."""
    answer = page.get("/")
    found = Text(answer.text)
    assert "<b>&quot; モデル.gguf" in found.words
    assert "<b>" not in answer.text
    scripts = re.findall(r"<script[^>]*>", answer.text)
    assert scripts and all(re.match(r'<script src="/\w+\.js"', script) for script in scripts)
    assert all(a.startswith(("/", "#", "data:,")) for a in found.addresses)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; style-src 'self'; img-src data:; ")
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert f"{page.base_url}".rstrip("/") + "/v1" in found.words
    assert page.get("/page.css").headers["Content-Type"].startswith("text/css")
    assert page.get("/copy.js").headers["Content-Type"].startswith("text/javascript")


def test_the_page_is_not_for_other_hosts(page: httpx.Client) -> None:
    """The same refusal as for the API."""
    for path in ("/", "/page.css", "/copy.js", "/models/rows", "/machine/now"):
        assert page.get(path, headers={"Host": "evil.example"}).status_code == 403


def test_a_page_without_figures_says_which_command_measures(page: httpx.Client) -> None:
    """The command can be pasted: the path is quoted, and the settings are the server's."""
    words = Text(page.get("/").text).words
    assert "was not measured yet" in words
    assert "モデル.gguf' --context 512 --reference ORIGINAL.gguf" in words


def test_what_the_page_says_to_paste_is_found_by_a_shell(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a path that holds from any folder, where hakaru is not on the PATH."""
    program = tmp_path / "hakaru"
    program.touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(program)])
    monkeypatch.setattr("hakaru.cli.paste.shutil.which", lambda _: None)
    with serve(tiny, n_ctx=512, pages=_pages) as serving:
        words = Text(httpx.get(serving.url.removesuffix("v1")).text).words
    assert f"{program} chat" in words
    assert f"{program} test " in words
    assert "\nhakaru chat" not in words and "\nhakaru test" not in words


def test_what_a_decision_measured_stands_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tier, the loss, both speeds, and the very memory that the decision said."""
    monkeypatch.setattr("hakaru.hardware.busy.Others.matter", False)  # else it is not remembered
    model = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024)))
    session = Session(machine=probe_machine(), ledger=Ledger())
    constraints = Constraints(
        tier=TIERS["balanced"],
        min_tokens_per_s=None,
        memory_bytes=session.machine.memory.available_bytes,
    )
    effort = Effort(n_documents=4, n_prompts=1, presets=("Q8_0",))
    decision = tune_at(session, model, ContextSettings(n_ctx=512), constraints, effort)
    assert decision.chosen
    assert decision.chosen.speed
    with serve(decision.chosen.path or "", pages=page_routes, **decision.context) as serving:
        words = Text(httpx.get(serving.url.removesuffix("v1")).text).words
    assert "Tier balanced" in words
    assert "✓ kept" in words
    assert "was not measured yet" not in words
    for speed in (
        decision.chosen.speed.decode_tokens_per_s,
        decision.chosen.speed.prefill_tokens_per_s,
    ):
        digits = 0 if speed.value >= 100 else 1
        assert f"{speed.value:,.{digits}f} tokens/s" in words
    assert format_bytes(decision.chosen.total_bytes) in words


def test_what_a_test_found_stands_on_the_page(tmp_path: Path) -> None:
    """The loss that `hakaru test` found, while the speed is still missing."""
    large = write_tiny_llama(tmp_path / "large.gguf", tiny_shape(n_vocab=1024))
    small = tmp_path / "small.gguf"
    quantized_copy(large, small, "Q8_0")
    verbs.test(small, reference=large, no_speed=True, tier="extreme")
    with serve(small, pages=page_routes) as serving:
        words = Text(httpx.get(serving.url.removesuffix("v1")).text).words
    assert "Tier extreme" in words
    assert "word in" in words
    assert "What it lost was not measured yet" not in words
    assert "How fast it is here was not measured yet" in words


def test_the_models_are_those_of_this_machine_without_the_served_one(tiny: Path) -> None:
    """With the memory that was free before the model was loaded: its place is for another."""
    with serve(tiny, n_ctx=512, pages=page_routes) as serving:
        answer = httpx.get(f"{serving.url.removesuffix('v1')}models/rows?lang=en", timeout=120)
    words = Text(answer.text).words
    free = re.search(r"\(([\d.]+) GiB usable\)", words)
    before = probe_machine().memory.available_bytes / 2**30
    assert answer.status_code == 200 and free
    assert float(free[1]) == pytest.approx(before, rel=0.5)
    assert "hakaru pull " in words and "Recommended: " in words
