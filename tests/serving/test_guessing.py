"""A model that was measured to answer faster with guesses is served with them."""

import json
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from hakaru.choosing.speculated import Speculated, compared
from hakaru.cli import run
from hakaru.engine.mode import Mode
from hakaru.engine.speculation import Speculation
from hakaru.evaluation.taken_speculation import remember_speculation
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.serving.plan_to_load import plan_to_load
from hakaru.serving.serve import serve, to_serve
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama
from laps import lap_of

SETTINGS = ContextSettings(n_ctx=512)


@pytest.fixture
def session() -> Session:
    """This machine, with the ledger that commands use."""
    return Session(machine=probe_machine(), ledger=Ledger())


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A model, and a draft that answers as it does."""
    return (
        write_tiny_llama(tmp_path / "deep.gguf", tiny_shape(n_layer=8), idle_from=2),
        write_tiny_llama(tmp_path / "small.gguf"),
    )


def take(session: Session, model: Model, draft: Path) -> Speculation:
    """The ledger knows that this draft makes this model twice as fast."""
    way = Speculation(means="draft", n_max=4, draft=draft)
    found = compared(
        way,
        [lap_of(2.0)] * 2,
        [lap_of(1.0, guessed=(4, 4))] * 2,
        memory_bytes=1,
        draft_sha256=session.ledger.model_sha256(read_model(draft)),
    )
    remember_speculation(session, model, SETTINGS, Speculated(tried=(found,)).as_json())
    return way


def test_what_was_taken_is_how_it_is_served(session: Session, pair: tuple[Path, Path]) -> None:
    """Not before it was measured, and not a model that was never measured."""
    path, draft = pair
    assert to_serve(path, None, session, n_ctx=512).mode.speculation is None
    way = take(session, read_model(path), draft)
    assert to_serve(path, None, session, n_ctx=512).mode.speculation == way
    assert to_serve(draft, None, session, n_ctx=512).mode.speculation is None


def test_its_memory_is_in_the_plan_and_without_room_it_is_left_out(
    no_engine: None, session_with: Callable[..., Session], pair: tuple[Path, Path]
) -> None:
    """The draft's weights and cache count. Where they have no room, the model is served alone, and
    a note tells so.
    """
    model, draft = map(read_model, pair)
    way = Speculation(means="draft", n_max=4, draft=draft.path)
    told: list[str] = []
    room = session_with(told=told)
    with_draft, mode = plan_to_load(model, SETTINGS, Mode(speculation=way), room)
    alone, _ = plan_to_load(model, SETTINGS, Mode(), room)
    assert mode.speculation == way
    with_it, without = (fit.total_bytes - fit.growth.prompts_bytes for fit in (with_draft, alone))
    more = with_it - without
    assert more >= draft.weights_bytes
    assert [extra.name for extra in with_draft.extras] == [draft.name]
    between = (with_it + without) // 2  # prompts take what is left
    narrow = session_with(available_bytes=between, told=told)
    tight, mode = plan_to_load(model, SETTINGS, Mode(speculation=way), narrow)
    assert mode.speculation is None
    assert tight.extras == ()
    assert any("does not fit beside the model now" in sentence for sentence in told)


@pytest.mark.engine
def test_the_server_guesses_and_says_so(
    session: Session, pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The engine accepts every guess. The plan of the command line has draft and options, too."""
    path, draft = pair
    way = take(session, read_model(path), draft)
    request = {"prompt": "a", "max_tokens": 16, "temperature": 0}
    with serve(path, n_ctx=512, session=session) as serving:
        answer = httpx.post(f"{serving.url}/completions", json=request).json()
        assert answer["timings"]["draft_n_accepted"] == answer["timings"]["draft_n"] > 0
        record = serving.deployment.settings["speculation"]
        assert record == way.as_json()
        same = replace(SETTINGS, n_ctx=512)
        assert serving.deployment.serves(path, same, Mode(speculation=way))
        assert not serving.deployment.serves(path, same, Mode())
    assert run(["serve", str(path), "--context", "512", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert str(draft) in " ".join(plan["command"])
    assert [extra["name"] for extra in plan["fit"]["extras"]] == [read_model(draft).name]
