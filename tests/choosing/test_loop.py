"""The loop walks the whole way on a model of our own, and again from its evidence."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from hakaru.choosing.candidate import SOURCE, Constraints
from hakaru.choosing.loop import tune
from hakaru.choosing.replay import replay
from hakaru.choosing.smaller_cache import SMALL_CACHE
from hakaru.choosing.worker import Effort
from hakaru.engine.lab import Lab
from hakaru.errors import DoesNotFit, Misuse
from hakaru.evaluation.judgement import Judgement, judge
from hakaru.evaluation.tasks import Graded, Item, grade, named_tasks
from hakaru.evaluation.tiers import TIERS, Verdict
from hakaru.evaluation.trial import Trial
from hakaru.hardware.probe import probe_machine
from hakaru.ledger import Ledger
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import F16_CACHE, ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.planning.here import grown
from hakaru.quantization.build import Recipe
from hakaru.session import Session
from hakaru.testing import tiny_shape, write_tiny_llama
from hakaru.tuning.bench import Bench
from speeds import speed_of

ANYTHING = Constraints(tier=TIERS["balanced"], min_tokens_per_s=None, memory_bytes=2**40)


EVEN = Trial(
    speed=speed_of(50.0, spread=0.01), memory=Footprint(source="measured", weights_bytes=1, kv_cache_bytes=0, compute_bytes=0, output_bytes=0),
    peak_rss_bytes=1,
)  # fmt: skip
"""What a bench says of every file, where speeds must not decide."""


class CountingLab(Lab):
    """The real lab, which counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def _call(self, operation, request, **options):  # type: ignore[no-untyped-def]
        self.asked.append(operation)
        return super()._call(operation, request, **options)


