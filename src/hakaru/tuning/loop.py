"""The loop: the article's steps as one walk, with figures instead of rules of thumb.

Check what each level needs. One level is read on a few windows, and predicts the others; those that will lose too much are not even built.
The rest is read in rounds, as long as it takes to know who keeps the quality asked for, and timed through the server.
The rule in `decide` chooses. The source itself takes part. Levels larger than the source take part too: they cannot be
better, but they may be faster (on a processor without good kernels for the source's type, Q8_0 is). The KV cache is F16's where that fits;
the best is tried once more with a smaller one, which is taken where it is as fast and keeps the quality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import log
from pathlib import Path

from hakaru.errors import EngineRefused, MachineError, Misuse
from hakaru.evaluation.divergence import quality_of
from hakaru.evaluation.judgement import judge
from hakaru.evaluation.speed import REPEATS
from hakaru.evaluation.tasks import TaskSet, pair
from hakaru.evaluation.texts import Part
from hakaru.evaluation.windows import Window, windows_digest
from hakaru.language import say
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import F16_CACHE, ContextSettings
from hakaru.models.model import Model
from hakaru.places import one_at_a_time
from hakaru.planning.here import free_for_models, grown
from hakaru.quantization.build import Recipe, copies_all, is_mix, mix_recipe
from hakaru.quantization.presets import LADDER
from hakaru.tuning.bench import Bench
from hakaru.tuning.budget import Budgeter
from hakaru.tuning.caches import SMALL_CACHE, depth_for, is_slow, next_smaller, slowness, with_small_cache
from hakaru.tuning.decide import SOURCE, Candidate, Constraints, Key, beaten_by, choose, objection, why_chosen
from hakaru.tuning.decision import Decision
from hakaru.tuning.evidence import save_evidence
from hakaru.tuning.forecast import Forecast
from hakaru.tuning.rounds import ROUNDS, next_round
from hakaru.tuning.too_small import too_small
from hakaru.tuning.trust import errors, kind_of, learned_margin


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


def tune(
    bench: Bench,
    model: Model,
    settings: ContextSettings,
    constraints: Constraints,
    effort: Effort | None = None,
    *,
    mix: Mapping[str, str] | None = None,
) -> Decision:
    """Walk the loop for `model`. `mix`: the mix that takes part, types by tensor name; none where it is empty, and None has one sought.
    Raises DoesNotFit if not even the smallest level goes into the memory allowed.
    """
    with one_at_a_time(f"tune-{bench.ledger.model_sha256(model)[:12]}"):
        return _Walk(bench, model, settings, constraints, effort or Effort(), mix).decision()


class _Walk:
    """One walk: what is asked for, the recipes of the levels by name, and what was found of every candidate."""

    needs: Footprint
    """What the source takes with the KV cache that was asked for, by the engine's dry run."""

    def __init__(
        self,
        bench: Bench,
        model: Model,
        settings: ContextSettings,
        constraints: Constraints,
        effort: Effort,
        mix: Mapping[str, str] | None,
    ) -> None:
        self.bench, self.model, self.settings, self.constraints, self.effort = bench, model, settings, constraints, effort
        self.uses_gpu = False
        self.recipes = {r.preset: r for r in bench.plan(model, effort.presets)}
        self.found: dict[Key, Candidate] = {}
        self._asked_mix = mix

    @property
    def limit(self) -> int:
        """Bytes that may be used."""
        return self.constraints.memory_bytes or 0

    @cached_property
    def forecast(self) -> Forecast:
        """What levels will lose; what is asked of it takes seconds."""
        return Forecast(Budgeter(self.bench, self.model, "quick", glance=True))

    @cached_property
    def saved(self) -> int | None:
        """Bytes that SMALL_CACHE saves; None where another cache was asked for, or where not every key can be quantized."""
        if self.settings.cache != F16_CACHE:
            return None
        try:
            small = self.bench.check(self.model, self.settings.with_cache(SMALL_CACHE)).best
        except (EngineRefused, Misuse):  # the engine, or our arithmetic for the kernels of a card
            return None
        return self.needs.total_bytes - grown(small, self.model.shape, self.settings.with_cache(SMALL_CACHE)).total_bytes

    @cached_property
    def mix(self) -> Recipe | None:
        """The mix of types that takes part: the one that was asked for, or what is predicted to keep the tier in the fewest bytes."""
        if self._asked_mix is None:
            return self.forecast.mix(self.constraints.tier)
        return mix_recipe(self.model, self._asked_mix) if self._asked_mix else None

    def decision(self) -> Decision:
        """Check, build, test, time, decide; then save the evidence and remove the files of the losers."""
        source = (SOURCE, self.settings.cache)
        self.found = {c.key: c for c in self.checked()}
        windows = self.windows(("calibration", "validation"))
        own = self.bench.tested(self.model, self.model, windows, self.constraints.tier, cache=self.settings.cache)
        self.found[source] = replace(self.found[source], quality=own.quality, judgement=own.judgement)
        judged, best = self.decided(windows)
        while best:
            if small := self.smaller(judged, best):
                self.found[small.key] = small
            else:
                best = self.proven(best, source_fits=self.found[source].fits)
                if best.passes:
                    break
                self.disqualify(best)
            judged, best = self.decided(windows)
        judged = [self.identified(best if best and c.key == best.key else c) for c in judged]
        judged.sort(key=lambda c: (-c.weights_bytes, -c.total_bytes))
        why = why_chosen(best, judged) if best else say("no level meets every constraint")
        chosen = replace(self.identified(best), why=why, path=self.built(best).path) if best else None
        for recipe in self.recipes.values():
            if best is None or recipe.preset != best.type:
                self.remove(recipe)
        decision = Decision(
            machine=self.bench.machine,
            model=self.model,
            settings=self.settings,
            constraints=self.constraints,
            candidates=tuple(chosen if chosen and c.key == chosen.key else c for c in judged),
            chosen=chosen,
            why=why,
            uses_gpu=self.uses_gpu,
            tokens_full_sweep=sum(w.n_scored for w in windows)
            * sum(c.fits and c.key != source and not is_slow(c) and not self.is_source(c) for c in judged),
            conditions={
                **self.bench.conditions(),
                "model_sha256": self.bench.ledger.model_sha256(self.model),
                "windows": {"n": len(windows), "digest": windows_digest(windows)},
                "tasks": self.constraints.tasks.digest if self.constraints.tasks else None,
                "levels": list(self.effort.presets),
                "repeats": self.effort.repeats,
            },
        )
        return replace(decision, evidence=save_evidence(self.model.path.stem, decision.as_json()))

    def identified(self, candidate: Candidate) -> Candidate:
        """The candidate with what its file is known by, and a mix with its types."""
        recipe = self.recipes.get(candidate.type)
        sha256 = self.bench.known_build(self.model, recipe) if recipe else self.bench.ledger.model_sha256(self.model)
        return replace(candidate, sha256=sha256, types=recipe.types if recipe and is_mix(recipe.preset) else None)

    def checked(self) -> list[Candidate]:
        """The source and the levels with what they need: but for the weights, what the source's dry run says."""
        self.needs = grown(self.bench.check(self.model, self.settings).best, self.model.shape, self.settings)
        self.uses_gpu = bool(self.needs.accelerator_bytes)
        kind = kind_of(self.bench.machine, self.model.shape.architecture, self.needs)
        margin = learned_margin(errors(self.bench.ledger.memory_rows()), kind)
        spare = int(free_for_models(self.bench.machine, self.needs) * (1 - margin.fraction))
        self.constraints = replace(self.constraints, memory_bytes=min(self.constraints.memory_bytes or spare, spare))
        candidates = [self.candidate(SOURCE, self.model.weights_bytes, self.model.bpw)]
        candidates += [self.level(recipe) for recipe in self.recipes.values()]
        candidates = [replace(c, why=say("the source itself, bit for bit")) if self.is_source(c) else c for c in candidates]
        if not candidates[0].fits and self.saved is not None:
            candidates += [small for small in [with_small_cache(candidates[0], self.saved, self.limit)] if small.fits]
        if not any(c.fits for c in candidates):
            raise too_small(self.bench, self.model, self.settings, min(candidates, key=lambda c: c.total_bytes), self.limit)
        return candidates

    def is_source(self, candidate: Candidate) -> bool:
        """Whether a level has the types that the source has, so that all of it would be copied."""
        return copies_all(self.model, self.types(candidate.key))

    def level(self, recipe: Recipe) -> Candidate:
        """A level before it is tested, with the KV cache that was asked for, or where that does not fit, with a smaller one."""
        found = self.candidate(recipe.preset, recipe.weights_bytes, recipe.bpw)
        return found if found.fits or self.saved is None else with_small_cache(found, self.saved, self.limit)

    def candidate(self, type_: str, weights_bytes: int, bpw: float) -> Candidate:
        """The source or a level with the KV cache that was asked for."""
        total = self.needs.total_bytes - self.model.weights_bytes + weights_bytes
        fits = total <= self.limit
        return Candidate(type=type_, weights_bytes=weights_bytes, bpw=bpw, total_bytes=total, fits=fits, cache=self.settings.cache)

    def smaller(self, judged: Sequence[Candidate], best: Candidate) -> Candidate | None:
        """What is tried next with a smaller KV cache, timed; None where there is nothing to try."""
        if best.cache != F16_CACHE or self.saved is None:
            return None
        small = next_smaller(judged, best, self.saved, self.limit)
        if small is None:
            return None
        small, usual = self.clocked(small), self.found[small.type, F16_CACHE]
        return replace(small, why=self.slowed(small, usual) or "")

    def slowed(self, small: Candidate, usual: Candidate) -> str | None:
        """At what the smaller cache is slower, at an empty context or behind a longer one; None where it is not."""
        assert small.speed and usual.speed
        depth = depth_for(small.speed, usual.speed, self.settings.n_ctx // self.settings.n_parallel)
        if (why := slowness(small.speed, usual.speed)) or not depth:
            return why
        ours = self.bench.deep(self.built(small), self.settings.with_cache(small.cache), small.speed, depth)
        theirs = self.bench.deep(self.built(usual), self.settings, usual.speed, depth)
        return slowness(small.speed, usual.speed, (ours, theirs)) if ours and theirs else None

    def windows(self, parts: Sequence[Part]) -> list[Window]:
        """Windows of these parts of the texts."""
        return self.bench.windows(self.model, parts=parts, n_documents=self.effort.n_documents, n_prompts=self.effort.n_prompts)

    def decided(self, windows: Sequence[Window]) -> tuple[list[Candidate], Candidate | None]:
        """Every candidate tested and timed as far as it matters, with the reasons, and the best."""
        self.test(windows)
        self.found.update({c.key: self.timed(c) for c in self.found.values()})
        judged = [_judged(c, self.constraints) for c in self.found.values()]
        return judged, choose(judged)

    def test(self, windows: Sequence[Window]) -> None:
        """Give the candidates their quality, read in rounds: after each, those that are known to pass or to fail are settled, the
        rest is timed, and who cannot win any more is read no further.
        """
        open_ = [c for c in self.found.values() if c.fits and c.verdict in (None, "inconclusive") and not c.beaten_by and not c.why]
        racing = [c.key for c in open_ if c.key != (SOURCE, self.settings.cache)]
        if ROUNDS[0] < len(windows):
            racing = self.promising(racing, windows) or self.joining(len(windows))
        while racing:
            open_ = [self.found[key] for key in racing]
            turn, n = (open_, len(windows)) if self.effort.sweep else next_round(open_, len(windows))
            alike = [[c for c in turn if c.cache == cache] for cache in dict.fromkeys(c.cache for c in turn)]
            groups = [group for some in alike for group in self.bench.groups(self.model, some)]
            unsettled = [key for group in groups for key in self.raced([c.key for c in group], windows, n)]
            waiting = [key for key in racing if key not in {c.key for c in turn}]
            unsettled = [key for key in unsettled if self.found[key].n_read < len(windows)]
            racing = self.still_in([*waiting, *unsettled, *self.joining(len(windows))])

    def promising(self, racing: Sequence[Key], windows: Sequence[Window]) -> list[Key]:
        """Without the levels that are predicted to break the tier, once the level that is predicted nearest to its bound was read."""
        bound = self.constraints.tier.kld_mean
        told = [(abs(log(kld.value / bound)), key) for key in racing if (kld := self.forecast.kld(self.types(key)))]
        if told and not self.found[min(told)[1]].quality:
            self.raced([min(told)[1]], windows, ROUNDS[0])
        untimed = [c for c in self.found.values() if c.speed is None]  # not those that are tried again with another cache
        self.found.update({c.key: replace(c, predicted=self.forecast.kld(self.types(c.key))) for c in untimed})
        kept = []
        for key in racing:
            found, predicted = self.found[key], self.found[key].predicted
            if predicted and found.is_hopeless(self.constraints.tier) and not self.effort.sweep:
                why = say("predicted to lose {kld:.4f} [{low:.4f}…{high:.4f}] nats per token, more than the tier {tier} allows", kld=predicted.value,
                          low=predicted.lowest, high=predicted.highest, tier=self.constraints.tier.name)  # fmt: skip
                self.found[key] = replace(found, why=why)
            elif self.effort.sweep or found.verdict in (None, "inconclusive"):
                kept.append(key)
        return kept

    def joining(self, n_windows: int) -> list[Key]:
        """The mix, once levels were read that tell where it should lie."""
        if n_windows <= ROUNDS[0] or self.mix is None or self.mix.preset in self.recipes:
            return []
        self.recipes[self.mix.preset] = self.mix
        joined = replace(self.level(self.mix), predicted=self.forecast.kld(self.mix.types))
        self.found[joined.key] = joined
        return [joined.key] if joined.fits and not self.is_source(joined) else []

    def types(self, key: Key) -> Mapping[str, str]:
        """The types of a level's tensors; empty for the source."""
        return self.recipes[key[0]].types if key[0] in self.recipes else {}

    def still_in(self, open_: Sequence[Key]) -> list[Key]:
        """Those of the open candidates that may still win against what is known to pass."""
        if not open_ or self.effort.sweep:
            return list(open_)
        timed = {*open_, *(c.key for c in self.found.values() if c.verdict == "pass" and c.fits)}
        self.found.update({key: self.clocked(self.found[key]) for key in timed})
        others = [c for c in self.found.values() if not c.why and (c.verdict != "pass" or objection(c, self.constraints) is None)]
        kept = []
        for key in open_:
            if winner := beaten_by(self.found[key], others):
                self.found[key] = replace(self.found[key], beaten_by=winner.type)
                self.forget(key)
            else:
                kept.append(key)
        return kept

    def raced(self, group: Sequence[Key], windows: Sequence[Window], n: int) -> list[Key]:
        """Test a group, all with the same KV cache, on the first `n` windows, note what was found, and return those that are not
        settled. A failed one's file goes at once.
        """
        cache, recipes = group[0][1], [self.recipes.get(type_) for type_, _ in group]
        try:
            rows = self.bench.race(self.model, recipes, windows, n, cache=cache)
        except MachineError as error:  # the disk is too small for this group; the others may still do
            self.found.update({key: replace(self.found[key], why=str(error)) for key in group})
            return []
        open_, domains = [], [w.domain for w in windows]
        for key, each in zip(group, rows, strict=True):
            judgement = judge(each, domains, self.constraints.tier)
            if len(windows) > ROUNDS[0] and cache == F16_CACHE:
                self.forecast.learn(key[0], self.types(key), each)
            self.found[key] = replace(self.found[key], quality=quality_of(each, domains), judgement=judgement)
            if judgement.verdict == "fail":
                self.forget(key)
            elif judgement.verdict == "inconclusive":
                open_.append(key)
        return open_

    def timed(self, candidate: Candidate) -> Candidate:
        """The candidate with its speed, if it fits and kept its quality."""
        return candidate if candidate.quality is None or objection(candidate, self.constraints) else self.clocked(candidate)

    def clocked(self, candidate: Candidate) -> Candidate:
        """The candidate with its speed."""
        if candidate.speed:
            return candidate
        recipe, repeats = self.recipes.get(candidate.type), self.effort.repeats
        settings = self.settings.with_cache(candidate.cache)
        sha256 = self.bench.known_build(self.model, recipe) if recipe else self.bench.ledger.model_sha256(self.model)
        trial = self.bench.known_trial(sha256, settings, repeats=repeats) if sha256 else None
        if trial is None:
            trial = self.bench.trial(self.built(candidate), settings, name=candidate.name, repeats=repeats)
        return replace(candidate, speed=trial.speed)

    def proven(self, best: Candidate, *, source_fits: bool) -> Candidate:
        """The best candidate, tested once on texts that played no part in choosing it; then at its tasks, where the source can be served
        to answer them, too. The source itself loses nothing.
        """
        if best.key == (SOURCE, F16_CACHE):
            return best
        name = say("{type} on untouched texts", type=best.type)
        windows, tier = self.windows(("test",)), self.constraints.tier
        tested = self.bench.tested(self.built(best), self.model, windows, tier, cache=best.cache, name=name)
        if tested.judgement.verdict != "fail":
            passed = replace(best, untouched=tested.quality)
            return self.examined(passed, self.constraints.tasks) if self.constraints.tasks and source_fits else passed
        why = say("breaks the tier on untouched texts")
        return replace(best, untouched=tested.quality, judgement=tested.judgement, passes=False, why=why)

    def examined(self, best: Candidate, tasks: TaskSet) -> Candidate:
        """The best candidate after its tasks; it does not pass if it is proven worse at them than the source."""
        theirs = self.bench.answers(self.model, tasks.items, self.settings, name=say("source"))
        ours = self.bench.answers(self.built(best), tasks.items, self.settings.with_cache(best.cache), name=best.type)
        found = pair(theirs, ours)
        if found.verdict != "worse":
            return replace(best, tasks=found)
        why = say(
            "worse than the source at the tasks: {lost} lost and {won} won (p = {p:.2g})", lost=found.lost, won=found.won, p=found.p
        )
        return replace(best, tasks=found, passes=False, why=why)

    def disqualify(self, failed: Candidate) -> None:
        """Take a candidate out; whom it had beaten may still win."""
        self.found.update({c.key: replace(c, beaten_by=None) for c in self.found.values() if c.beaten_by == failed.type})
        self.found[failed.key] = failed

    def built(self, candidate: Candidate) -> Model:
        """The candidate's model: the source where it lies, or the level, built again if its file is gone."""
        recipe = self.recipes.get(candidate.type)
        return self.bench.built(self.model, recipe) if recipe else self.model

    def forget(self, key: Key) -> None:
        """Remove a loser's file, unless the same weights are still in the race with another cache."""
        alive = [c for c in self.found.values() if c.type == key[0] and c.key != key and c.verdict != "fail" and not c.beaten_by]
        if not alive and key[0] in self.recipes:
            self.remove(self.recipes[key[0]])

    def remove(self, recipe: Recipe) -> None:
        """Remove a level's file, unless somebody uses it: its figures are in the ledger, and the disk is the person's."""
        path = self.bench.build_path(self.model, recipe)
        if path not in self.effort.keep:
            path.unlink(missing_ok=True)


def _judged(candidate: Candidate, constraints: Constraints) -> Candidate:
    if candidate.untouched or (candidate.why and candidate.quality is None):
        return candidate
    reason = objection(candidate, constraints)
    passes = reason is None and candidate.speed is not None
    return replace(candidate, passes=passes, why=reason or say("meets every constraint"))
