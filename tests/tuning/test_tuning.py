"""The ledger remembers, the rule decides, and the loop walks the whole way on a model of our own."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from hakaru.cli import run
from hakaru.engine.lab import Lab
from hakaru.errors import DoesNotFit, MachineError, Misuse, ModelNotFound
from hakaru.evaluation.divergence import identical
from hakaru.evaluation.judgement import Judgement, judge
from hakaru.evaluation.speed import Speed
from hakaru.evaluation.tasks import Graded, Item, grade, named_tasks
from hakaru.evaluation.tiers import TIERS, Verdict
from hakaru.hardware.probe import probe_machine
from hakaru.memory.footprint import F16_CACHE, ContextSettings, Footprint
from hakaru.models.model import Model, read_model
from hakaru.quantization.build import Recipe
from hakaru.testing import tiny_shape, write_tiny_llama
from hakaru.tuning.bench import Bench, Trial
from hakaru.tuning.decide import Candidate, Constraints, beaten_by, choose, objection, why_chosen
from hakaru.tuning.evidence import last_choice, save_evidence
from hakaru.tuning.ledger import Ledger
from hakaru.tuning.loop import SMALL_CACHE, Effort, tune, with_cache
from hakaru.tuning.replay import replay
from hakaru.units import Figure, Source

ANYTHING = Constraints(tier=TIERS["balanced"], min_tokens_per_s=None, memory_bytes=2**40)


def candidate(type_: str, size: int, decode: tuple[float, float, float], *, passes: bool = True) -> Candidate:
    def figure(low: float, value: float, high: float) -> Figure:
        return Figure(value=value, unit="tokens/s", source="measured", low=low, high=high)

    speed = Speed(decode_tokens_per_s=figure(*decode), prefill_tokens_per_s=figure(1, 1, 1), first_token_ms=figure(1, 1, 1),
                  n_prompt=1, n_predict=1, repeats=5)  # fmt: skip
    return Candidate(
        type=type_, weights_bytes=size, bpw=4.0, total_bytes=size, fits=True, quality=identical(), speed=speed, passes=passes
    )


def test_the_fastest_wins_and_noise_does_not() -> None:
    """Clearly faster wins; overlapping intervals are equal, and then the smaller one wins; who fails never wins."""
    slow, fast = candidate("slow", 10, (9, 10, 11)), candidate("fast", 30, (19, 20, 21))
    close, failed = candidate("close", 20, (18, 19, 20)), candidate("failed", 5, (90, 99, 100), passes=False)
    assert choose([slow, fast, failed]) is fast
    assert choose([slow, fast, close, failed]) is close
    assert choose([failed]) is None
    assert "overlap" in why_chosen(close, [slow, fast, close])
    assert "fastest of the 2" in why_chosen(fast, [slow, fast])
    assert "only one" in why_chosen(slow, [slow, failed])


def test_the_first_broken_constraint_is_named() -> None:
    """Memory, then quality, then speed; with both numbers where there are two."""
    found = candidate("x", 10 * 2**20, (9, 10, 11))
    assert objection(found, ANYTHING) is None
    assert "slower than the 10 tokens/s" in (objection(found, replace(ANYTHING, min_tokens_per_s=10.0)) or "")
    assert objection(found, replace(ANYTHING, min_tokens_per_s=9.0)) is None
    small = replace(ANYTHING, memory_bytes=2**20)
    assert "needs 10.0 MiB, but 1.0 MiB" in (objection(replace(found, fits=False), small) or "")
    in_code = replace(found, judgement=Judgement("fail", broken="kld_mean, answers-ja"))
    assert "mean KLD, answers in Japanese breaks the bound of 0.03" in (objection(in_code, ANYTHING) or "")


def test_the_ledger_remembers_by_kind_and_inputs(tmp_path: Path) -> None:
    """The order of the inputs does not matter, their values do; a later process finds them."""
    path = tmp_path / "ledger.sqlite"
    ledger = Ledger(path)
    ledger.remember("quality", {"a": 1, "b": [2]}, {"kld": 0.5})
    ledger.close()
    again = Ledger(path)
    assert again.recall("quality", {"b": [2], "a": 1}) == {"kld": 0.5}
    assert again.recall("quality", {"a": 2, "b": [2]}) is None
    assert again.recall("speed", {"a": 1, "b": [2]}) is None


def test_a_changed_file_has_another_hash(tmp_path: Path) -> None:
    """The remembered hash belongs to size and time."""
    ledger, file = Ledger(tmp_path / "l.sqlite"), tmp_path / "f"
    file.write_bytes(b"one")
    first = ledger.sha256(file)
    assert ledger.sha256(file) == first
    file.write_bytes(b"other")
    assert ledger.sha256(file) != first


def test_memory_figures_stand_side_by_side(tmp_path: Path) -> None:
    """Computed and measured, with machine, model, engine and settings."""
    ledger = Ledger(tmp_path / "l.sqlite")
    sources: tuple[Source, ...] = ("computed", "measured")
    for source in sources:
        footprint = Footprint(weights_bytes=1, kv_cache_bytes=2, compute_bytes=3, output_bytes=4, source=source)
        ledger.remember_memory(
            footprint, machine="m", model="s", architecture="llama", engine="e", settings=ContextSettings(n_ctx=1)
        )
    rows = ledger.memory_rows()
    assert [r["source"] for r in rows] == ["computed", "measured"]
    assert json.loads(rows[0]["settings"])["n_ctx"] == 1


def test_a_damaged_or_unwritable_ledger_is_one_sentence(tmp_path: Path) -> None:
    """It says which file, and what to do."""
    path = tmp_path / "ledger.sqlite"
    path.write_text("this is no database, but long enough to look like a file of one" * 20)
    with pytest.raises(MachineError, match="the ledger is damaged"):
        Ledger(path)
    with pytest.raises(MachineError, match="cannot be used"):
        Ledger(tmp_path / "no such folder" / "ledger.sqlite")
    assert sqlite3.sqlite_version


def test_the_last_choice_is_found_if_its_file_is_there(tmp_path: Path) -> None:
    """Evidence of a decision without a choice, or of a file that is gone, is passed over."""
    model = tmp_path / "m.gguf"
    model.touch()
    save_evidence("a", {"chosen": {"path": str(model)}})
    save_evidence("b", {"chosen": {"path": str(tmp_path / "gone.gguf")}})
    written = save_evidence("c", {"chosen": None})
    assert json.loads(written.read_text())["evidence"] == str(written)
    assert last_choice() == model


def test_who_cannot_win_is_read_no_further() -> None:
    """One that passes beats a slower one, and a larger one that is as fast; not while somebody else is faster than it."""
    passing = replace(candidate("P", 100, (49, 50, 51)), judgement=Judgement("pass"))
    slower, larger = candidate("S", 50, (30, 31, 32)), candidate("L", 200, (50, 51, 52))
    smaller = candidate("T", 50, (50, 51, 52))
    assert beaten_by(slower, [passing, slower]) is passing
    assert beaten_by(larger, [passing, larger]) is passing
    assert beaten_by(smaller, [passing, smaller]) is None
    runner = candidate("R", 300, (51.5, 60, 61))
    assert beaten_by(larger, [passing, larger, runner]) is None
    assert beaten_by(larger, [passing, larger, replace(runner, judgement=Judgement("fail"))]) is passing
    assert beaten_by(larger, [replace(passing, judgement=Judgement("inconclusive")), larger]) is None


class CountingLab(Lab):
    """The real lab, which counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def _call(self, operation, request, **options):  # type: ignore[no-untyped-def]
        self.asked.append(operation)
        return super()._call(operation, request, **options)