@pytest.mark.engine
def test_the_loop_decides_and_the_second_time_remembers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a full-precision model to a decision with evidence; then again without one engine call but the check."""
    monkeypatch.setattr("hakaru.hardware.busy.Others.matter", False)  # else it is not remembered
    model = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024)))
    settings, effort = ContextSettings(n_ctx=512), Effort(n_documents=4, n_prompts=1, repeats=2, presets=("Q8_0", "Q4_K_M", "Q2_K"))
    lab, machine = CountingLab(), probe_machine()
    constraints = replace(ANYTHING, memory_bytes=machine.memory.available_bytes)
    decision = tune(Bench(Session(machine=machine, ledger=Ledger(), lab=lab)), model, settings, constraints, effort)
    assert [c.type for c in decision.candidates] == ["source", "Q8_0", "Q4_K_M", "Q2_K"]
    assert decision.chosen
    assert decision.chosen.passes
    assert decision.chosen.path
    assert decision.chosen.path.is_file()
    by_type = {c.type: c for c in decision.candidates}
    klds = [by_type[t].quality.kld_mean.value for t in ("Q8_0", "Q4_K_M", "Q2_K") if by_type[t].quality]  # type: ignore[union-attr]
    assert klds == sorted(klds)
    assert by_type["Q2_K"].passes is False
    assert 0 < decision.tokens_evaluated <= decision.tokens_full_sweep
    evidence = json.loads((decision.evidence or tmp_path).read_text())
    assert evidence["schema"] == "hakaru.decision/1"
    assert evidence["chosen"]["type"] == decision.chosen.type
    assert {"type", "bytes", "bpw", "kld_mean", "top1_agreement", "decode_tokens_per_s", "fits", "passes", "why"} <= set(
        evidence["candidates"][0]
    )
    models = tmp_path / "XDG_DATA_HOME" / "hakaru" / "models"
    assert [p.stem for p in models.rglob("*.gguf")] == [f"model-{t}" for t in [decision.chosen.type] if t != "source"]

    lab.asked.clear()
    again = tune(Bench(Session(machine=machine, ledger=Ledger(), lab=lab)), model, settings, constraints, effort)
    assert set(lab.asked) == {"dry_run"}
    assert [replace(c, path=None) for c in again.candidates] == [replace(c, path=None) for c in decision.candidates]

    walked = replay(decision.evidence or tmp_path, Bench(Session(machine=machine, ledger=Ledger(), lab=lab)), effort)
    assert (walked.holds, walked.before, walked.changed) == (True, decision.chosen.type, ())
    other = {
        **evidence,
        "chosen": {**evidence["chosen"], "type": "Q9"},
        "conditions": {**evidence["conditions"], "lab": "an older one"},
    }
    (tmp_path / "old.json").write_text(json.dumps(other), encoding="utf-8")
    walked = replay(tmp_path / "old.json", Bench(Session(machine=machine, ledger=Ledger(), lab=lab)), effort)
    assert (walked.holds, walked.before, [what for what, _, _ in walked.changed]) == (False, "Q9", ["lab"])

    bench = Bench(Session(machine=machine, ledger=Ledger(), lab=lab))
    (recipe,) = bench.plan(model, ["Q2_K"])
    served = bench.built(model, recipe).path
    tune(bench, model, settings, constraints, replace(effort, keep=frozenset({served})))
    assert served.is_file()
    tune(bench, model, settings, constraints, effort)
    assert not served.exists()


def needs_of(bench: Bench, model: Model, settings: ContextSettings) -> Footprint:
    """What the loop takes a server of the model to need: its load, and what comes with use."""
    return grown(bench.check(model, settings).best, model.shape, settings)


@pytest.mark.engine
def test_levels_that_do_not_fit_take_a_smaller_kv_cache(tmp_path: Path) -> None:
    """With the cache in Q8_0, measured and timed as it will be served; so is the source, where it fits then."""
    model = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024, n_ctx_train=16384)))
    settings, effort = ContextSettings(n_ctx=16384), Effort(n_documents=12, n_prompts=1, repeats=2, presets=("Q8_0", "Q6_K"))
    bench = Bench(Session(machine=probe_machine(), ledger=Ledger()))
    large, small = (needs_of(bench, model, settings.with_cache(cache)) for cache in (F16_CACHE, SMALL_CACHE))
    assert small.kv_cache_bytes < 0.6 * large.kv_cache_bytes
    (recipe,) = bench.plan(model, ["Q8_0"])
    limit = (small.total_bytes + large.total_bytes) // 2 - model.weights_bytes + recipe.weights_bytes
    decision = tune(bench, model, settings, Constraints(tier=TIERS["extreme"], min_tokens_per_s=None, memory_bytes=limit), effort)
    found = {c.key: c for c in decision.candidates}
    assert found["source", F16_CACHE].fits is False
    assert ("Q8_0", F16_CACHE) not in found
    assert found["Q8_0", SMALL_CACHE].fits and found["Q6_K", SMALL_CACHE].fits
    assert decision.chosen
    assert decision.served.cache == SMALL_CACHE
    lossy = found["Q8_0", SMALL_CACHE]
    assert lossy.quality
    windows = bench.windows(model, parts=("calibration", "validation"), n_documents=12, n_prompts=1)
    same_weights = bench.tested(bench.built(model, recipe), model, windows, TIERS["extreme"])
    assert same_weights.quality.kld_mean.value != lossy.quality.kld_mean.value, "the cache's own loss is in the figure"

    between = replace(ANYTHING, tier=TIERS["extreme"], memory_bytes=(small.total_bytes + large.total_bytes) // 2)
    found = {c.key: c for c in tune(bench, model, settings, between, replace(effort, presets=("Q8_0",))).candidates}
    assert not found["source", F16_CACHE].fits
    source = found["source", SMALL_CACHE]
    assert source.fits and source.quality and 0 < source.quality.kld_mean.value < lossy.quality.kld_mean.value


@pytest.mark.engine
@pytest.mark.parametrize("slow", [False, True], ids=["as fast", "slower"])
def test_the_best_is_tried_with_a_smaller_kv_cache(tmp_path: Path, slow: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As fast and within the tier, it is taken for its size, proven as it will be served; slower, it is not even read."""
    model = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024, n_ctx_train=16384)))
    settings, effort = ContextSettings(n_ctx=16384), Effort(n_documents=8, n_prompts=1, repeats=2, presets=("Q8_0",))

    class Even(Bench):
        def trial(self, model: Model, settings: ContextSettings, **options: Any) -> Trial:
            rate = 40.0 if slow and settings.cache == SMALL_CACHE else 50.0
            return replace(EVEN, speed=speed_of(rate, spread=0.01))

    decision = tune(
        Even(Session(machine=probe_machine(), ledger=Ledger())),
        model,
        settings,
        replace(ANYTHING, tier=TIERS["extreme"], memory_bytes=None),
        effort,
        mix={},
    )
    found = {c.key: c for c in decision.candidates}
    small, usual = found["Q8_0", SMALL_CACHE], found["Q8_0", F16_CACHE]
    assert small.total_bytes < 0.95 * usual.total_bytes
    assert decision.chosen
    if slow:
        assert (decision.chosen.key, small.quality, small.passes) == (usual.key, None, False)
        assert "than with a KV cache of F16: " in small.why
    else:
        assert decision.chosen.key == small.key
        assert small.quality and usual.quality and small.untouched
        assert small.quality.kld_mean.value != usual.quality.kld_mean.value
        assert decision.served.cache == SMALL_CACHE
    assert decision.chosen.path and decision.chosen.path.is_file()
    assert {c.sha256 for c in (small, usual)} == {Ledger().sha256(decision.chosen.path)}


