"""Tasks answered elsewhere: what travels, what is kept, and what happens to lost jobs. No engine
runs: a stand-in answers.
"""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from elsewhere import Helpers
from hakaru.errors import HakaruError, MachineError
from hakaru.evaluation import answers
from hakaru.evaluation.answers import ANSWERED_ON, KIND, graded_answers
from hakaru.evaluation.grading import Graded
from hakaru.evaluation.spread import MOST_LOSSES, MOST_TASKS, Respondent, spread
from hakaru.evaluation.tasks import Item, parse_items
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.session import Session
from hakaru.testing import write_tiny_llama

Sessions = Callable[..., Session]
SETTINGS = ContextSettings(n_ctx=256)
ITEMS = parse_items(
    "x",
    "\n".join(
        json.dumps({"id": str(i), "prompt": str(i), "check": {"type": "exact", "answer": str(i)}})
        for i in range(50)
    ),
)


@pytest.fixture
def model(tmp_path: Path, no_engine: None) -> Respondent:
    return Respondent(model=read_model(write_tiny_llama(tmp_path / "a.gguf")), settings=SETTINGS)


def even_ones(model: str, prompt: str) -> str:
    """Right where the number of the task is even."""
    return prompt if int(prompt) % 2 == 0 else "?"


def kept(session: Session, asked: Respondent, monkeypatch: pytest.MonkeyPatch) -> list[Graded]:
    """What the usual way makes of the ledger. Nothing is asked here."""
    monkeypatch.setattr(answers, "served", lambda *_: pytest.fail("an engine was started"))
    return graded_answers(session, asked.model, ITEMS, asked.settings)


