"""`hakaru tasks new`: an example that a person can run and change."""

import json
import shlex
import sys
from pathlib import Path

import pytest

from hakaru.cli import run


@pytest.mark.engine
@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_example_runs_as_it_is(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], language: str
) -> None:
    """Every task of it is answered and checked."""
    file = str(tmp_path / "my 課題.jsonl")
    assert run(["tasks", "new", file, "--lang", language]) == 0
    capsys.readouterr()
    assert (
        run(["test", str(tiny), "--no-speed", "--context", "512", "--tasks", file, "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["tasks"]["n"] == 8


def test_a_japanese_example_says_that_the_embedded_model_is_no_judge_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It understands English only; the English example has no such line."""
    assert run(["tasks", "new", str(tmp_path / "ja.jsonl"), "--lang", "ja"]) == 0
    assert "分かるのは英語だけ" in capsys.readouterr().out
    assert run(["tasks", "new", str(tmp_path / "en.jsonl"), "--lang", "en"]) == 0
    assert "English only" not in capsys.readouterr().out


def test_the_next_step_can_be_pasted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the file that was written, quoted, and a model that is here."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    file = tmp_path / "my 課題.jsonl"
    assert run(["tasks", "new", str(file)]) == 0
    step = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert step[-1] == str(file)
    assert Path(step[step.index("test") + 1]).is_file()
    assert run(["tasks", "new", str(file)]) == 2
