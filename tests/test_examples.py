"""The examples run as they stand, and are short."""

import runpy
import sys
from functools import partial
from pathlib import Path

import pytest

from hakaru.choosing.worker import Effort
from hakaru.quantization.study.study import SAMPLINGS
from hakaru.testing import tiny_shape, write_tiny_llama
from little_effort import LITTLE

EXAMPLES = Path(__file__).parent.parent / "examples"
pytestmark = pytest.mark.engine


def printed(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    *arguments: str | Path,
) -> str:
    """What the example prints."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    return capsys.readouterr().out


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda p: p.name)
def test_an_example_is_seen_at_one_glance(path: Path) -> None:
    """Under 25 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) < 25


def test_fit(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Q8_0 with a context of 32k is too much for 12 GB; Q4_K_M is not."""
    large, *ways, small = printed(capsys, monkeypatch, "fit.py").splitlines()
    assert large.startswith("Q8_0: does_not_fit, ") and small.startswith("Q4_K_M: fits, ")
    assert any(way.startswith("  ") and way.endswith(": fits") for way in ways)


def test_quantize(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny: Path, tmp_path: Path
) -> None:
    """The file is as large as the example says."""
    monkeypatch.setitem(SAMPLINGS, "quick", LITTLE)
    out = tmp_path / "small.gguf"
    told = printed(capsys, monkeypatch, "quantize.py", tiny, out)
    assert f", {out.stat().st_size:,} bytes, mean KLD " in told


def test_test(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    """A model loses nothing against itself."""
    loss, speed = printed(capsys, monkeypatch, "test.py", tiny, tiny).splitlines()
    assert loss == "mean KLD 0.0000 nats per token, the same first token at 100.0%"
    assert float(speed.removesuffix(" tokens/s")) > 0


def test_tune_and_serve(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A tiny model is decided for, served, and answers. Two levels on few texts are enough."""
    few = partial(Effort, presets=("Q8_0", "Q4_K_M"), n_documents=1, n_prompts=1, repeats=1)
    monkeypatch.setattr("hakaru.choosing.tune.Effort", few)
    model = write_tiny_llama(tmp_path / "tiny.gguf", tiny_shape(n_vocab=1024))
    assert printed(capsys, monkeypatch, "tune_and_serve.py", model).endswith("\n")
