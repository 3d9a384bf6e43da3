"""A race whose tasks are answered elsewhere decides as it would here."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from elsewhere import Helpers
from hakaru.engine.server import EngineServer
from hakaru.errors import MachineError, Misuse
from hakaru.evaluation import answers
from hakaru.evaluation.answers import Answer
from hakaru.evaluation.tasks import Item
from hakaru.evaluation.timing import Timing
from hakaru.selection import racing
from hakaru.selection.choose import choose
from hakaru.selection.chosen import Chosen
from hakaru.selection.why_won import why_won
from hakaru.session import Session
from loopback import Loopback
from race_track import ONLY_TINY, Engine, raced, with_tiny_models

Sessions = Callable[..., Session]
SKILL = {"tiny-a": 32, "tiny-b": 4, "tiny-c": 30}
N_TASKS = 40


def answer(model: str, prompt: str) -> str:
    """Right for the first so many tasks."""
    return "yes" if int(prompt) < SKILL[model.rpartition("-")[0]] else "no"


@pytest.fixture
def rows(hub: Loopback, tmp_path: Path, session_with: Sessions, no_engine: None) -> Chosen:
    with_tiny_models(hub, tmp_path)
    return choose("chat", memory=ONLY_TINY, n_ctx=1024, session=session_with())


@pytest.fixture
def tasks(tmp_path: Path) -> str:
    check = {"type": "exact", "answer": "yes"}
    lines = [{"id": str(i), "prompt": str(i), "check": check} for i in range(N_TASKS)]
    file = tmp_path / "tasks.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    return str(file)


@pytest.fixture
def asked_here(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Servers of this machine answer as the stand-ins of others do. Their names are kept."""
    asked = list[str]()

    @contextmanager
    def served(session: Session, model: Any, *_: object) -> Iterator[str]:
        yield model.path.name

    @contextmanager
    def asking(server: str | EngineServer, **_: object) -> Iterator[Callable[[Item], Answer]]:
        def ask(item: Item) -> Answer:
            asked.append(str(server))
            return Answer(answer(str(server), item.prompt), False)

        yield ask

    engine = Engine(tiny_a=(0, 20.0), tiny_b=(0, 99.0), tiny_c=(0, 40.0))
    monkeypatch.setattr(Timing, "trial", lambda self, *args, **named: engine.trial(*args))
    monkeypatch.setattr(Timing, "deep", lambda self, *args: None)
    monkeypatch.setattr(answers, "served", served)
    monkeypatch.setattr(answers, "asking", asking)
    return asked


def on(helpers: Helpers, monkeypatch: pytest.MonkeyPatch) -> None:
    """Races with a cluster have their tasks answered by `helpers`."""
    monkeypatch.setattr(racing, "check_ray", lambda address: None)
    monkeypatch.setattr(racing, "over_ray", lambda address, session: helpers.connected())


@pytest.mark.parametrize(
    ("loses", "n_at_a_time", "n_asked"),
    [(0, 2, 2 * N_TASKS + 16), (3, 2, 2 * N_TASKS + 16), (0, 40, 3 * N_TASKS - 24)],
)
def test_the_decision_is_that_of_one_machine(
    loses: int,
    n_at_a_time: int,
    n_asked: int,
    rows: Chosen,
    tasks: str,
    asked_here: list[str],
    session_with: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same racers, stops, intervals, pairs and winner, also where every third turn loses a
    job; nothing is asked here. Two machines ask no more than one, and as many as there are tasks
    only what they had begun.
    """
    session = session_with()
    here = raced(rows, session, tasks=[tasks])
    assert len(asked_here) == 2 * N_TASKS + 16
    session.ledger._db.write("DELETE FROM measurements", ())
    asked_here.clear()
    helpers = Helpers(answer, loses=loses, n_at_a_time=n_at_a_time)
    on(helpers, monkeypatch)
    there = raced(rows, session, tasks=[tasks], ray="auto")
    assert asked_here == []
    assert there.as_json(why_won(there)) == here.as_json(why_won(here))
    assert there.winner and there.winner.row.model.id == "tiny-c"
    assert len(set(helpers.asked)) == len(helpers.asked) == n_asked


def test_a_racer_that_no_other_machine_can_run_is_left_out(
    rows: Chosen,
    tasks: str,
    asked_here: list[str],
    session_with: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told, and not asked here instead."""
    on(Helpers(answer, refuses={"tiny-a-Q8_0.gguf": MachineError("no room")}), monkeypatch)
    told = list[Any]()
    found = raced(rows, session_with(), tasks=[tasks], ray="auto", tell=told.append)
    assert [lap.row.model.id for lap in found.laps] == ["tiny-b", "tiny-c"]
    assert [(out.model, out.reason) for out in found.out] == [("tiny-a", "no room")]
    assert told[0] == found.out[0] and asked_here == []


def test_a_cluster_that_is_none_is_told_before_anything_is_fetched(
    rows: Chosen, hub: Loopback, session_with: Sessions
) -> None:
    """An address that Ray does not know, one where nobody listens, and one of a web server."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'hakaru[ray]'")
    before = len(hub.asked)
    for address, error, said in (
        ("somewhere", Misuse, "expected auto or HOST:PORT"),
        ("ray://head:10001", Misuse, "an address of Ray's client"),
        ("127.0.0.1:9", MachineError, "no Ray cluster at 127.0.0.1:9"),
        (hub.url.removeprefix("http://"), MachineError, "another program answers there"),
    ):
        with pytest.raises(error, match=said):
            racing.race(rows, ray=address, session=session_with())
    assert len(hub.asked) == before


def test_who_was_beaten_by_a_racer_that_then_fails_answers_on(
    rows: Chosen,
    tasks: str,
    asked_here: list[str],
    session_with: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On the cluster, since the race is without the one that failed: as if that had never run."""
    helpers = Helpers(answer, gives_up={"tiny-a-Q8_0.gguf": 30})
    on(helpers, monkeypatch)
    session = session_with()
    found = raced(rows, session, tasks=[tasks], ray="auto")
    assert [lap.row.model.id for lap in found.laps] == ["tiny-b", "tiny-c"]
    assert [lap.n for lap in found.laps] == [N_TASKS, N_TASKS] and asked_here == []
    assert len(set(helpers.asked)) == len(helpers.asked) == 30 + 2 * N_TASKS


def test_a_race_that_is_over_needs_no_cluster(
    rows: Chosen,
    tasks: str,
    asked_here: list[str],
    session_with: Sessions,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was stopped is not asked the rest the second time."""
    on(helpers := Helpers(answer), monkeypatch)
    session = session_with()
    first = raced(rows, session, tasks=[tasks], ray="auto")
    n_asked = len(helpers.asked)
    monkeypatch.setattr(racing, "over_ray", lambda *_: pytest.fail("connected"))
    second = raced(rows, session, tasks=[tasks], ray="auto")
    assert asked_here == [] and len(helpers.asked) == n_asked
    assert second.as_json("") == first.as_json("")
