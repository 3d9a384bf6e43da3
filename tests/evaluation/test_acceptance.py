"""Answers with guesses, through real servers: the texts stay the same, and what is told of guesses
is what the engine counted.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from hakaru.engine.builds import OVERRIDE
from hakaru.engine.mode import Mode
from hakaru.engine.server import EngineServer
from hakaru.engine.speculation import Speculation
from hakaru.errors import EngineRefused, Misuse
from hakaru.evaluation import acceptance
from hakaru.evaluation.acceptance import Lap, lap
from hakaru.evaluation.served import planned, served
from hakaru.evaluation.work_prompts import WORK_PROMPTS, WorkPrompt, prompts_digest
from hakaru.hardware.busy import Others
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import read_model
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama

SHORT = (
    WorkPrompt("chat", "How are you?"),
    WorkPrompt("code", "def f(x):"),
    WorkPrompt("summary", "a b c d a b c d a b c d"),
)
SETTINGS = ContextSettings(n_ctx=512)


def test_both_languages_ask_for_the_same_work() -> None:
    """Three requests of each kind, in turn; another text has another digest."""
    for prompts in WORK_PROMPTS.values():
        assert [prompt.work for prompt in prompts] == ["chat", "code", "summary"] * 3
        assert len({prompt.text for prompt in prompts}) == 9
    assert prompts_digest("en") != prompts_digest("ja")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short answers on a machine on which nothing else computes, with one thread."""
    monkeypatch.setattr(acceptance, "N_ANSWER", 16)
    monkeypatch.setattr(Others, "matter", property(lambda others: False))
    monkeypatch.setattr("hakaru.engine.server.n_threads", lambda: 1)


@pytest.fixture
def answered(session_with: Callable[..., Session]) -> Callable[..., Lap]:
    """A lap with a model and what guesses for it."""

    def run(
        path: Path,
        way: Speculation | None = None,
        settings: ContextSettings = SETTINGS,
        prompts: Sequence[WorkPrompt] = SHORT,
    ) -> Lap:
        heard: list[int] = []
        mode = Mode(speculation=way)
        found = lap(session_with(), read_model(path), settings, mode, prompts, heard.append)
        assert heard == [1, 2, 3]
        return found

    return run


@pytest.mark.engine
@pytest.mark.parametrize("build", ["wheel", "native"])
def test_a_model_guesses_perfectly_for_itself(
    quick: None,
    answered: Callable[..., Lap],
    embedded: Path,
    build: str,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """SmolLM2 and itself: every guess is right, and the answers are as long as without."""
    native = build == "native"
    engine = str(request.getfixturevalue("native_engine")) if native else "wheel"
    monkeypatch.setenv(OVERRIDE, engine)
    plain = answered(embedded)
    drafted = answered(embedded, Speculation(means="draft", n_max=4, draft=embedded))
    assert [a.n_guessed for a in plain.answers] == [0, 0, 0]
    assert all(a.n_accepted == a.n_guessed > 0 for a in drafted.answers)
    assert [a.n_tokens for a in drafted.answers] == [a.n_tokens for a in plain.answers]
    assert Lap.from_json(drafted.as_json()) == drafted


@pytest.mark.engine
def test_a_model_whose_further_layers_are_idle_answers_as_its_draft(
    quick: None, answered: Callable[..., Lap], tiny: Path, tmp_path: Path
) -> None:
    """What `write_tiny_llama` promises of `idle_from`."""
    deep = write_tiny_llama(tmp_path / "deep.gguf", tiny_shape(n_layer=8), idle_from=2)
    found = answered(deep, Speculation(means="draft", n_max=4, draft=tiny))
    assert all(a.n_accepted == a.n_guessed > 0 for a in found.answers)


@pytest.mark.engine
def test_a_strange_draft_guesses_badly(
    quick: None, answered: Callable[..., Lap], tiny: Path, tmp_path: Path
) -> None:
    """Other random weights, the same vocabulary."""
    strange = write_tiny_llama(tmp_path / "strange.gguf", seed=2)
    found = answered(tiny, Speculation(means="draft", n_max=4, draft=strange))
    guessed = sum(a.n_guessed for a in found.answers)
    assert sum(a.n_accepted for a in found.answers) < 0.2 * guessed


@pytest.mark.engine
def test_text_that_comes_again_is_guessed_without_a_draft(
    quick: None, answered: Callable[..., Lap], embedded: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SmolLM2 repeats what stands in the prompt."""
    monkeypatch.setattr(acceptance, "N_ANSWER", 24)
    text = "the meeting is on monday at ten in the large room and everybody brings the figures"
    prompt = WorkPrompt("summary", f"Repeat this text, word for word: '{text}'")
    found = answered(embedded, Speculation(means="ngram", n_max=8), prompts=[prompt] * 3)
    assert sum(a.n_accepted for a in found.answers) > 0


@pytest.mark.engine
def test_an_engine_that_goes_without_guesses_is_refused(tiny: Path, tmp_path: Path) -> None:
    """It would serve all the same, in silence: here its own reason is told."""
    other = write_tiny_llama(tmp_path / "other.gguf", tiny_shape(n_vocab=1024))
    mode = Mode(speculation=Speculation(means="draft", n_max=4, draft=other))
    with pytest.raises(EngineRefused, match=r"guesses nothing ahead.*must match target model"):
        EngineServer(tiny, SETTINGS, mode).__enter__()


@pytest.mark.engine
def test_a_context_that_holds_no_request_is_refused(
    quick: None, answered: Callable[..., Lap], tiny: Path
) -> None:
    """With the number that would do."""
    with pytest.raises(Misuse, match=r"`n_ctx` 128 holds 0 of the 3 texts"):
        answered(tiny, settings=ContextSettings(n_ctx=128))


@pytest.mark.engine
def test_the_plan_holds_what_a_drafted_server_takes(
    quick: None, session_with: Callable[..., Session], embedded: Path
) -> None:
    """Weights, caches and buffers of both, as the server's log and the system tell."""
    model, session = read_model(embedded), session_with()
    mode = Mode(speculation=Speculation(means="draft", n_max=16, draft=embedded))
    plan = planned(session, model, SETTINGS, mode)
    alone = planned(session, model, SETTINGS, Mode())
    with served(session, model, SETTINGS, mode) as server, server.client() as client:
        request = {"prompt": "The sea is", "n_predict": 32, "temperature": 0}
        assert client.post("/completion", json=request).json()["timings"]["draft_n"] > 0
        real, peak = server.log.footprint(), server.peak_rss_bytes()
    assert peak
    assert peak <= plan.total_bytes
    assert real.kv_cache_bytes == 2 * alone.best.kv_cache_bytes
    assert plan.total_bytes - alone.total_bytes == pytest.approx(plan.extras[0].bytes, rel=0.2)