@pytest.mark.engine
def test_the_loop_decides_and_the_second_time_remembers(tmp_path: Path) -> None:
    """From a full-precision model to a decision with evidence; then again without one engine call but the check."""
    model = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024)))
    settings, effort = ContextSettings(n_ctx=512), Effort(n_documents=4, n_prompts=1, repeats=2, presets=("Q8_0", "Q4_K_M", "Q2_K"))
    lab, machine = CountingLab(), probe_machine()
    constraints = replace(ANYTHING, memory_bytes=machine.memory.available_bytes)
    decision = tune(Bench(machine=machine, ledger=Ledger(), lab=lab), model, settings, constraints, effort)
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
    again = tune(Bench(machine=machine, ledger=Ledger(), lab=lab), model, settings, constraints, effort)
    assert lab.asked == ["dry_run"]
    assert [replace(c, path=None) for c in again.candidates] == [replace(c, path=None) for c in decision.candidates]

    walked = replay(decision.evidence or tmp_path, Bench(machine=machine, ledger=Ledger(), lab=lab), effort)
    assert (walked.holds, walked.before, walked.changed) == (True, decision.chosen.type, ())
    other = {
        **evidence,
        "chosen": {**evidence["chosen"], "type": "Q9"},
        "conditions": {**evidence["conditions"], "lab": "an older one"},
    }
    (tmp_path / "old.json").write_text(json.dumps(other), encoding="utf-8")
    walked = replay(tmp_path / "old.json", Bench(machine=machine, ledger=Ledger(), lab=lab), effort)
    assert (walked.holds, walked.before, [what for what, _, _ in walked.changed]) == (False, "Q9", ["lab"])

    bench = Bench(machine=machine, ledger=Ledger(), lab=lab)
    (recipe,) = bench.plan(model, ["Q2_K"])
    served = bench.built(model, recipe).path
    tune(bench, model, settings, constraints, replace(effort, keep=frozenset({served})))
    assert served.is_file()
    tune(bench, model, settings, constraints, effort)
    assert not served.exists()