@pytest.mark.engine
def test_one_level_predicts_the_others_and_a_mix_joins_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What will lose too much is not built; the mix takes part like any level; a sweep reads all of them."""
    model = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024, n_layer=4)))
    settings, effort = (
        ContextSettings(n_ctx=512),
        Effort(n_documents=8, n_prompts=1, repeats=2, presets=("Q8_0", "Q6_K", "Q4_K_M", "Q2_K")),
    )
    tier = replace(TIERS["near-lossless"], top1_agreement=0.5, perplexity_ratio=None)
    constraints = replace(ANYTHING, tier=tier, memory_bytes=probe_machine().memory.available_bytes)
    effort = replace(effort, rounds=(12, 16))
    built: list[str] = []

    class Noting(Bench):
        def built(self, model: Model, recipe: Recipe) -> Model:
            built.append(recipe.preset)
            return super().built(model, recipe)

        def trial(self, model: Model, settings: ContextSettings, **options: Any) -> Trial:
            return EVEN

    decision = tune(Noting(Session(machine=probe_machine(), ledger=Ledger())), model, settings, constraints, effort)
    by_type = {c.type: c for c in decision.candidates}
    assert "predicted to lose" in by_type["Q2_K"].why
    assert by_type["Q2_K"].quality is None
    assert "Q2_K" not in built
    (mix,) = [c for c in decision.candidates if c.type.startswith("mix-")]
    assert mix.predicted
    assert mix.weights_bytes < by_type["Q8_0"].weights_bytes
    assert mix.as_json()["tensor_types"] == mix.types
    with monkeypatch.context() as patched:
        patched.setattr("hakaru.choosing.forecast.Forecast.mix", lambda *_: pytest.fail("another mix was sought"))
        walked = replay(decision.evidence or tmp_path, Noting(Session(machine=probe_machine(), ledger=Ledger())), effort)
    assert [c.type for c in walked.decision.candidates if c.type.startswith("mix-")] == [mix.type]
    every = replace(effort, sweep=True)
    sweep = tune(Noting(Session(machine=probe_machine(), ledger=Ledger())), model, settings, constraints, every, mix=mix.types)
    swept = {c.type: c for c in sweep.candidates}
    assert "Q2_K" in built
    assert swept["Q2_K"].quality
    assert all(c.quality for c in sweep.candidates)
    assert any(c.type.startswith("mix-") for c in sweep.candidates)
    assert swept["Q2_K"].predicted
    assert swept["Q2_K"].predicted.lowest <= swept["Q2_K"].quality.kld_mean.highest
    assert sweep.tokens_evaluated == sweep.tokens_full_sweep > decision.tokens_evaluated
    assert sweep.chosen and decision.chosen
    assert sweep.chosen.type == decision.chosen.type


@pytest.mark.engine
def test_a_level_that_is_worse_at_the_tasks_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it keeps the tier: it is out, says why, and the source is taken; one that is as good is taken with the comparison."""
    file = tmp_path / "tasks.jsonl"
    file.write_text("".join(f'{{"id": "{i}", "prompt": "{i}", "check": {{"type": "exact", "answer": "{i}"}}}}\n' for i in range(8)))
    source = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024)))
    effort = Effort(n_documents=12, n_prompts=1, repeats=2, presets=("Q8_0",))
    speeds = {"source": 10.0, "Q8_0": 90.0}

    class Graders(Bench):
        spoiled = 0

        def trial(self, model: Model, *rest: Any, name: str = "", **options: Any) -> Trial:
            return replace(EVEN, speed=speed_of(speeds[name], spread=0.01))

        def answers(self, model: Model, items: Sequence[Item], *rest: Any, **options: Any) -> list[Graded]:
            wrong = self.spoiled if model.path != source.path else 0
            return grade(items, ["?"] * wrong + [item.prompt for item in items[wrong:]])

    constraints = Constraints(
        tier=TIERS["extreme"], min_tokens_per_s=None, memory_bytes=2**40, tasks=named_tasks([str(file)], "en")
    )
    bench = Graders(Session(machine=probe_machine(), ledger=Ledger()))
    good = tune(bench, source, ContextSettings(n_ctx=512), constraints, effort, mix={}).chosen
    assert good
    assert good.tasks
    assert (good.type, good.tasks.n, good.tasks.verdict) == ("Q8_0", 8, "cannot tell")
    bench.spoiled = 8
    decision = tune(bench, source, ContextSettings(n_ctx=512), constraints, effort, mix={})
    level = next(c for c in decision.candidates if c.type == "Q8_0")
    assert (level.passes, level.why) == (False, "worse than the source at the tasks: 8 lost and 0 won (p = 0.0078)")
    assert decision.chosen
    assert decision.chosen.type == "source"
    assert decision.as_json()["constraints"] == {
        "quality": "extreme", "min_speed": None, "memory_bytes": constraints.memory_bytes and decision.constraints.memory_bytes,
        "tasks": [str(file)], "language": "en",
    }  # fmt: skip


