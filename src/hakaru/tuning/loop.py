"""The loop: the article's steps as one walk, with figures instead of rules of thumb.

Check what each level needs. One level is read on a few windows, and predicts the others; those that will lose too much are not even built.
The rest is read in rounds, as long as it takes to know who keeps the quality asked for, and timed through the server.
The rule in `decide` chooses. The source itself takes part. Levels larger than the source take part too: they cannot be
better, but they may be faster (on a processor without good kernels for the source's type, Q8_0 is).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from math import log
from pathlib import Path
from typing import Final

from hakaru.errors import DoesNotFit, EngineRefused, MachineError
from hakaru.evaluation.divergence import quality_of
from hakaru.evaluation.judgement import judge
from hakaru.evaluation.speed import REPEATS
from hakaru.evaluation.tasks import TaskSet, pair
from hakaru.evaluation.texts import Part
from hakaru.evaluation.windows import Window, windows_digest
from hakaru.hardware.machine import Machine
from hakaru.language import say
from hakaru.memory.footprint import F16_CACHE, Cache, ContextSettings, Footprint
from hakaru.models.model import Model
from hakaru.places import one_at_a_time
from hakaru.planning.here import free_for_models
from hakaru.quantization.build import Recipe, is_mix, mix_recipe
from hakaru.quantization.presets import LADDER
from hakaru.tuning.bench import Bench
from hakaru.tuning.budget import Budgeter, Target
from hakaru.tuning.decide import SOURCE, Candidate, Constraints, beaten_by, choose, objection, why_chosen
from hakaru.tuning.evidence import save_evidence
from hakaru.tuning.forecast import Forecast
from hakaru.tuning.ledger import settings_json
from hakaru.tuning.study import Study
from hakaru.tuning.trust import errors, learned_margin
from hakaru.units import format_bytes

SCHEMA: Final = "hakaru.decision/1"
ROUNDS: Final = (12, 24, 48, 96)
"""Windows after which levels are dropped or settled; then all of them."""
SMALL_CACHE: Final[Cache] = ("q8_0", "q8_0")
"""The KV cache of levels that do not fit with F16's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """How much is measured; tests take less than the defaults. Files in `keep` are in use and are not removed. With `sweep` every level
    is read on every window, which is what the rounds are held against.
    """

    n_documents: int | None = None
    n_prompts: int | None = None
    repeats: int = REPEATS
    presets: Sequence[str] = LADDER
    keep: frozenset[Path] = frozenset()
    sweep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was tried, what was taken and why, and where the evidence lies. `tokens_full_sweep`: what every level on every window
    would have taken.
    """

    machine: Machine
    model: Model
    settings: ContextSettings
    constraints: Constraints
    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    why: str
    uses_gpu: bool
    tokens_full_sweep: int
    conditions: dict[str, object]
    evidence: Path | None = None

    @property
    def served(self) -> ContextSettings:
        """The settings with the KV cache of the chosen one."""
        return with_cache(self.settings, self.chosen.cache) if self.chosen else self.settings

    @property
    def tokens_evaluated(self) -> int:
        """Tokens on which levels were compared with the source before one was taken."""
        return sum(c.quality.n_tokens for c in self.candidates if c.quality)

    def as_json(self) -> dict[str, object]:
        """The object of `hakaru up --json`."""
        return {
            "schema": SCHEMA,
            "machine": self.machine.as_json(),
            "model": {"name": self.model.name, "path": str(self.model.path), "architecture": self.model.shape.architecture,
                      "n_params": self.model.n_params, "type": self.model.type_name, "bpw": self.model.bpw},
            "settings": settings_json(self.settings),
            "constraints": self.constraints.as_json(),
            "candidates": [c.as_json() for c in self.candidates],
            "chosen": self.chosen.as_json() if self.chosen else None,
            "why": self.why,
            "uses_gpu": self.uses_gpu,
            "tokens_evaluated": self.tokens_evaluated,
            "tokens_full_sweep": self.tokens_full_sweep,
            "conditions": self.conditions,
            "evidence": str(self.evidence) if self.evidence else None,
        }  # fmt: skip


def with_cache(settings: ContextSettings, cache: Cache) -> ContextSettings:
    """The settings with another KV cache."""
    return replace(settings, type_k=cache[0], type_v=cache[1])


def tune(bench: Bench, model: Model, settings: ContextSettings, constraints: Constraints, effort: Effort | None = None) -> Decision:
    """Walk the loop for `model`. Raises DoesNotFit if not even the smallest level goes into the memory allowed."""
    with one_at_a_time(f"tune-{bench.ledger.model_sha256(model)[:12]}"):
        return _Walk(bench, model, settings, constraints, effort or Effort()).decision()