def test_the_ledger_has_every_answer_and_who_gave_it(
    model: Respondent, session_with: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs of at most sixteen tasks, each of tasks of all kinds; a second time nobody is asked, and
    nobody is connected with.
    """
    told = list[str]()
    session, helpers = session_with(told=told), Helpers(even_ones)
    assert spread(session, [model], ITEMS, helpers.connected) == {}
    assert [len(job.items) for job in helpers.submitted] == [13, 13, 12, 12]
    assert [item.id for item in helpers.submitted[1].items[:3]] == ["1", "5", "9"]
    assert [graded.right for graded in kept(session, model, monkeypatch)] == [True, False] * 25
    assert len(session.ledger.recall_all(ANSWERED_ON)) == len(session.ledger.recall_all(KIND)) == 50
    assert {on["host"] for _, on in session.ledger.recall_all(ANSWERED_ON)} == {"n0", "n1"}
    assert len(told) == 1 and told[0].startswith("Tasks answered by: n")
    assert spread(session, [model], ITEMS, lambda: pytest.fail("connected")) == {}


@pytest.mark.parametrize("loses", [3, 5, 7])
def test_a_lost_job_runs_again_with_what_is_left(
    loses: int, model: Respondent, session_with: Sessions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often: no task is asked twice, and the answers are the same."""
    session, helpers = session_with(), Helpers(even_ones, loses=loses)
    assert spread(session, [model], ITEMS, helpers.connected) == {}
    assert len(helpers.submitted) > 4
    assert sorted(int(prompt) for _, prompt in helpers.asked) == list(range(50))
    assert [graded.right for graded in kept(session, model, monkeypatch)] == [True, False] * 25


def test_what_the_ledger_has_is_not_asked(model: Respondent, session_with: Sessions) -> None:
    """Interrupted in the middle, the same call goes on there."""
    session, helpers = session_with(), Helpers(even_ones)

    def stop(model: str, prompt: str) -> str:
        if len(helpers.asked) > 20:
            raise KeyboardInterrupt
        return even_ones(model, prompt)

    helpers.ask = stop
    with pytest.raises(KeyboardInterrupt):
        spread(session, [model], ITEMS, helpers.connected)
    again = Helpers(even_ones)
    assert spread(session, [model], ITEMS, again.connected) == {}
    assert len(again.asked) == 30


def test_right_answers_stay_here(model: Respondent, session_with: Sessions) -> None:
    """A job is a value that another process can read, without what judges an answer; the letters
    of a choice, which the engine keeps to, travel.
    """
    choice = {"prompt": "?", "check": {"type": "choice", "answer": "B", "n": 3}}
    code = {"prompt": "f", "check": {"type": "python", "tests": "assert f() == 1"}}
    items = parse_items("x", "\n".join(map(json.dumps, (choice, code))))
    helpers = Helpers(lambda model, prompt: "B")
    spread(session_with(), [model], items, helpers.connected)
    sent = [item for job in pickle.loads(pickle.dumps(helpers.submitted)) for item in job.items]
    assert [item.check.letters for item in sent] == ["ABC", ""]
    assert all(item.check.is_right is None and not item.check.tests for item in sent)


def test_a_job_says_what_it_needs(model: Respondent, session_with: Sessions) -> None:
    """The file by its hash, and the memory of the plan, which is more than the file."""
    session, helpers = session_with(), Helpers(even_ones)
    spread(session, [model], ITEMS[:1], helpers.connected)
    (job,) = helpers.submitted
    (file,) = job.files
    assert file.sha256 == job.sha256 == session.ledger.model_sha256(model.model)
    assert job.total_bytes == file.bytes < job.memory_bytes and job.n_accelerators == 0


def test_who_cannot_answer_is_told_and_the_others_answer(
    model: Respondent, tmp_path: Path, session_with: Sessions
) -> None:
    """Not admitted, refused on the way, or lost without an answer: each with its reason. What was
    answered is kept.
    """
    others = [
        Respondent(model=read_model(write_tiny_llama(tmp_path / name, seed=1)), settings=SETTINGS)
        for name in ("b.gguf",)
    ]
    no_room, broken = MachineError("no room"), MachineError("broken")
    for named in ({"refuses": {"b.gguf": no_room}}, {"breaks": {"b.gguf": broken}}):
        session = session_with()
        helpers = Helpers(even_ones, **named)  # type: ignore[arg-type]
        failed = spread(session, [model, *others], ITEMS, helpers.connected)
        assert list(failed) == [1] and failed[1] in (no_room, broken)
        assert sum(name == "a.gguf" for name, _ in helpers.asked) in (50, 0)
    lost: dict[int, HakaruError] = spread(
        session_with(), others, ITEMS, Helpers(even_ones, loses=1).connected
    )
    assert f"lost {MOST_LOSSES} times on end" in str(lost[0]) and "the node died" in str(lost[0])


def test_progress_counts_all_models_and_foresees_the_end(
    model: Respondent, session_with: Sessions
) -> None:
    """From the first look, which counts what the ledger has, to the last."""
    from msgspec.structs import replace

    seen, foreseen = list[tuple[int, int]](), list[float]()
    session = replace(
        session_with(),
        watch=lambda step, done, total: seen.append((done, total)),
        foresee=lambda least, most: foreseen.append(most),
    )
    spread(session, [model], ITEMS[:10], Helpers(even_ones).connected)
    seen.clear()
    spread(session, [model], ITEMS, Helpers(even_ones, loses=5).connected)
    assert seen[0] == (10, 50) and seen[-1] == (50, 50) and seen == sorted(seen)
    assert foreseen[-1] == 0.0


def test_few_tasks_make_few_jobs(model: Respondent, session_with: Sessions) -> None:
    """As many as run at a time where that is enough; never more tasks in one than MOST_TASKS."""
    for n_tasks, n_at_a_time, lengths in (
        (3, 8, [1, 1, 1]),
        (10, 3, [4, 3, 3]),
        (34, 2, [12, 11, 11]),
    ):
        helpers = Helpers(even_ones, n_at_a_time=n_at_a_time)
        items: list[Item] = [*ITEMS[:n_tasks]]
        session = session_with()
        session.ledger._db.write("DELETE FROM measurements", ())
        spread(session, [model], items, helpers.connected)
        assert [len(job.items) for job in helpers.submitted] == lengths
        assert max(lengths) <= MOST_TASKS
