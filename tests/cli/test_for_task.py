"""`hakaru up --task chat`: the model that is recommended, where none is named."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hakaru.cli import for_task, run
from hakaru.cli.commands import up
from hakaru.cli.commands.up import UpOptions
from hakaru.engine.mode import Mode
from hakaru.errors import ModelNotFound
from hakaru.memory.context import Context
from hakaru.memory.settings import ContextSettings
from hakaru.models.catalogue import known_models
from hakaru.models.model import Model, read_model
from hakaru.models.presets import FTYPES
from hakaru.testing import write_tiny_llama

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


def test_what_is_said_of_the_server_goes_to_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Address, keys, name, projector and the rest are those of `serve`; what is wrong with them is
    told before anything is measured.
    """
    model = write_tiny_llama(tmp_path / "m.gguf")
    chosen = SimpleNamespace(
        path=model, served=ContextSettings(n_ctx=512), mode=Mode(), model=read_model(model)
    )
    seen: dict[str, Any] = {}

    def serve_at(
        model: Model, settings: ContextSettings, mode: Mode, *_: object, **to: Any
    ) -> None:
        seen.update(to, mode=mode)

    monkeypatch.setattr(up, "_decided", lambda options: (chosen, None))
    monkeypatch.setattr(up, "print_decision", lambda decision: None)
    monkeypatch.setattr(up, "next_command", lambda decision: None)
    monkeypatch.setattr(up, "serve_at", serve_at)
    monkeypatch.setattr(up, "stay", lambda serving, **how: seen.update(how) or 0)
    words = ["--api-key", "a-key-of-a-person-73", "--allow-origin", "http://a:1", "--queue", "3"]
    more = ["--alias", "me", "--mmproj", "eyes.gguf", "--drain", "0", "--no-private"]
    assert run(["up", str(model), *words, *more]) == 0
    assert seen["entrance"].lets_in("a-key-of-a-person-73") and not seen["entrance"].lets_in(None)
    assert (seen["origins"], seen["queue"], seen["drain_s"]) == (["http://a:1"], 3, 0)
    assert seen["mode"].alias == "me" and seen["mode"].projector == Path("eyes.gguf").absolute()
    monkeypatch.setattr(up, "_decided", lambda options: pytest.fail("it was measured"))
    assert run(["up", str(model), "--host", "0.0.0.0"]) == 2


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
