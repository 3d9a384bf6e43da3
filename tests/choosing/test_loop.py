"""The loop with the real engine. Without an engine: `test_field.py` and `test_worker.py`."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from hakaru.choosing.candidate import SOURCE, Constraints
from hakaru.choosing.decision import Decision
from hakaru.choosing.loop import needs_of, tune_at
from hakaru.choosing.replay import replay
from hakaru.choosing.smaller_cache import SMALL_CACHE
from hakaru.choosing.worker import Effort
from hakaru.engine.lab import Lab
from hakaru.errors import DoesNotFit, Misuse
from hakaru.evaluation import losses
from hakaru.evaluation.tiers import TIERS
from hakaru.evaluation.timing import Timing
from hakaru.evaluation.trial import Trial
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.quantization.build import Recipe, plan_presets
from hakaru.quantization.levels import Levels
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama
from speeds import speed_of

ANYTHING = Constraints(tier=TIERS["balanced"], min_tokens_per_s=None, memory_bytes=2**40)
EVEN = Trial(
    speed=speed_of(50.0, spread=0.01),
    memory=Footprint(
        source="measured", weights_bytes=1, kv_cache_bytes=0, compute_bytes=0, output_bytes=0
    ),
    peak_rss_bytes=1,
)
"""What is said of every file, where speeds must not decide."""


class CountingLab(Lab):
    """The real lab, which notes the name of every question that it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        member = super().__getattribute__(name)
        if callable(member) and not name.startswith("_"):
            self.asked.append(name)
        return member


@pytest.mark.engine
def test_the_loop_decides_and_the_second_time_remembers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To a decision with evidence; then again with no question but the check; then from the
    evidence.
    """
    monkeypatch.setattr("hakaru.hardware.busy.Others.matter", False)  # else it is not remembered
    model = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024)))
    lab, machine, effort = (
        CountingLab(),
        probe_machine(),
        Effort(n_documents=4, n_prompts=1, repeats=2, presets=("Q8_0", "Q2_K")),
    )
    constraints = replace(ANYTHING, memory_bytes=machine.memory.available_bytes)

    def decided() -> Decision:
        lab.asked.clear()
        session = Session(machine=machine, ledger=Ledger(), lab=lab)
        return tune_at(session, model, ContextSettings(n_ctx=512), constraints, effort)

    decision = decided()
    assert {"write_tensors", "answer", "compare"} <= set(lab.asked)
    assert (
        decision.chosen
        and decision.chosen.passes
        and decision.chosen.path
        and decision.chosen.path.is_file()
    )
    assert 0 < decision.tokens_evaluated <= decision.tokens_full_sweep
    assert decision.evidence
    evidence = json.loads(decision.evidence.read_text(encoding="utf-8"))
    assert (evidence["schema"], evidence["chosen"]["type"]) == (
        "hakaru.decision/1",
        decision.chosen.type,
    )
    kept = [f"model-{type_}" for type_ in [decision.chosen.type] if type_ != SOURCE]
    assert [
        p.stem for p in (tmp_path / "XDG_DATA_HOME" / "hakaru" / "models").rglob("*.gguf")
    ] == kept

    again = decided()
    assert set(lab.asked) == {"dry_run"}
    assert [replace(c, path=None) for c in again.candidates] == [
        replace(c, path=None) for c in decision.candidates
    ]
    walked = replay(decision.evidence, Session(machine=machine, ledger=Ledger(), lab=lab), effort)
    assert (walked.holds, walked.before, walked.changed) == (True, decision.chosen.type, ())


@pytest.mark.engine
def test_one_level_predicts_the_others_and_a_mix_joins_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What will lose too much is not built. The mix is a level like any, and a replay takes it,
    too.
    """
    model = read_model(
        write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024, n_layer=4))
    )
    settings, presets = ContextSettings(n_ctx=512), ("Q8_0", "Q6_K", "Q4_K_M", "Q2_K")
    effort = Effort(n_documents=8, n_prompts=1, repeats=2, presets=presets, rounds=(12, 16))
    tier = replace(TIERS["near-lossless"], top1_agreement=0.5, perplexity_ratio=None)
    constraints = replace(ANYTHING, tier=tier, memory_bytes=probe_machine().memory.available_bytes)
    built: list[str] = []

    def noting(levels: Levels, recipe: Recipe, really: Any = Levels.built) -> Model:
        built.append(recipe.preset)
        made: Model = really(levels, recipe)
        return made

    monkeypatch.setattr(Levels, "built", noting)
    monkeypatch.setattr(Timing, "trial", lambda *_, **__: EVEN)
    decision = tune_at(
        Session(machine=probe_machine(), ledger=Ledger()), model, settings, constraints, effort
    )
    by_type = {c.type: c for c in decision.candidates}
    assert "predicted to lose" in by_type["Q2_K"].why
    assert by_type["Q2_K"].quality is None
    assert "Q2_K" not in built
    (mix,) = [c for c in decision.candidates if c.type.startswith("mix-")]
    assert mix.predicted
    assert mix.weights_bytes < by_type["Q8_0"].weights_bytes
    assert mix.as_json()["tensor_types"] == mix.types
    with monkeypatch.context() as patched:
        patched.setattr(
            "hakaru.choosing.forecast.Forecast.mix",
            lambda *_: pytest.fail("another mix was sought"),
        )
        walked = replay(
            decision.evidence or tmp_path, Session(machine=probe_machine(), ledger=Ledger()), effort
        )
    assert [c.type for c in walked.decision.candidates if c.type.startswith("mix-")] == [mix.type]


@pytest.mark.engine
def test_the_loop_says_when_nothing_fits(tiny: Path) -> None:
    """Too little memory is exit code 3, with ways out that would fit."""
    model, settings = read_model(tiny), ContextSettings(n_ctx=512)
    session, effort = (
        Session(machine=probe_machine(), ledger=Ledger()),
        Effort(n_documents=2, n_prompts=1, repeats=2, presets=("Q8_0",)),
    )
    with pytest.raises(DoesNotFit, match="even Q8_0 needs") as caught:
        tune_at(session, model, settings, replace(ANYTHING, memory_bytes=1000), effort)
    assert caught.value.exit_code == 3
    assert "choose a smaller model" in str(caught.value)
    assert "`n_ctx`" not in str(caught.value)  # 512 tokens are short already
    needs = needs_of(session, model, settings).total_bytes
    with pytest.raises(DoesNotFit) as longer:
        tune_at(
            session,
            model,
            replace(settings, n_ctx=32768),
            replace(ANYTHING, memory_bytes=needs + 24 * 2**20),
            effort,
        )
    context = re.search(r"try .*`n_ctx` (\d+)", str(longer.value))
    assert context and int(context[1]) >= 8192
    small = replace(settings, n_ctx=int(context[1])).with_cache(SMALL_CACHE)
    level = plan_presets(model, ["Q8_0"])[0].weights_bytes - model.weights_bytes
    assert needs_of(session, model, small).total_bytes + level <= needs + 24 * 2**20


@pytest.mark.engine
def test_models_of_another_vocabulary_are_not_compared(tiny: Path, embedded: Path) -> None:
    """KLD is not defined between them."""
    session = Session(machine=probe_machine(), ledger=Ledger())
    with pytest.raises(Misuse, match="another vocabulary"):
        losses.tested(session, read_model(tiny), read_model(embedded), [], TIERS["balanced"])
