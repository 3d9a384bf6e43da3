"""A race against a hub on the loopback interface: what is fetched, who falls out, what is kept, and
what a race leaves for later answers.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hakaru.errors import Interrupted, Misuse
from hakaru.evaluation.grading import Graded
from hakaru.evaluation.tasks import TaskSet
from hakaru.models.sources.catalogue_entry import add_model
from hakaru.pulling import download
from hakaru.selection import racing
from hakaru.selection.choose import choose
from hakaru.selection.chosen import Chosen
from hakaru.selection.entrants import Field
from hakaru.selection.told import solved_lines
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama
from loopback import Loopback
from race_track import NAMES, ONLY_TINY, Engine, engine_of, raced, with_tiny_models

Sessions = Callable[..., Session]


@pytest.fixture
def place(hub: Loopback, tmp_path: Path) -> Loopback:
    return with_tiny_models(hub, tmp_path)


@pytest.fixture
def rows(place: Loopback, session_with: Sessions) -> Chosen:
    """What `choose` answers on a machine on which only these fit."""
    chosen = choose("chat", memory=ONLY_TINY, n_ctx=1024, session=session_with())
    assert [row.model.id for row in chosen.rows] == [*NAMES]
    return chosen


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, no_engine: None) -> Callable[..., Engine]:
    return partial(engine_of, monkeypatch)


def fetched(hub: Loopback, name: str) -> bool:
    """Whether the whole file was asked for, and not its header alone."""
    spans = [headers.get("range", "") for path, headers in hub.asked if f"{name}-Q8_0" in path]
    return any(int(span.partition("-")[2] or 0) > 2**30 for span in spans)


def test_one_after_the_other_runs_and_the_best_is_recommraced(
    rows: Chosen, place: Loopback, session_with: Sessions, engine: Callable[..., Engine]
) -> None:
    """A racer that is surely worse stops early; the answer of a later `choose` has what was
    measured.
    """
    runs = engine(tiny_a=(90, 20.0), tiny_b=(0, 99.0), tiny_c=(88, 40.0))
    told = list[Any]()
    found = raced(rows, session_with(), tell=told.append)
    assert [lap.row.model.id for lap in found.laps] == [*NAMES] and told == [*found.laps]
    assert found.winner and found.winner.row.model.id == "tiny-c"  # as good within chance, faster
    assert runs.asked.count("tiny_b") == 12 and found.laps[1].stopped
    assert runs.asked.count("tiny_a") == runs.asked.count("tiny_c") == 126
    later = choose("chat", memory=ONLY_TINY, n_ctx=1024, session=session_with()).as_json()
    shown = later["rows"]
    assert isinstance(shown, list)
    evidence = {row["model"]: row["quality"][0] for row in shown}
    assert evidence["tiny-a"]["right"] == 90 and evidence["tiny-a"]["n"] == 126
    assert evidence["tiny-b"]["n"] == 12
    assert {one["grade"] for one in evidence.values()} == {"measured here"}
    assert {one["metric"] for one in evidence.values()} == {"tasks solved: ours"}
    other = choose("code", memory=ONLY_TINY, n_ctx=1024, session=session_with()).as_json()
    assert all(row["quality"] == [] for row in other["rows"])  # type: ignore[attr-defined]


def test_nothing_is_fetched_before_somebody_agrees(
    rows: Chosen, place: Loopback, session_with: Sessions, engine: Callable[..., Engine]
) -> None:
    """Who is asked hears the bytes, and may say no."""
    runs, heard = engine(), list[tuple[Field, TaskSet]]()

    def refuse(field: Field, tasks: TaskSet) -> bool:
        heard.append((field, tasks))
        return False

    assert racing.race(rows, agree=refuse, session=session_with()) is None
    ((field, tasks),) = heard
    whole = sum(
        Path(str(file)).stat().st_size for file in place.files.values() if isinstance(file, Path)
    )
    assert field.missing_bytes == whole and field.fetch_s is None and len(tasks.items) == 126
    assert runs.asked == [] and not any(fetched(place, name) for name in NAMES)


def test_who_cannot_be_fetched_or_loaded_is_told_and_the_others_run(
    rows: Chosen, place: Loopback, session_with: Sessions, engine: Callable[..., Engine]
) -> None:
    """A hub that answers 404, and an engine that dies."""
    for path in [path for path in place.files if "tiny-b" in path]:
        place.statuses[path] = [(404, {})]
    engine(tiny_a=(90, 20.0), tiny_c=(9, 20.0))
    found = raced(rows, session_with())
    assert [lap.row.model.id for lap in found.laps] == ["tiny-a", "tiny-c"]
    assert [out.model for out in found.out] == ["tiny-b"] and "tiny-b" in found.out[0].reason
    engine(tiny_a=(90, 20.0))
    told = list[Any]()
    alone = raced(rows, session_with(), tell=told.append)
    assert alone.winner is None and [out.model for out in alone.out] == ["tiny-b", "tiny-c"]
    assert "the engine died" in told[-1].reason


def test_a_row_that_is_not_to_be_had_leaves_its_place(
    rows: Chosen,
    place: Loopback,
    session_with: Sessions,
    engine: Callable[..., Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two run; of three rows the first is gone, so the second and the third do."""
    for path in [path for path in place.files if "tiny-a" in path]:
        place.statuses[path] = [(404, {})]
    engine(tiny_b=(9, 20.0), tiny_c=(9, 20.0))
    monkeypatch.setattr(racing, "MOST", 2)
    found = raced(rows, session_with())
    assert [lap.row.model.id for lap in found.laps] == ["tiny-b", "tiny-c"]


