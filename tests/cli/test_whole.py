"""Whole outputs of commands, compared with the files in the folder `whole`, so that nobody changes
one by accident.

Of what a processor or a moment decides, a named pattern stands in the file (`MASKS`). All else must
be the same on every machine: hardware is named, and each file decodes equally fast.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hakaru.cli import run
from hakaru.engine.lab import Lab
from hakaru.engine.server import EngineServer
from hakaru.evaluation import speed
from hakaru.hardware import processor
from hakaru.hardware.busy import Others
from hakaru.testing import tiny_shape, write_tiny_llama

pytestmark = pytest.mark.engine

MASKS: dict[str, str] = {
    "<engine>": r"xllamacpp \S+",
    "<read>": r"[\d,]+ (?:tokens, \d+% of what|トークンで、全候補に全文章を読ませる場合の \d+%)",
    "<evidence>": r"\S+/evidence/\S+\.json",
    "<machine>\n": r"(?s)\A(?:Machine|マシン) .*?\n(?=Model|モデル)",
    "<models>/": r"\S+/hakaru/models/[^/\s]+/",
    "<shares>": r"\d+\.\d…\d+\.\d%",
    "<words>": r"(?<=At most one word in )\d+|(?<=% です。違う語になるのは多くても )\d+",
    "<loss>": r"(?<![\d.])\d\.\d{4,5}(?: \[\d\.\d+…\d\.\d+\]| +\d\.\d+ … \d\.\d+)?",
    "<noise>": r"\d\.\de-\d\d",
    "<error>": r"[-+]\d+\.\d … [-+]\d+\.\d%",
    "<share>": r"(?<!≥ )(?<!free: )(?<![\d.])\d+\.\d+%(?: +\d+\.\d+% … \d+\.\d+%)?",
    "<tokens>": r"(?<=takes at least )[\d,]+(?= tokens)",
    "<peak>": r"(?<=peaked at )[\d.]+ MiB",
}
"""What stands in the file, and what it stands for."""
TIMINGS = {"decode": 1000.0, "prefill": 2000.0, "first": 5.0, "first_at": 0.0, "last_at": 1.0}


def masked(text: str, folder: Path) -> str:
    """The output with names in the places of what varies, and no more than two spaces in a row."""
    text = text.replace(str(folder), "<folder>")
    for name, pattern in MASKS.items():
        text = re.sub(pattern, name, text)
    return "".join(re.sub(" {2,}", "  ", line.rstrip()) + "\n" for line in text.splitlines())


@pytest.fixture
def said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, str, int], None]:
    """Holds the output of a command against the file of a name. Nothing beside hakaru computes,
    every answer takes the same time, and the processor has AVX2 and no more.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processor, "INSTRUCTION_SETS", ("avx2",))
    monkeypatch.setattr(speed, "_one", lambda server, client, prompt: dict(TIMINGS))
    monkeypatch.setattr(Others, "matter", property(lambda others: False))
    write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024))

    def same(command: str, name: str, code: int = 0) -> None:
        capsys.readouterr()
        ended = run(command.split())
        out, err = capsys.readouterr()
        expected = (Path(__file__).parent / "whole" / f"{name}.txt").read_text(encoding="utf-8")
        assert masked(out, tmp_path) == expected, err
        assert ended == code

    return same


def test_fit(said: Callable[[str, str, int], None]) -> None:
    """A model that fits a card, and one that does not fit, with the way out."""
    said("fit model.gguf --context 1024 --hardware L4", "fit", 0)
    said("fit llama-3.1-70b-instruct --type Q8_0 --hardware L4+16GiB", "fit-not", 3)


def test_quantize_test_and_doctor(said: Callable[[str, str, int], None]) -> None:
    """A preset, what it lost, and how wrong the predictions were."""
    said("quantize model.gguf --type Q4_K_M -o small.gguf", "quantize", 0)
    said("test small.gguf --reference model.gguf --context 512", "test", 1)
    said("doctor", "doctor", 0)


def test_up_and_tune(
    said: Callable[[str, str, int], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The decision; the same again from memory, in Japanese and as JSON: no server is started, and
    no text is read.
    """
    said("up model.gguf --no-serve --context 512 --memory 1GiB", "up", 0)
    monkeypatch.setattr(EngineServer, "__enter__", never)
    monkeypatch.setattr(Lab, "compare", never)
    said("tune model.gguf --context 512 --memory 1GiB", "tune", 0)
    said("up model.gguf --no-serve --context 512 --memory 1GiB --lang ja", "up-ja", 0)
    assert (
        run(["up", "model.gguf", *["--no-serve", "--context", "512", "--memory", "1GiB", "--json"]])
        == 0
    )
    decision = json.loads(capsys.readouterr().out)
    assert decision["schema"] == "hakaru.decision/1"
    assert {"machine", "candidates", "chosen", "evidence"} <= set(decision)
    assert decision["chosen"]["passes"]
    assert Path(decision["evidence"]).is_file()


def never(*arguments: Any, **named: Any) -> None:
    """In the place of what must not be called."""
    raise AssertionError("measured again")