@pytest.mark.engine
def test_who_was_beaten_by_one_that_fails_at_last_may_still_win(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A level that breaks the tier on untouched texts goes; the levels that it had beaten are read on, and nobody says that it won."""
    model = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024)))
    settings, effort = ContextSettings(n_ctx=512), Effort(n_documents=8, n_prompts=1, repeats=2, presets=("Q8_0", "Q6_K"))
    speeds = {"source": 10.0, "Q6_K": 90.0, "Q8_0": 30.0}
    failed: list[str] = []

    class Picky(Bench):
        def trial(self, model: Model, *rest: Any, name: str = "", **options: Any) -> Trial:
            return replace(EVEN, speed=speed_of(speeds[name], spread=0.01))

        def tested(self, candidate: Model, *rest: Any, **options: Any) -> Any:
            found = super().tested(candidate, *rest, **options)
            if "Q6_K" in candidate.path.name:
                failed.append("Q6_K")
                return replace(found, judgement=Judgement("fail", broken="kld_mean"))
            return found

    effort = replace(effort, rounds=(4, 12))
    monkeypatch.setattr("hakaru.choosing.worker.Forecast.kld", lambda *_: None)  # nobody is left out
    early: Iterator[Verdict] = chain(("pass",), repeat("inconclusive"))  # after four windows Q6_K is settled, and Q8_0 is beaten
    monkeypatch.setattr(
        "hakaru.choosing.worker.judge", lambda rows, *rest: Judgement(next(early)) if len(rows) == 4 else judge(rows, *rest)
    )
    constraints = replace(ANYTHING, tier=TIERS["extreme"], memory_bytes=probe_machine().memory.available_bytes)
    decision = tune(Picky(Session(machine=probe_machine(), ledger=Ledger())), model, settings, constraints, effort, mix={})
    by_type = {c.type: c for c in decision.candidates}
    assert failed == ["Q6_K"]
    assert by_type["Q6_K"].why == "breaks the tier on untouched texts"
    assert by_type["Q6_K"].untouched
    assert by_type["Q8_0"].beaten_by is None
    assert by_type["Q8_0"].quality
    assert by_type["Q8_0"].quality.n_windows > 4
    assert decision.chosen
    assert decision.chosen.type == "Q8_0"


@pytest.mark.engine
def test_the_loop_says_when_nothing_fits_or_nothing_is_fast_enough(tiny: Path) -> None:
    """Too little memory is exit code 3 with ways out; an impossible speed gives a decision without a choice."""
    model, settings = read_model(tiny), ContextSettings(n_ctx=512)
    bench, effort = (
        Bench(Session(machine=probe_machine(), ledger=Ledger())),
        Effort(n_documents=2, n_prompts=1, repeats=2, presets=("Q8_0",)),
    )
    with pytest.raises(DoesNotFit, match="even Q8_0 needs") as caught:
        tune(bench, model, settings, replace(ANYTHING, memory_bytes=1000), effort)
    assert caught.value.exit_code == 3
    assert "choose a smaller model" in str(caught.value)
    assert "`n_ctx`" not in str(caught.value)  # 512 tokens are short already
    needs = needs_of(bench, model, settings).total_bytes
    with pytest.raises(DoesNotFit) as longer:
        tune(bench, model, replace(settings, n_ctx=32768), replace(ANYTHING, memory_bytes=needs + 24 * 2**20), effort)
    context = re.search(r"try .*--context (\d+)", str(longer.value))
    assert context and int(context[1]) >= 8192
    small = replace(settings, n_ctx=int(context[1])).with_cache(SMALL_CACHE)
    level = bench.plan(model, ["Q8_0"])[0].weights_bytes - model.weights_bytes
    assert needs_of(bench, model, small).total_bytes + level <= needs + 24 * 2**20
    decision = tune(bench, model, settings, replace(ANYTHING, min_tokens_per_s=1e9), effort)
    assert decision.chosen is None
    assert all("slower" in c.why or "tier" in c.why for c in decision.candidates)


@pytest.mark.engine
def test_a_level_that_is_the_source_is_told_as_that(tmp_path: Path) -> None:
    """Q8_0 of a Q8_0 file would be a copy: neither built, nor read, nor taken."""
    whole = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024)))
    bench, effort = (
        Bench(Session(machine=probe_machine(), ledger=Ledger())),
        Effort(n_documents=2, n_prompts=1, repeats=2, presets=("Q8_0", "Q6_K")),
    )
    (recipe,) = bench.plan(whole, ["Q8_0"])
    model = bench.built(whole, recipe)
    decision = tune(bench, model, ContextSettings(n_ctx=512), ANYTHING, effort, mix={})
    by_type = {c.type: c for c in decision.candidates}
    assert by_type["Q8_0"].why == "the source itself, bit for bit"
    assert not by_type["Q8_0"].passes and by_type["Q8_0"].quality is None
    assert by_type["Q8_0"].weights_bytes == by_type[SOURCE].weights_bytes
    (copy,) = bench.plan(model, ["Q8_0"])
    assert (
        bench.built(model, copy).path.read_bytes()[-model.weights_bytes // 2 :]
        == model.path.read_bytes()[-model.weights_bytes // 2 :]
    )
    assert "the source itself" not in by_type["Q6_K"].why


@pytest.mark.engine
def test_models_of_another_vocabulary_are_not_compared(tiny: Path, embedded: Path) -> None:
    """KLD is not defined between them."""
    bench = Bench(Session(machine=probe_machine(), ledger=Ledger()))
    with pytest.raises(Misuse, match="another vocabulary"):
        bench.tested(read_model(tiny), read_model(embedded), [], TIERS["balanced"])