class _Walk:
    """One walk: what is asked for, and the recipes of the levels by name."""

    needs: dict[Cache, Footprint]
    """What the source takes with each KV cache that is tried, by the engine's dry run."""

    def __init__(self, bench: Bench, model: Model, settings: ContextSettings, constraints: Constraints, effort: Effort) -> None:
        self.bench, self.model, self.settings, self.constraints, self.effort = bench, model, settings, constraints, effort
        self.uses_gpu = False
        self.recipes = {r.preset: r for r in bench.plan(model, effort.presets)}

    @cached_property
    def forecast(self) -> Forecast:
        """What levels will lose; what is asked of it takes seconds."""
        return Forecast(Study(self.bench, self.model, "quick", glance=True))

    def decision(self) -> Decision:
        """Check, build, test, time, decide; then save the evidence and remove the files of the losers."""
        found = {c.type: c for c in self.checked()}
        windows = self.windows(("calibration", "validation"))
        own = self.bench.tested(self.model, self.model, windows, self.constraints.tier, cache=self.settings.cache)
        found[SOURCE] = replace(found[SOURCE], quality=own.quality, judgement=own.judgement)
        judged, best = self.decided(found, windows)
        while best and best.type != SOURCE:
            best = self.proven(best, source_fits=found[SOURCE].fits)
            if best.passes:
                break
            self.disqualify(best, found)
            judged, best = self.decided(found, windows)
        judged = sorted((best if best and c.type == best.type else c for c in judged), key=lambda c: -c.weights_bytes)
        why = why_chosen(best, judged) if best else say("no level meets every constraint")
        chosen = replace(best, why=why, path=self.file(best)) if best else None
        for recipe in self.recipes.values():
            if best is None or recipe.preset != best.type:
                self.forget(recipe)
        decision = Decision(
            machine=self.bench.machine,
            model=self.model,
            settings=self.settings,
            constraints=self.constraints,
            candidates=tuple(chosen if chosen and c.type == chosen.type else c for c in judged),
            chosen=chosen,
            why=why,
            uses_gpu=self.uses_gpu,
            tokens_full_sweep=sum(w.n_scored for w in windows) * sum(c.fits and c.type != SOURCE for c in judged),
            conditions={
                **self.bench.conditions(),
                "model_sha256": self.bench.ledger.model_sha256(self.model),
                "windows": {"n": len(windows), "digest": windows_digest(windows)},
                "tasks": self.constraints.tasks.digest if self.constraints.tasks else None,
            },
        )
        return replace(decision, evidence=save_evidence(self.model.path.stem, decision.as_json()))

    def checked(self) -> list[Candidate]:
        """The source and the levels with what they need: but for the weights, what the source's dry run says."""
        needs = self.bench.check(self.model, self.settings).best
        self.needs = {self.settings.cache: needs}
        self.uses_gpu = bool(needs.accelerator_bytes)
        margin = learned_margin(errors(self.bench.ledger.memory_rows()), self.bench.machine.fingerprint)
        spare = int(free_for_models(self.bench.machine, needs) * (1 - margin.fraction))
        self.constraints = replace(self.constraints, memory_bytes=min(self.constraints.memory_bytes or spare, spare))
        sizes = [(SOURCE, self.model.weights_bytes, self.model.bpw)]
        sizes += [(r.preset, r.weights_bytes, r.bpw) for r in self.recipes.values()]
        if self.settings.cache == F16_CACHE and not all(self.candidate(*size).fits for size in sizes):
            with suppress(EngineRefused):  # not every model's keys can be quantized
                self.needs[SMALL_CACHE] = self.bench.check(self.model, with_cache(self.settings, SMALL_CACHE)).best
        candidates = [self.candidate(*size) for size in sizes]
        if not any(c.fits for c in candidates):
            smallest = min(candidates, key=lambda c: c.total_bytes)
            raise DoesNotFit(
                "{path}: even {type} needs {needed} at a context of {n_ctx} with a KV cache of {cache}, but {free} may be used; lower --context, or "
                "choose a smaller model.",
                cache=smallest.cache[0],
                path=self.model.path,
                type=smallest.type,
                needed=format_bytes(smallest.total_bytes),
                n_ctx=self.settings.n_ctx,
                free=format_bytes(self.constraints.memory_bytes or 0),
            )
        return candidates

    def candidate(self, type_: str, weights_bytes: int, bpw: float) -> Candidate:
        """One level before it is tested, with the first KV cache with which it fits. The source keeps its own."""
        caches = [self.settings.cache] if type_ == SOURCE else list(self.needs)
        totals = {cache: self.needs[cache].total_bytes - self.model.weights_bytes + weights_bytes for cache in caches}
        limit = self.constraints.memory_bytes or 0
        cache = next((cache for cache in caches if totals[cache] <= limit), caches[-1])
        return Candidate(
            type=type_, weights_bytes=weights_bytes, bpw=bpw, total_bytes=totals[cache], fits=totals[cache] <= limit, cache=cache
        )

    def windows(self, parts: Sequence[Part]) -> list[Window]:
        """Windows of these parts of the texts."""
        return self.bench.windows(self.model, parts=parts, n_documents=self.effort.n_documents, n_prompts=self.effort.n_prompts)

    def decided(self, found: dict[str, Candidate], windows: Sequence[Window]) -> tuple[list[Candidate], Candidate | None]:
        """Every candidate tested and timed as far as it matters, with the reasons, and the best."""
        self.test(found, windows)
        found.update({c.type: self.timed(c) for c in found.values()})
        judged = [_judged(c, self.constraints) for c in found.values()]
        return judged, choose(judged)

    def test(self, found: dict[str, Candidate], windows: Sequence[Window]) -> None:
        """Give the candidates their quality, read in rounds: after each, those that are known to pass or to fail are settled, the
        rest is timed, and who cannot win any more is read no further.
        """
        open_ = [c for c in found.values() if c.fits and c.verdict in (None, "inconclusive") and not c.beaten_by and not c.why]
        racing = [self.recipes[c.type] for c in open_ if c.type != SOURCE]
        rounds = tuple(n for n in ROUNDS if n < len(windows))
        if rounds:
            racing = self.promising(racing, windows, rounds[0], found)
        for n in (*(() if self.effort.sweep else rounds), len(windows)):
            alike = [[r for r in racing if found[r.preset].cache == cache] for cache in self.needs]
            groups = [group for some in alike for group in self.bench.groups(self.model, some)]
            racing = [recipe for group in groups for recipe in self.raced(group, windows, n, found)]
            if racing and n < len(windows):
                racing = self.still_in(racing, found)

    def promising(self, racing: Sequence[Recipe], windows: Sequence[Window], n: int, found: dict[str, Candidate]) -> list[Recipe]:
        """Without the levels that are predicted to break the tier, once the level that is predicted nearest to its bound was read; and with
        a mix of types that is predicted to keep it in the fewest bytes.
        """
        bound = self.constraints.tier.kld_mean
        told = [(abs(log(kld.value / bound)), i) for i, r in enumerate(racing) if (kld := self.forecast.kld(r.types))]
        if not told:
            return list(racing)
        self.raced([racing[min(told)[1]]], windows, n, found)
        kept, mix = [], None if any(is_mix(name) for name in found) else self.mix()
        if mix:
            self.recipes[mix.preset] = mix
            found[mix.preset] = self.candidate(mix.preset, mix.weights_bytes, mix.bpw)
            racing = [*racing, mix] if found[mix.preset].fits else racing
        for recipe in racing:
            predicted = self.forecast.kld(recipe.types)
            found[recipe.preset] = replace(found[recipe.preset], predicted=predicted)
            lost = predicted is not None and predicted.lowest > bound and found[recipe.preset].quality is None
            if predicted and lost and not self.effort.sweep:
                why = say("predicted to lose {kld:.4f} [{low:.4f}…{high:.4f}] nats per token, more than the tier {tier} allows", kld=predicted.value,
                          low=predicted.lowest, high=predicted.highest, tier=self.constraints.tier.name)  # fmt: skip
                found[recipe.preset] = replace(found[recipe.preset], why=why)
            elif self.effort.sweep or found[recipe.preset].verdict in (None, "inconclusive"):
                kept.append(recipe)
        return kept

    def mix(self) -> Recipe | None:
        """The mix of types that is predicted to keep the tier in the fewest bytes; None where there is none."""
        link = self.forecast.link
        if link is None:
            return None
        try:
            plan = Budgeter(self.bench, self.model, "quick", glance=True).plan(
                Target(tier=self.constraints.tier), imatrix=None, link=link
            )
        except DoesNotFit:
            return None
        return mix_recipe(self.model, plan.types)

    def still_in(self, open_: Sequence[Recipe], found: dict[str, Candidate]) -> list[Recipe]:
        """Those of the open levels that may still win against what is known to pass."""
        timed = {recipe.preset for recipe in open_} | {c.type for c in found.values() if c.verdict == "pass" and c.fits}
        found.update({name: self.clocked(found[name]) for name in timed})
        others = [c for c in found.values() if not c.why and (c.verdict != "pass" or objection(c, self.constraints) is None)]
        kept = []
        for recipe in open_:
            winner = beaten_by(found[recipe.preset], others)
            if winner is None:
                kept.append(recipe)
                continue
            found[recipe.preset] = replace(found[recipe.preset], beaten_by=winner.type)
            self.forget(recipe)
        return kept

    def raced(self, group: Sequence[Recipe], windows: Sequence[Window], n: int, found: dict[str, Candidate]) -> list[Recipe]:
        """Test a group, all with the same KV cache, on the first `n` windows, note what was found, and return those that are not
        settled. A failed one's file goes at once.
        """
        cache = found[group[0].preset].cache
        try:
            rows = self.bench.race(self.model, group, windows, n, cache=cache)
        except MachineError as error:  # the disk is too small for this group; the others may still do
            found.update({r.preset: replace(found[r.preset], why=str(error)) for r in group})
            return []
        open_, domains = [], [w.domain for w in windows]
        for recipe, each in zip(group, rows, strict=True):
            judgement = judge(each, domains, self.constraints.tier)
            if len(windows) > ROUNDS[0] and cache == F16_CACHE:
                self.forecast.learn(recipe.preset, recipe.types, each)
            found[recipe.preset] = replace(found[recipe.preset], quality=quality_of(each, domains), judgement=judgement)
            if judgement.verdict == "fail":
                self.forget(recipe)
            elif judgement.verdict == "inconclusive":
                open_.append(recipe)
        return open_

    def timed(self, candidate: Candidate) -> Candidate:
        """The candidate with its speed, if it fits and kept its quality."""
        return candidate if candidate.quality is None or objection(candidate, self.constraints) else self.clocked(candidate)

    def clocked(self, candidate: Candidate) -> Candidate:
        """The candidate with its speed."""
        if candidate.speed:
            return candidate
        recipe, repeats = self.recipes.get(candidate.type), self.effort.repeats
        settings = with_cache(self.settings, candidate.cache)
        sha256 = self.bench.known_build(self.model, recipe) if recipe else self.bench.ledger.model_sha256(self.model)
        trial = self.bench.known_trial(sha256, settings, repeats=repeats) if sha256 else None
        if trial is None:
            built = self.bench.built(self.model, recipe) if recipe else self.model
            trial = self.bench.trial(built, settings, name=candidate.type, repeats=repeats)
        return replace(candidate, speed=trial.speed)

    def proven(self, best: Candidate, *, source_fits: bool) -> Candidate:
        """The best candidate, tested once on texts that played no part in choosing it; then at its tasks, where the source can be served
        to answer them, too.
        """
        built = self.bench.built(self.model, self.recipes[best.type])
        name = say("{type} on untouched texts", type=best.type)
        windows, tier = self.windows(("test",)), self.constraints.tier
        tested = self.bench.tested(built, self.model, windows, tier, cache=best.cache, name=name)
        if tested.judgement.verdict != "fail":
            passed = replace(best, untouched=tested.quality)
            return self.examined(passed, self.constraints.tasks) if self.constraints.tasks and source_fits else passed
        why = say("breaks the tier on untouched texts")
        return replace(best, untouched=tested.quality, judgement=tested.judgement, passes=False, why=why)

    def examined(self, best: Candidate, tasks: TaskSet) -> Candidate:
        """The best candidate after its tasks; it does not pass if it is proven worse at them than the source."""
        built, items = self.bench.built(self.model, self.recipes[best.type]), tasks.items
        theirs = self.bench.answers(self.model, items, self.settings, name=say("source"))
        found = pair(theirs, self.bench.answers(built, items, with_cache(self.settings, best.cache), name=best.type))
        if found.verdict != "worse":
            return replace(best, tasks=found)
        why = say(
            "worse than the source at the tasks: {lost} lost and {won} won (p = {p:.2g})", lost=found.lost, won=found.won, p=found.p
        )
        return replace(best, tasks=found, passes=False, why=why)

    def disqualify(self, failed: Candidate, found: dict[str, Candidate]) -> None:
        """Take a candidate out; whom it had beaten may still win."""
        beaten = [c for c in found.values() if c.beaten_by == failed.type]
        found.update({c.type: replace(c, beaten_by=None) for c in beaten})
        found[failed.type] = failed

    def file(self, candidate: Candidate) -> Path:
        """The candidate's file: the source where it lies, or the level, built again if its file is gone."""
        recipe = self.recipes.get(candidate.type)
        return self.bench.built(self.model, recipe).path if recipe else self.model.path

    def forget(self, recipe: Recipe) -> None:
        """Remove a loser's file, unless somebody uses it: its figures are in the ledger, and the disk is the person's."""
        path = self.bench.build_path(self.model, recipe)
        if path not in self.effort.keep:
            path.unlink(missing_ok=True)


def _judged(candidate: Candidate, constraints: Constraints) -> Candidate:
    if candidate.untouched or (candidate.why and candidate.quality is None):
        return candidate
    reason = objection(candidate, constraints)
    passes = reason is None and candidate.speed is not None
    return replace(candidate, passes=passes, why=reason or say("meets every constraint"))
