"""`hakaru ls`: what is on this disk, as a table and as JSON."""

import json
import os
import shlex
from pathlib import Path

import pytest
from test_widths import terminal, too_wide

from disks import at_home, in_hub
from hakaru.cli import run
from hakaru.testing import write_tiny_llama
from odd_files import write_odd


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of a home without models; the model that comes with hakaru is left out."""
    monkeypatch.setattr("hakaru.models.sources.model_folders._own_folders", list)
    return at_home(tmp_path, monkeypatch) / "work"


def filled(work: Path, disk: Path) -> None:
    """A model in the Hub's cache, and in the current folder a model, a projector and a ruin."""
    in_hub(disk, "org/repo", {"x-Q4_K_M.gguf": write_tiny_llama(disk / "x", seed=1).read_bytes()})
    whole = write_tiny_llama(work / "my model.gguf")
    write_odd(work / "eyes.gguf", "clip", {"general.type": "mmproj"}, ("v.a",))
    (work / "cut.gguf").write_bytes(whole.read_bytes()[:-9000])
    for path in work.iterdir():
        os.utime(path, (1.7e9, 1.7e9))


def test_a_row_says_what_it_is_and_what_is_broken_stands_below(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Name, size, type, day, need and verdict; the sentence of what is broken names the file."""
    filled(work, tmp_path)
    assert run(["ls"]) == 0
    head, hub, cut, eyes, mine, sentence, total = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "size", "type", "last", "used", "needs", "here"]
    assert hub.startswith("hf:org/repo:Q4_K_M ") and hub.endswith(" fits")
    assert cut.startswith("cut.gguf ") and cut.endswith(" damaged")
    assert eyes.startswith("eyes.gguf ") and eyes.endswith(" projector")
    assert mine.startswith("'my model.gguf' ") and "F16   2023-11-1" in mine
    assert str(work / "cut.gguf") in sentence and "the download is incomplete" in sentence
    assert total.startswith("4 in all, ") and "Hugging Face 1, this folder 3." in total


def test_the_object_has_all_of_it(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stable schema; what is not known is null."""
    filled(work, tmp_path)
    assert run(["ls", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data.keys() == {"schema", "models", "looked_in", "unread"}
    assert data["schema"] == "hakaru.ls/1" and data["unread"] == []
    rows = {row["path"]: row for row in data["models"]}
    mine = rows[str(work / "my model.gguf")]
    needed = mine.pop("needed_bytes")
    assert mine["bytes"] < needed < 2**28 and mine["n_params"] > 10**6
    assert mine == {
        "name": str(work / "my model.gguf"), "also": [], "program": "folder",
        "path": str(work / "my model.gguf"), "files": [str(work / "my model.gguf")],
        "bytes": (work / "my model.gguf").stat().st_size, "last_used": 1.7e9, "role": "model",
        "problem": None, "type": "F16", "spoken_type": "F16", "architecture": "llama",
        "n_params": mine["n_params"], "class": "small", "verdict": "fits", "n_ctx": mine["n_ctx"],
    }  # fmt: skip
    eyes, cut = rows[str(work / "eyes.gguf")], rows[str(work / "cut.gguf")]
    assert (eyes["role"], eyes["type"], eyes["verdict"]) == ("mmproj", None, None)
    assert cut["problem"].startswith(f"{work}/cut.gguf: tensor ") and cut["verdict"] is None


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("width", [60, 80])
def test_the_last_line_is_a_command_that_works(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, language: str
) -> None:
    """And all lines fit, but for a path alone in its line."""
    filled(work, tmp_path)
    write_tiny_llama(work / f"{'long-' * 20}.gguf", seed=5)
    screen = terminal(monkeypatch, width)
    assert run(["ls", "--lang", language]) == 0
    lines = screen.lines()
    assert f"{'long-' * 20}.gguf" in too_wide(lines, width)
    assert not [line for line in too_wide(lines, width) if " " in line or ".gguf" not in line]
    step = shlex.split(lines[-1])
    assert step[-3:] == ["hakaru", "fit", "hf:org/repo:Q4_K_M"]
    assert run([*step[-2:], "--source", "computed"]) == 0


def test_an_empty_disk_says_where_it_looked_and_what_to_do(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no error."""
    screen = terminal(monkeypatch, 80)
    assert run(["ls"]) == 0
    said = "\n".join(screen.lines())
    for place in ("/hf/hub", "~/.lmstudio/models", "/llama.cpp", str(work.name)):
        assert place in said
    assert "hakaru ls --catalog WORD" in said and "hakaru fit NAME --type Q4_K_M" in said
    assert screen.lines()[-1].endswith("hakaru ls --catalog")


def test_words_folders_and_what_is_not_there(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A word filters, a folder is looked into; what is not found names the next step."""
    filled(work, tmp_path)
    deep = work / "a" / "b"
    deep.mkdir(parents=True)
    write_tiny_llama(deep / "deep.gguf", seed=4)
    assert run(["ls", "repo"]) == 0
    assert "1 in all" in capsys.readouterr().out
    assert run(["ls", "a"]) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith("a/b/deep.gguf ")
    assert run(["ls", "zzzz"]) == 4
    assert "none of the 4 models on this disk has 'zzzz'" in capsys.readouterr().err
    assert run(["ls", "zzzz", "--json"]) == 4
    assert "hakaru ls --catalog zzzz" in capsys.readouterr().err
    assert run(["ls", "./nowhere"]) == 4
    assert "there is no such folder" in capsys.readouterr().err