def test_without_a_network_what_is_here_runs(
    rows: Chosen,
    place: Loopback,
    session_with: Sessions,
    engine: Callable[..., Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is fetched twice, and the network is asked once."""
    engine(tiny_a=(90, 20.0), tiny_b=(9, 20.0), tiny_c=(9, 20.0))
    raced(replace(rows, rows=rows.rows[:2]), session_with())
    del place.asked[:]
    raced(replace(rows, rows=rows.rows[:2]), session_with())
    assert place.asked == []
    place.files.clear()
    found = raced(rows, session_with())
    assert len(found.laps) == 2 and [out.model for out in found.out] == ["tiny-c"]


def test_a_disk_that_is_too_small_is_told_with_both_figures(
    rows: Chosen,
    session_with: Sessions,
    engine: Callable[..., Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever has room runs; where that is one alone, there is no race."""
    engine(tiny_a=(90, 20.0), tiny_b=(9, 20.0))
    n_bytes = 3 * 2**20

    def room_for(n: int) -> None:
        usage = type("Usage", (), {"free": download.SPARE + n * n_bytes})
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage)

    room_for(2)
    found = raced(rows, session_with())
    assert [lap.row.model.id for lap in found.laps] == ["tiny-a", "tiny-b"]
    (out,) = found.out
    assert "are needed there with those before it" in out.reason and "are free" in out.reason


def test_ctrl_c_says_that_all_is_kept(
    rows: Chosen,
    session_with: Sessions,
    engine: Callable[..., Engine],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And how to go on."""
    engine(tiny_a=(90, 20.0), tiny_b=(9, 20.0), tiny_c=(9, 20.0))

    def stop(*_: object, **__: object) -> Iterator[Graded]:
        raise KeyboardInterrupt
        yield  # a generator

    monkeypatch.setattr(racing, "each_answer", stop)
    with pytest.raises(Interrupted, match="timed and answered is kept: the same command goes on"):
        raced(rows, session_with())


def test_another_type_runs_where_the_row_s_own_is_not_published(
    hub: Loopback, tmp_path: Path, session_with: Sessions, engine: Callable[..., Engine]
) -> None:
    """What was measured is remembered under that type, and a later answer tells it with the type
    beside the row of another.
    """
    for seed, name in enumerate(NAMES[:2]):
        file = write_tiny_llama(tmp_path / f"{name}.gguf", tiny_shape(n_ctx_train=8192), seed=seed)
        hub.add_repository(f"org/{name}-GGUF", {f"{name}-Q6_K.gguf": file}, hashes=True)
        add_model(f"hf:org/{name}-GGUF", "2026-11-30")
    chosen = choose("chat", memory=ONLY_TINY, n_ctx=1024, session=session_with())
    heard = list[Field]()

    def refuse(field: Field, tasks: TaskSet) -> bool:
        heard.append(field)
        return False

    racing.race(chosen, agree=refuse, session=session_with())
    assert [entrant.label for entrant in heard[0].entrants] == ["tiny-a Q6_K", "tiny-b Q6_K"]
    assert {entrant.row.type for entrant in heard[0].entrants} == {"Q8_0"}
    engine(tiny_a=(90, 20.0), tiny_b=(80, 20.0))
    raced(chosen, session_with())
    later = choose("chat", memory=ONLY_TINY, n_ctx=1024, session=session_with())
    (line,) = solved_lines(later)
    assert "tiny-a Q6_K solved 90 of 126" in line and "tiny-b Q6_K solved 80 of 126" in line
    rows = later.as_json()["rows"]
    assert isinstance(rows, list)
    told = [(row["type"], row["quality"][0]["type"], row["quality"][0]["right"]) for row in rows]
    assert told == [("Q8_0", "Q6_K", 90), ("Q8_0", "Q6_K", 80)]


def test_the_types_of_one_model_are_no_race(session_with: Sessions) -> None:
    """They are compared by `tune`."""
    chosen = choose("chat", model="smollm2-135m-instruct", memory="2GiB", session=session_with())
    with pytest.raises(Misuse, match="hakaru tune smollm2-135m-instruct"):
        racing.race(chosen, session=session_with())


RACE = """
import sys
from hakaru.evaluation import speed
speed.RETRIES = 0  # on a busy machine it is measured as it is
from hakaru.cli import run
sys.exit(run(["choose", "--race", "--yes", "--memory", "160MiB", "--context", "1024",
              "--tasks", sys.argv[1], "--json", "--lang", "en"]))
"""


def answers_kept(data: Path) -> int:
    """How many answers the ledger has."""
    import sqlite3

    ledger = data / "hakaru" / "ledger.sqlite"
    if not ledger.exists():
        return 0
    with sqlite3.connect(ledger) as db:
        try:
            query = "SELECT count(*) FROM measurements WHERE kind = 'answers with their ends'"
            return int(db.execute(query).fetchone()[0])
        except sqlite3.OperationalError:
            return 0


@pytest.mark.engine
def test_a_race_that_was_killed_goes_on_where_it_was(place: Loopback, tmp_path: Path) -> None:
    """With real servers: killed and interrupted while it answers, it asks no task twice, fetches no
    byte twice, and ends as it would have.
    """
    tasks = tmp_path / "tasks.jsonl"
    lines = [
        {
            "id": str(i),
            "prompt": f"Say {i}.",
            "max_tokens": 24,
            "check": {"type": "contains", "answer": "a"},
        }
        for i in range(40)
    ]
    tasks.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    command = [sys.executable, "-c", RACE, str(tasks)]
    environment = os.environ | {"HF_ENDPOINT": place.url}
    data = Path(os.environ["XDG_DATA_HOME"])
    for kill, least in ((signal.SIGKILL, 3), (signal.SIGINT, 50)):
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            while process.poll() is None and answers_kept(data) < least:
                time.sleep(0.02)
            assert process.poll() is None, process.communicate()
            process.send_signal(kill)
            said = process.communicate()[1]
        assert kill == signal.SIGKILL or "is kept" in said
        kept = answers_kept(data)
        assert least <= kept < 120
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    race = json.loads(done.stdout)["race"]
    assert race["racers"][0]["n"] == 40
    asked = sum(racer["n"] for racer in race["racers"])
    assert answers_kept(data) == asked and race["recommended"]["model"] in NAMES
    assert all(racer["decode_tokens_per_s"]["value"] > 0 for racer in race["racers"])
