"""`hakaru choose --race` as people see it: what is said and asked before, and what comes out."""

import io
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hakaru.cli import run
from loopback import Loopback
from race_track import NAMES, ONLY_TINY, Engine, engine_of, with_tiny_models

WHOLE = Path(__file__).parent / "whole"
RACE = ["choose", "--race", "--memory", ONLY_TINY, "--context", "1024"]


class Terminal(io.StringIO):
    """What a terminal would show."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def place(hub: Loopback, tmp_path: Path) -> Loopback:
    return with_tiny_models(hub, tmp_path)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, no_engine: None) -> Callable[..., Engine]:
    return partial(engine_of, monkeypatch)


def told(screen: Terminal, tmp_path: Path) -> str:
    """Without signs for bold letters, paths, and how much is free on this disk."""
    text = re.sub(r"\x1b\[[\d;]*m", "", screen.getvalue())
    text = re.sub(r"(?s)hakaru rm\s+\S*/(tiny)", r"hakaru rm \1", text)
    text = re.sub(r"[\d.]+\s+[GTM]iB\s+(are\s+free)", r"<free> \1", text)
    text = re.sub(r"(空きは )[\d.]+ [GTM]iB", r"\1<free>", text)
    return re.sub(r"\d{4}-\d\d-\d\d", "<date>", text)


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_whole_screen(
    language: str,
    place: Loopback,
    engine: Callable[..., Engine],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Changed on purpose or not at all: written anew where the file is missing."""
    engine(tiny_a=(90, 20.0), tiny_b=(0, 99.0), tiny_c=(88, 40.0))
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    for name, value in (("COLUMNS", "80"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    assert run([*RACE, "--yes", "--lang", language, "--language", "en"]) == 0
    file = WHOLE / ("race.txt" if language == "en" else "race-ja.txt")
    if not file.exists():
        file.write_text(told(screen, tmp_path), encoding="utf-8")
        pytest.fail(f"{file} was missing; read it before you keep it")
    assert told(screen, tmp_path) == file.read_text(encoding="utf-8")


def test_where_nobody_can_be_asked_nothing_is_fetched(
    place: Loopback, engine: Callable[..., Engine], capsys: pytest.CaptureFixture[str]
) -> None:
    """What it would take is told, and the command that does it."""
    runs = engine()
    assert run(RACE) == 2
    said = capsys.readouterr()
    assert "Download: 8.3 MiB (tiny-a 2.8 MiB, tiny-b 2.8 MiB, tiny-c 2.8 MiB)" in said.out
    assert "Tasks: 126 (ours, English)." in said.out
    assert re.search(r"nothing was fetched, .*choose .*--race.* --yes$", said.err.strip())
    assert run([*RACE, "--json"]) == 2 and runs.asked == []


def test_a_person_may_say_no(
    place: Loopback,
    engine: Callable[..., Engine],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Then nothing is fetched, and the exit code is 1; after a yes the race is run, and the second
    time there is nothing to ask.
    """
    runs = engine(tiny_a=(90, 20.0), tiny_b=(80, 20.0), tiny_c=(70, 20.0))
    answers = [False, True]
    monkeypatch.setattr("click.confirm", lambda *_, **__: answers.pop(0))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    assert run(RACE) == 1
    assert "Nothing was fetched, and nothing raced." in capsys.readouterr().out and not runs.asked
    assert run(RACE) == run(RACE) == 0
    assert "Download: nothing, all are on this disk." in capsys.readouterr().out and not answers


def test_the_json_is_that_of_choose_with_what_was_measured(
    place: Loopback, engine: Callable[..., Engine], capsys: pytest.CaptureFixture[str]
) -> None:
    """The winner is recommended, each row has its evidence, and `choose` tells it afterwards."""
    engine(tiny_a=(30, 20.0), tiny_b=(90, 30.0))
    assert run([*RACE, "--yes", "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == "hakaru.choice/1" and data["recommended"]["model"] == "tiny-b"
    assert data["recommended"] == data["rows"][1]
    race = data["race"]
    assert race["recommended"] == {"model": "tiny-b", "type": "Q8_0"}
    assert race["tasks"]["n"] == 126 and race["tasks"]["names"] == ["ours"]
    assert [racer["right"] for racer in race["racers"]] == [30, 90]
    assert [pair["verdict"] for pair in race["pairs"]] == ["better"]
    assert [out["model"] for out in race["left_out"]] == ["tiny-c"]
    assert data["rows"][0]["quality"][0] | {"date": ""} == {
        "metric": "tasks solved: ours", "value": 30 / 126, "right": 30, "n": 126,
        "low": pytest.approx(0.172, abs=0.001), "high": pytest.approx(0.319, abs=0.001),
        "unit": "fraction", "source": "measured here", "grade": "measured here", "type": "Q8_0",
        "date": "",
    }  # fmt: skip
    assert run(["choose", "--memory", ONLY_TINY, "--context", "1024"]) == 0
    assert "tiny-b Q8_0 solved 90 of 126 (ours, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--hardware", "RTX 4090"], "measures on this machine, and `hardware`|--hardware"),
        (["--model", "qwen3-8b"], "hakaru tune qwen3-8b"),
        (["--task", "vision"], "say nothing of vision"),
        (["--tasks", "no-such-file.jsonl"], "there is no such file"),
    ],
)
def test_what_cannot_be_raced_is_refused(
    more: list[str],
    words: str,
    place: Loopback,
    no_engine: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one sentence, and nothing is fetched."""
    assert run([*RACE, *more]) == 2
    assert re.search(words, capsys.readouterr().err)


def test_a_race_that_cannot_be_run_ends_with_1(
    place: Loopback, engine: Callable[..., Engine], capsys: pytest.CaptureFixture[str]
) -> None:
    """The reasons are told; so is a machine on which nothing fits, with 3."""
    engine()
    for path in [path for path in place.files if NAMES[1] in path or NAMES[2] in path]:
        place.statuses[path] = [(404, {})]
    assert run([*RACE, "--yes"]) == 1
    out = capsys.readouterr().out
    assert out.count("does not run") == 2 and "There was no race: fewer than two rows" in out
    assert run([*RACE, "--memory", "1MiB", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["race"] is None