@pytest.mark.engine
def test_levels_that_do_not_fit_take_a_smaller_kv_cache(tmp_path: Path) -> None:
    """With the cache in Q8_0, measured and timed as it will be served; the source keeps its own, and does not fit."""
    model = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024, n_ctx_train=16384)))
    settings, effort = ContextSettings(n_ctx=16384), Effort(n_documents=12, n_prompts=1, repeats=2, presets=("Q8_0", "Q6_K"))
    bench = Bench(machine=probe_machine(), ledger=Ledger())
    large, small = (bench.check(model, with_cache(settings, cache)).best for cache in (F16_CACHE, SMALL_CACHE))
    assert small.kv_cache_bytes < 0.6 * large.kv_cache_bytes
    (recipe,) = bench.plan(model, ["Q8_0"])
    limit = (small.total_bytes + large.total_bytes) // 2 - model.weights_bytes + recipe.weights_bytes
    decision = tune(bench, model, settings, Constraints(tier=TIERS["extreme"], min_tokens_per_s=None, memory_bytes=limit), effort)
    by_type = {c.type: c for c in decision.candidates}
    assert (by_type["source"].fits, by_type["source"].cache) == (False, F16_CACHE)
    for name in ("Q8_0", "Q6_K"):
        assert (by_type[name].fits, by_type[name].cache) == (True, SMALL_CACHE)
    chosen = decision.chosen
    assert chosen
    assert decision.served.cache == SMALL_CACHE
    assert chosen.quality
    windows = bench.windows(model, parts=("calibration", "validation"), n_documents=12, n_prompts=1)
    same_weights = bench.tested(
        bench.built(model, next(r for r in bench.plan(model, [chosen.type]))), model, windows, TIERS["extreme"]
    )
    assert same_weights.quality.kld_mean.value != chosen.quality.kld_mean.value, "the cache's own loss is in the figure"


