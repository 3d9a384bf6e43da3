"""Which rounds are run until it is known whether guessing ahead pays, and what is remembered of
them. The laps are made up; tests/evaluation/test_acceptance.py runs real ones.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from decisions import decision_of_every_state
from hakaru.choosing.decision import Decision
from hakaru.choosing.evidence import save_evidence
from hakaru.choosing.speculative import usual, with_known_speculation, with_speculation
from hakaru.cli import run
from hakaru.engine.mode import Mode
from hakaru.engine.speculation import Speculation
from hakaru.errors import EngineRefused
from hakaru.evaluation.acceptance import Lap
from hakaru.evaluation.served import planned
from hakaru.evaluation.taken_speculation import speculation_for
from hakaru.models.model import read_model
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama
from laps import lap_of

Seconds = Callable[[Speculation | None], float]
pytestmark = pytest.mark.usefixtures("no_engine")


class Laps:
    """Answers in the place of servers: each way takes the seconds that `seconds` tells."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: Seconds, busy: float = 0) -> None:
        self.ran: list[Speculation | None] = []
        self.seconds, self.busy = seconds, busy
        monkeypatch.setattr("hakaru.choosing.speculative.lap", self.lap)

    def lap(self, session: Session, model: Any, settings: Any, mode: Mode, *_: Any) -> Lap:
        self.ran.append(mode.speculation)
        return lap_of(self.seconds(mode.speculation), busy=self.busy, guessed=(8, 6))

    def lengths(self) -> list[int | None]:
        """How many tokens were guessed at once in each lap, None alone."""
        return [way.n_max if way else None for way in self.ran]


@pytest.fixture
def session(session_with: Callable[..., Session]) -> Session:
    return session_with()


@pytest.fixture
def decision(tmp_path: Path) -> Decision:
    """A file was chosen, and evidence tells so."""
    found = decision_of_every_state(tmp_path)
    path = write_tiny_llama(tmp_path / "chosen.gguf", tiny_shape(n_layer=12), idle_from=2)
    assert found.chosen
    found = replace(found, chosen=replace(found.chosen, path=path))
    return replace(found, evidence=save_evidence("chosen", found.as_json()))


@pytest.fixture
def draft(tmp_path: Path) -> Path:
    return write_tiny_llama(tmp_path / "draft.gguf")


