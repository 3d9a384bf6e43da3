"""`hakaru up --task chat`: the model that is recommended, where none is named."""

from typing import Any

import pytest

from hakaru.cli import for_task, run
from hakaru.cli.commands import up
from hakaru.cli.commands.up import UpOptions
from hakaru.errors import ModelNotFound
from hakaru.memory.context import Context
from hakaru.models.catalogue import known_models
from hakaru.models.presets import FTYPES

pytestmark = pytest.mark.usefixtures("no_engine")


@pytest.fixture(autouse=True)
def timings(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """How often the machine would be timed. It is not: no engine runs in these tests."""
    times: list[None] = []
    monkeypatch.setattr(for_task, "calibrate", lambda session: times.append(None))
    return times


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Context]]:
    """The models that `up` would fetch, each with its context. None is fetched."""
    models: list[tuple[str, Context]] = []

    def fetch(model: str, context: Context, memory: str | None, *, quiet: bool) -> str:
        models.append((model, context))
        raise ModelNotFound("nothing is fetched in this test.")

    monkeypatch.setattr(up, "on_this_disk", fetch)
    return models


def test_a_task_in_the_place_of_a_model_is_answered_by_choose(
    asked: list[tuple[str, Context]], capsys: pytest.CaptureFixture[str]
) -> None:
    """One command from a task to a model: the recommended row is told, and fetched at its type and
    with the context that the task needs.
    """
    assert run(["up", "--task", "chat", "--language", "ja", "--memory", "6GiB"]) == 4
    ((model, context),) = asked
    name, _, type_ = model.partition(":")
    assert name in {known.id for known in known_models()} and type_ in FTYPES
    assert context["n_ctx"] == 8192
    told = capsys.readouterr().out
    assert "chat (Japanese)" in told and f"Going on with {model}." in told


def test_a_machine_is_timed_once_before_a_model_is_chosen_for_it(
    asked: list[tuple[str, Context]], timings: list[None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Where no speed is known, a model that is far too slow would be fetched. A result that is
    still unknown is taken as it is.
    """
    run(["up", "--task", "chat", "--memory", "6GiB"])
    assert timings == [None] and len(asked) == 1
    assert capsys.readouterr().out.count("timing this machine") == 1


@pytest.mark.parametrize("task", ["vision", "embedding"])
def test_a_task_that_no_text_shows_is_refused(
    task: str, asked: list[tuple[str, Context]], capsys: pytest.CaptureFixture[str]
) -> None:
    """What `up` would serve could not see. The command that helps is told."""
    assert run(["up", "--task", task]) == 2
    assert asked == []
    assert f"hakaru choose --task {task}" in capsys.readouterr().err


def test_a_context_that_is_named_is_kept(asked: list[tuple[str, Context]]) -> None:
    """The task's own is only what nobody named."""
    assert run(["up", "--task", "rag", "--context", "16k", "--memory", "8GiB"]) == 4
    assert asked[0][1]["n_ctx"] == 16384


def test_where_no_model_is_good_enough_nothing_is_fetched(
    asked: list[tuple[str, Context]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, with what would be enough."""
    assert run(["up", "--task", "code", "--memory", "64MiB"]) == 3
    assert asked == []
    assert "--memory" in capsys.readouterr().out


def test_a_model_that_is_named_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then --task is what it is elsewhere: tasks that the level must do as well as the source."""
    seen: list[Any] = []

    def decided(options: UpOptions) -> Any:
        seen.append(options)
        raise ModelNotFound("nothing is decided in this test.")

    monkeypatch.setattr(up, "_decided", decided)
    assert run(["up", "--task", "ours"]) == 4
    assert seen[0].model is None and seen[0].tasks == ("ours",)