@pytest.mark.engine
def test_one_level_predicts_the_others_and_a_mix_joins_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What will lose too much is not built; the mix is read like any level; a sweep reads all of them."""
    model = read_model(write_tiny_llama(tmp_path / "model.gguf", tiny_shape(n_vocab=1024, n_layer=4)))
    settings, effort = (
        ContextSettings(n_ctx=512),
        Effort(n_documents=8, n_prompts=1, repeats=2, presets=("Q8_0", "Q6_K", "Q4_K_M", "Q2_K")),
    )
    constraints = replace(ANYTHING, tier=TIERS["near-lossless"], memory_bytes=probe_machine().memory.available_bytes)
    monkeypatch.setattr("hakaru.tuning.loop.ROUNDS", (12, 16))
    built: list[str] = []

    class Noting(Bench):
        def built(self, model: Model, recipe: Recipe) -> Model:
            built.append(recipe.preset)
            return super().built(model, recipe)

    decision = tune(Noting(machine=probe_machine(), ledger=Ledger()), model, settings, constraints, effort)
    by_type = {c.type: c for c in decision.candidates}
    assert "predicted to lose" in by_type["Q2_K"].why
    assert by_type["Q2_K"].quality is None
    assert "Q2_K" not in built
    (mix,) = [c for c in decision.candidates if c.type.startswith("mix-")]
    assert mix.quality
    assert mix.predicted
    assert mix.weights_bytes < by_type["Q8_0"].weights_bytes
    sweep = tune(Noting(machine=probe_machine(), ledger=Ledger()), model, settings, constraints, replace(effort, sweep=True))
    swept = {c.type: c for c in sweep.candidates}
    assert "Q2_K" in built
    assert swept["Q2_K"].quality
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
            speed = candidate("x", 1, (0.99 * speeds[name], speeds[name], 1.01 * speeds[name])).speed
            assert speed
            memory = Footprint(source="measured", weights_bytes=1, kv_cache_bytes=0, compute_bytes=0, output_bytes=0)
            return Trial(speed=speed, memory=memory, peak_rss_bytes=1)

        def answers(self, model: Model, items: Sequence[Item], *rest: Any, **options: Any) -> list[Graded]:
            wrong = self.spoiled if model.path != source.path else 0
            return grade(items, ["?"] * wrong + [item.prompt for item in items[wrong:]])

    monkeypatch.setattr("hakaru.tuning.loop.Forecast.kld", lambda *_: None)
    constraints = Constraints(
        tier=TIERS["extreme"], min_tokens_per_s=None, memory_bytes=2**40, tasks=named_tasks([str(file)], "en")
    )
    bench = Graders(machine=probe_machine(), ledger=Ledger())
    good = tune(bench, source, ContextSettings(n_ctx=512), constraints, effort).chosen
    assert good
    assert good.tasks
    assert (good.type, good.tasks.n, good.tasks.verdict) == ("Q8_0", 8, "cannot tell")
    bench.spoiled = 8
    decision = tune(bench, source, ContextSettings(n_ctx=512), constraints, effort)
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
    speeds = {"source": 10.0, "Q8_0": 90.0, "Q6_K": 30.0}
    failed: list[str] = []

    class Picky(Bench):
        def trial(self, model: Model, *rest: Any, name: str = "", **options: Any) -> Trial:
            speed = candidate("x", 1, (0.99 * speeds[name], speeds[name], 1.01 * speeds[name])).speed
            assert speed
            return Trial(
                speed=speed,
                memory=Footprint(source="measured", weights_bytes=1, kv_cache_bytes=0, compute_bytes=0, output_bytes=0),
                peak_rss_bytes=1,
            )

        def tested(self, candidate: Model, *rest: Any, **options: Any) -> Any:
            found = super().tested(candidate, *rest, **options)
            if "Q8_0" in candidate.path.name:
                failed.append("Q8_0")
                return replace(found, judgement=Judgement("fail", broken="kld_mean"))
            return found

    monkeypatch.setattr("hakaru.tuning.loop.ROUNDS", (4, 12))
    monkeypatch.setattr("hakaru.tuning.loop.Forecast.kld", lambda *_: None)  # nobody is left out
    early: Iterator[Verdict] = chain(
        ("pass",), repeat("inconclusive")
    )  # after four windows Q8_0 is settled and Q6_K, beaten, is open
    monkeypatch.setattr(
        "hakaru.tuning.loop.judge", lambda rows, *rest: Judgement(next(early)) if len(rows) == 4 else judge(rows, *rest)
    )
    constraints = replace(ANYTHING, tier=TIERS["extreme"], memory_bytes=probe_machine().memory.available_bytes)
    decision = tune(Picky(machine=probe_machine(), ledger=Ledger()), model, settings, constraints, effort)
    by_type = {c.type: c for c in decision.candidates}
    assert failed == ["Q8_0"]
    assert by_type["Q8_0"].why == "breaks the tier on untouched texts"
    assert by_type["Q8_0"].untouched
    assert by_type["Q6_K"].beaten_by is None
    assert by_type["Q6_K"].quality
    assert by_type["Q6_K"].quality.n_windows > 4
    assert decision.chosen
    assert decision.chosen.type == "Q6_K"


WISHES: dict[str, Any] = {"quality": "balanced", "min_speed": None, "memory_bytes": None, "tasks": [], "language": None}
SETTINGS: dict[str, Any] = {"n_ctx": 512, "n_ubatch": 512, "type_k": "f16", "type_v": "f16", "n_parallel": 1, "kv_unified": False}


def evidence(**changes: Any) -> str:
    """A decision's file as far as it is read again, but for these values."""
    whole = {"schema": "hakaru.decision/1", "constraints": WISHES, "settings": SETTINGS, "model": {"path": "none.gguf"}, "chosen": None,
             "conditions": {}, "machine": {"fingerprint": "m"}}  # fmt: skip
    return json.dumps(whole | changes)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "no evidence of a decision"),
        ("[]", "expected the schema"),
        ('{"schema": "hakaru.decision/1"}', "lacks 'constraints'"),
        (None, "cannot be read"),
        (evidence(chosen=[1]), r"'chosen' is \[1\], expected an object"),
        (evidence(chosen="Q8_0"), "'chosen' is \"Q8_0\", expected an object"),
        (evidence(chosen={"type": 3}), "'chosen.type' is 3, expected a text"),
        (evidence(constraints=3), "'constraints' is 3, expected an object"),
        (evidence(constraints={}), "lacks 'constraints.quality'"),
        (evidence(constraints={**WISHES, "min_speed": "fast"}), "'constraints.min_speed' is \"fast\", expected a number above 0"),
        (evidence(constraints={**WISHES, "min_speed": -1}), "'constraints.min_speed' is -1, expected"),
        (evidence(constraints={**WISHES, "memory_bytes": 1.5}), "'constraints.memory_bytes' is 1.5, expected a whole number"),
        (evidence(constraints={**WISHES, "quality": "best"}), "cannot be walked again: --quality is 'best'"),
        (evidence(constraints={**WISHES, "tasks": "ours"}), "'constraints.tasks' is \"ours\", expected a list of texts"),
        (evidence(constraints={**WISHES, "tasks": ["ours"], "language": None}), "'constraints.language' is null"),
        (evidence(constraints={**WISHES, "tasks": ["/none.jsonl"], "language": "en"}), "cannot be walked again: /none.jsonl"),
        (evidence(settings={**SETTINGS, "n_ctx": "many"}), "'settings.n_ctx' is \"many\", expected a whole number above 0"),
        (evidence(settings={**SETTINGS, "n_ctx": -5}), "'settings.n_ctx' is -5, expected a whole number above 0"),
        (evidence(settings={**SETTINGS, "n_ctx": 10**9}), "cannot be walked again: --context is 1000000000"),
        (evidence(settings={**SETTINGS, "type_k": ["f16"]}), "'settings.type_k' is"),
        (evidence(settings=None), "'settings' is null, expected an object"),
        (evidence(conditions=None), "'conditions' is null, expected an object"),
        (evidence(model={"path": 7}), "'model.path' is 7, expected a text"),
        (evidence(machine=[]), r"'machine' is \[\], expected an object"),
    ],
)
def test_what_is_no_evidence_is_not_replayed(tmp_path: Path, text: str | None, words: str) -> None:
    """One sentence, whatever the file holds."""
    file = tmp_path / "evidence.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(Misuse, match=words):
        replay(file, Bench(machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite")))


def test_whole_evidence_is_walked_again(tmp_path: Path) -> None:
    """It is only its model that is missing here."""
    file = tmp_path / "evidence.json"
    file.write_text(evidence(), encoding="utf-8")
    with pytest.raises(ModelNotFound, match=r"none.gguf: there is no such file"):
        replay(file, Bench(machine=probe_machine(), ledger=Ledger(tmp_path / "ledger.sqlite")))


@pytest.mark.parametrize(
    "options",
    [
        ["--quality", "balanced"], ["--min-speed", "3"], ["--memory", "1GiB"], ["--tasks", "ours"], ["--context", "512"],
        ["--cache-type-k", "q8_0"], ["--parallel", "1"], ["--language", "ja"], ["--again"], ["--plot", "a.svg"],
    ],
)  # fmt: skip
def test_a_replay_takes_everything_from_its_evidence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """An option beside it is refused, also one that says what it would be anyway; JSON and the language are how it is told."""
    file = tmp_path / "evidence.json"
    file.write_text(evidence(), encoding="utf-8")
    assert run(["tune", "--replay", str(file), *options]) == 2
    assert capsys.readouterr().err.startswith(f"hakaru: {options[0]} goes with a model, not with --replay")
    assert run(["tune", "--replay", str(file), "--json", "--lang", "en"]) == 4
    assert run(["tune", "a.gguf", "--replay", str(file)]) == 2


@pytest.mark.engine
def test_the_loop_says_when_nothing_fits_or_nothing_is_fast_enough(tiny: Path) -> None:
    """Too little memory is exit code 3 with ways out; an impossible speed gives a decision without a choice."""
    model, settings = read_model(tiny), ContextSettings(n_ctx=512)
    bench, effort = (
        Bench(machine=probe_machine(), ledger=Ledger()),
        Effort(n_documents=2, n_prompts=1, repeats=2, presets=("Q8_0",)),
    )
    with pytest.raises(DoesNotFit, match="even Q8_0 needs") as caught:
        tune(bench, model, settings, replace(ANYTHING, memory_bytes=1000), effort)
    assert caught.value.exit_code == 3
    decision = tune(bench, model, settings, replace(ANYTHING, min_tokens_per_s=1e9), effort)
    assert decision.chosen is None
    assert all("slower" in c.why or "tier" in c.why for c in decision.candidates)


@pytest.mark.engine
def test_models_of_another_vocabulary_are_not_compared(tiny: Path, embedded: Path) -> None:
    """KLD is not defined between them."""
    bench = Bench(machine=probe_machine(), ledger=Ledger())
    with pytest.raises(Misuse, match="another vocabulary"):
        bench.tested(read_model(tiny), read_model(embedded), [], TIERS["balanced"])
