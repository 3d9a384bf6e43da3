"""The page of a running test: what is known so far, without scripts, until the test is done."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from copies import quantized_copy
from hakaru.cli import run
from hakaru.evaluation.tiers import TIERS
from hakaru.testing import tiny_shape, write_tiny_llama
from hakaru.web.live import LivePage
from little_effort import few_windows


def rows(n: int) -> list[dict[str, Any]]:
    window = {
        "n": 100.0,
        "kld": 0.4,
        "klds": [0.004] * 100,
        "agreed": 98.0,
        "nll_reference": 200.0,
        "nll_candidate": 200.1,
    }
    return [{**window, "kld": 0.3 + 0.01 * (i % 20)} for i in range(n)]


@pytest.fixture
def page() -> Any:
    with (
        LivePage("<b> against a", TIERS["balanced"]) as live,
        httpx.Client(base_url=live.url, timeout=60) as client,
    ):
        yield live, client


def test_it_fills_while_windows_are_read(page: tuple[LivePage, httpx.Client]) -> None:
    """Nothing, then figures, then a picture; it looks again until the test is done."""
    live, client = page
    empty = client.get("/")
    assert (empty.status_code, client.get("/chart.svg").status_code) == (200, 404)
    assert "0 of 0 windows read" in empty.text
    assert "&lt;b&gt; against a" in empty.text
    live.show(rows(5), ["code"] * 40)
    early = client.get("/").text
    assert "5 of 40 windows read" in early
    assert "KLD, code" in early
    assert "not known yet" in early
    assert "<img" not in early
    live.show(rows(40), ["code"] * 40)
    late = client.get("/").text
    assert "passed" in late
    assert 'http-equiv="refresh"' in late
    assert "/chart.svg?n=40" in late
    chart = client.get("/chart.svg")
    assert chart.headers["content-type"].startswith("image/svg+xml")
    assert chart.text.startswith("<svg")
    live.finish(["Tier balanced: passed.", "a < b"])
    done = client.get("/").text
    assert "http-equiv" not in done
    assert "a &lt; b" in done
    assert "script" not in done
    assert client.get("/page.css").status_code == 200


def test_strangers_do_not_see_it(page: tuple[LivePage, httpx.Client]) -> None:
    """Neither another host's name nor another site's page."""
    _, client = page
    for path in ("/", "/chart.svg", "/page.css", "/not/there"):
        assert client.get(path, headers={"Host": "evil.example"}).status_code == 403
        assert client.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


@pytest.mark.skipif(shutil.which("chromium") is None, reason="Debian's chromium is not installed")
def test_a_browser_shows_it(page: tuple[LivePage, httpx.Client], tmp_path: Path) -> None:
    """Headless Chromium loads the page, its style and its picture under the policy, without an
    error on its console.
    """
    live, _ = page
    live.show(rows(40), ["code"] * 40)
    live.finish(["Tier balanced: passed."])
    done = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            "--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={tmp_path / 'page.png'}", "--dump-dom", live.url,
        ],
        capture_output=True, text=True, timeout=60, check=True,
        env=os.environ | {"TMPDIR": "/tmp"},  # a socket's path has at most 108 characters
    )  # fmt: skip
    assert "40 of 40 windows read" in done.stdout
    assert "CONSOLE" not in done.stderr


@pytest.mark.engine
def test_the_command_shows_it_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its address is told on stderr; with --json nobody waits; what it shows in the end is the
    verdict.
    """
    monkeypatch.setattr("hakaru.evaluation.losses.gather_windows", few_windows)
    tiny, worse = (
        write_tiny_llama(tmp_path / "tiny.gguf", tiny_shape(n_vocab=1024)),
        tmp_path / "q8.gguf",
    )
    quantized_copy(tiny, worse, "Q8_0")
    seen: list[str] = []

    class Peeking(LivePage):
        def finish(self, sentences: Any) -> None:
            super().finish(sentences)
            seen.append(httpx.get(self.url).text)

    command = ["test", str(worse), "--reference", str(tiny), "--no-speed", "--page", "--json"]
    assert run(command, live=Peeking) == 0
    said = capsys.readouterr()
    assert "http://127.0.0.1:" in said.err
    assert said.out.startswith("{")
    (final,) = seen
    assert "q8.gguf against tiny.gguf" in final
    assert "Tier balanced" in final
