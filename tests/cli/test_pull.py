"""`hakaru pull` as a person sees it, and `hakaru up` of a model that is elsewhere."""

import json
import re
from pathlib import Path

import pytest

from hakaru.cli import run
from hakaru.cli.commands import up
from hakaru.cli.commands.up import UpOptions
from hakaru.testing import write_tiny_llama
from loopback import Loopback

pytestmark = pytest.mark.usefixtures("no_engine")


@pytest.fixture
def place(hub: Loopback, tmp_path: Path) -> Loopback:
    """A hub with one small model."""
    file = write_tiny_llama(tmp_path / "x-F16.gguf")
    hub.add_repository(
        "org/x", {"x-F16.gguf": file}, hashes=True, cardData={"license": "apache-2.0"}, gated="auto"
    )
    return hub


def test_the_screen_says_what_comes_and_how_it_was_checked(
    place: Loopback, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before: type, memory, licence, bytes, place. After: hash, header, path."""
    assert run(["pull", "hf:org/x"]) == 0
    out = re.sub(r"[\d.]+ (GiB|MiB)( free| of the)", r"N\2", capsys.readouterr().out)
    out = re.sub(r"/\S+/", "…/", out)
    assert out.splitlines()[:2] == [
        "model     hf:org/x:x-F16.gguf",
        "type      F16 (2.8 MiB), the only one there",
    ]
    assert "memory    With 2,048 tokens of context: Needs N of the" in out
    assert "licence   apache-2.0; its authors ask for consent first" in out
    assert "download  one file, 2.8 MiB" in out
    assert out.splitlines()[-4:] == [
        "Fetched 2.8 MiB.",
        "Its SHA-256 is the one that the Hub announces.",
        "Its header is the one that was judged: llama, F16, 2.8 MiB of weights.",
        "It lies at …/x-F16.gguf",
    ]


def test_a_dry_run_fetches_nothing(place: Loopback, capsys: pytest.CaptureFixture[str]) -> None:
    """Its JSON says what would come, and where it would lie."""
    assert run(["pull", "hf:org/x", "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["schema"], told["dry_run"], told["fetched"]) == ("hakaru.pull/1", True, None)
    assert told["files"][0]["missing_bytes"] == told["bytes"] == told["missing_bytes"]
    assert told["type"] == "F16" and told["verdict"] == "fits"
    assert not Path(told["path"]).exists()


def test_up_fetches_a_model_that_is_elsewhere_once(
    place: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And goes on with the file; the second time nobody is asked."""
    went_on: list[str] = []

    def decide(options: UpOptions, *, serves: bool) -> None:
        went_on.append(str(options.model))
        raise KeyboardInterrupt

    monkeypatch.setattr(up, "decide", decide)
    for _ in range(2):
        assert run(["up", "hf:org/x", "--no-serve", "--json"]) == 130
        del place.asked[:-1]
    assert went_on[0] == went_on[1] and went_on[0].endswith("/x-F16.gguf")
    assert Path(went_on[0]).stat().st_size == 2_900_384