def test_a_hopeless_way_takes_one_round(
    session: Session, decision: Decision, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half as fast: no other length makes up for that. The result is the honest one."""
    laps = Laps(monkeypatch, lambda way: 2.0 if way else 1.0)
    found = with_speculation(session, decision, [usual("draft", draft), usual("ngram")])
    assert laps.lengths() == [None, 4, 8]
    assert found.speculated
    assert found.speculated.taken is None
    assert found.mode.speculation is None
    assert [t.gain.value for t in found.speculated.tried] == pytest.approx([0.5, 0.5])


def test_the_best_length_is_taken_by_rounds_of_its_own(
    session: Session, decision: Decision, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight tokens at once are the fastest. They are measured twice more, once in turn and once
    backwards; that is the gain that is told.
    """
    seconds = {None: 1.0, 4: 0.7, 8: 0.5, 16: 0.6}
    laps = Laps(monkeypatch, lambda way: seconds[way.n_max if way else None])
    found = with_speculation(session, decision, [usual("draft", draft)])
    assert laps.lengths() == [None, 4, None, 8, 16, None, 8, 8, None]
    assert found.speculated
    taken = found.speculated.taken
    assert taken
    assert (taken.way.n_max, taken.n_rounds) == (8, 2)
    assert found.mode.speculation == Speculation(means="draft", n_max=8, draft=draft)
    assert taken.memory_bytes > read_model(draft).weights_bytes
    assert len({t.way for t in found.speculated.tried}) == len(found.speculated.tried) == 3


def test_the_two_best_guessers_are_compared_in_the_rounds_that_decide(
    session: Session, decision: Decision, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The draft looks better at first, the text so far is better in the end, and is taken."""

    def seconds(way: Speculation | None) -> float:
        is_late = len(laps.ran) > 6
        if way is None:
            return 1.0
        return 0.5 if (way.means == "draft") != is_late else 0.7

    laps = Laps(monkeypatch, seconds)
    found = with_speculation(session, decision, [usual("draft", draft), usual("ngram")])
    assert laps.lengths() == [None, 4, 8, None, 8, 16, None, 4, 8, 8, 4, None]
    assert found.speculated
    assert found.speculated.taken
    assert found.speculated.taken.way.means == "ngram"
    assert [t.n_rounds for t in found.speculated.tried] == [2, 2, 1, 1]


def test_luck_in_the_first_round_is_not_taken(
    session: Session, decision: Decision, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way that was fast only until it was the best is judged by what comes later."""
    laps = Laps(monkeypatch, lambda way: 1.0 if way is None or len(laps.ran) > 5 else 0.5)
    found = with_speculation(session, decision, [usual("draft", draft)])
    assert found.speculated
    assert found.speculated.tried[0].gain.value == pytest.approx(1)
    assert found.speculated.taken is None


def test_what_was_measured_is_recalled(
    session: Session, decision: Decision, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run takes no lap; `again` takes all of them anew."""
    first = Laps(monkeypatch, lambda way: 0.5 if way else 1.0)
    before = with_speculation(session, decision, [usual("draft", draft)])
    second = Laps(monkeypatch, lambda way: 2.0)
    assert with_speculation(session, decision, [usual("draft", draft)]) == before
    assert second.ran == []
    with_speculation(session, decision, [usual("draft", draft)], again=True)
    assert len(second.ran) < len(first.ran)  # hopeless now
    assert second.ran


def test_a_broken_run_goes_on_where_it_stopped(
    session: Session, decision: Decision, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second round: the first one is not measured again."""

    def stops(way: Speculation | None) -> float:
        if len(laps.ran) == 4:
            raise KeyboardInterrupt
        return 0.5 if way else 1.0

    laps = Laps(monkeypatch, stops)
    with pytest.raises(KeyboardInterrupt):
        with_speculation(session, decision, [usual("draft", draft)])
    laps = Laps(monkeypatch, lambda way: 0.5 if way else 1.0)
    with_speculation(session, decision, [usual("draft", draft)])
    assert laps.lengths()[:3] == [None, 8, 16]


def test_figures_beside_other_programs_are_not_kept(
    session: Session, decision: Decision, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the ledger nor in what is served."""
    laps = Laps(monkeypatch, lambda way: 0.5 if way else 1.0, busy=1.0)
    found = with_speculation(session, decision, [usual("draft", draft)])
    assert found.speculated
    assert found.speculated.is_contended
    assert found.mode.speculation is None
    n = len(laps.ran)
    with_speculation(session, decision, [usual("draft", draft)])
    assert len(laps.ran) == 2 * n
    assert decision.path
    assert speculation_for(session, read_model(decision.path), decision.served) is None


def test_a_draft_that_does_not_fit_is_said_and_skipped(
    session_with: Callable[..., Session],
    decision: Decision,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With both figures; the other ways are measured."""
    laps = Laps(monkeypatch, lambda way: 2.0 if way else 1.0)
    large = write_tiny_llama(tmp_path / "large.gguf", tiny_shape(n_layer=40))
    assert decision.path
    alone = Mode(speculation=usual("ngram"))
    plan = planned(session_with(), read_model(decision.path), decision.served, alone)
    free = plan.total_bytes + 16 * 2**20
    small = replace(decision, constraints=replace(decision.constraints, memory_bytes=free))
    ways = [usual("draft", large), usual("ngram")]
    found = with_speculation(session_with(free), small, ways)
    assert found.speculated
    (skipped,) = found.speculated.skipped
    assert skipped.name == "large"
    assert "together they need" in skipped.why
    assert laps.lengths() == [None, 8]


def test_a_way_with_which_the_engine_fails_is_skipped_with_its_reason(
    session: Session, decision: Decision, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others go on."""

    def seconds(way: Speculation | None) -> float:
        if way and way.means == "draft":
            raise EngineRefused("no such thing")
        return 1.0

    Laps(monkeypatch, seconds)
    found = with_speculation(session, decision, [usual("draft", draft), usual("ngram")])
    assert found.speculated
    assert [(s.name, s.why) for s in found.speculated.skipped] == [("draft", "no such thing")]
    assert [t.way.means for t in found.speculated.tried] == ["ngram"]


def test_what_is_taken_is_in_the_evidence_and_served_from_then_on(
    session: Session, decision: Decision, draft: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also by a decision that measures nothing; not once the draft is another file."""
    Laps(monkeypatch, lambda way: 0.5 if way else 1.0)
    found = with_speculation(session, decision, [usual("draft", draft)])
    assert found.evidence == decision.evidence
    assert decision.evidence
    assert json.loads(decision.evidence.read_text())["speculative"]["taken"]["draft"] == str(draft)
    later = with_known_speculation(session, decision)
    assert later.mode.speculation == Speculation(means="draft", n_max=4, draft=draft)
    assert later.speculated == found.speculated
    assert decision.path
    chosen = read_model(decision.path)
    assert speculation_for(session, chosen, replace(decision.served, n_ctx=99)) is not None
    assert speculation_for(session, chosen, replace(decision.served, n_parallel=2)) is None
    write_tiny_llama(draft, seed=2)
    assert speculation_for(session, chosen, decision.served) is None
    assert with_known_speculation(session, decision).mode.speculation is None
    draft.unlink()
    assert speculation_for(session, chosen, decision.served) is None


@pytest.mark.parametrize(
    ("draft", "code", "words"),
    [
        ("missing.gguf", 4, "missing.gguf: there is no such file"),
        ("foreign.gguf", 2, "--draft foreign: its vocabulary is not that of model: 1,024 tokens"),
    ],
)
def test_a_draft_that_cannot_be_is_refused_before_anything_is_measured(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    draft: str,
    code: int,
    words: str,
) -> None:
    """In one sentence, with the code of a misuse or of a model that is not there."""
    monkeypatch.chdir(tmp_path)
    write_tiny_llama(tmp_path / "model.gguf")
    write_tiny_llama(tmp_path / "foreign.gguf", tiny_shape(n_vocab=1024))
    assert run(["tune", "model.gguf", "--draft", draft]) == code
    assert words in " ".join(capsys.readouterr().err.split())
