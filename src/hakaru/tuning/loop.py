"""The loop: the article's steps as one walk, with figures instead of rules of thumb.

Check what each level needs. Start at the level that the article names (4 bits) and test it. While a level keeps its quality, go down to
fewer bits; when one does not, the next above it is the last to be tested. The source itself always takes part. Then every level
that kept its quality is timed through the server, and the rule in `decide` chooses. All of it is saved as evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from hakaru.errors import DoesNotFit
from hakaru.evaluation.windows import Window, windows_digest
from hakaru.hardware.machine import Machine
from hakaru.language import say
from hakaru.memory.footprint import ContextSettings, Footprint
from hakaru.models.model import Model, read_model
from hakaru.planning.placement import judge
from hakaru.quantization.build import Recipe
from hakaru.quantization.presets import LADDER
from hakaru.tuning.bench import Bench
from hakaru.tuning.decide import Candidate, Constraints, choose, objection, why_chosen
from hakaru.tuning.evidence import save_evidence
from hakaru.tuning.ledger import settings_json
from hakaru.units import format_bytes

FIRST_LEVEL: Final = "Q4_K_M"
SOURCE: Final = "source"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was tried, what was taken and why, and where the evidence lies."""

    machine: Machine
    model: Model
    settings: ContextSettings
    constraints: Constraints
    candidates: tuple[Candidate, ...]
    chosen: Candidate | None
    why: str
    conditions: dict[str, object]
    evidence: Path | None = None

    def as_json(self) -> dict[str, object]:
        """The object of `hakaru up --json`."""
        return {
            "schema": "hakaru.decision/1",
            "machine": self.machine.as_json(),
            "model": {"name": self.model.name, "path": str(self.model.path), "architecture": self.model.shape.architecture,
                      "n_params": self.model.n_params, "type": self.model.type_name, "bpw": self.model.bpw},
            "settings": settings_json(self.settings),
            "constraints": self.constraints.as_json(),
            "candidates": [c.as_json() for c in self.candidates],
            "chosen": self.chosen.as_json() if self.chosen else None,
            "why": self.why,
            "conditions": self.conditions,
            "evidence": str(self.evidence) if self.evidence else None,
        }  # fmt: skip


def tune(
    bench: Bench,
    model: Model,
    settings: ContextSettings,
    constraints: Constraints,
    *,
    n_documents: int | None = None,
    n_prompts: int | None = None,
    repeats: int | None = None,
    presets: Sequence[str] = LADDER,
) -> Decision:
    """Walk the loop for `model`. Raises DoesNotFit if not even the smallest level goes into the memory allowed."""
    checked = bench.check(model, settings).best
    source = _source_candidate(model, checked, constraints)
    levels = [_level(recipe, model, checked, constraints) for recipe in bench.plan(model, presets)]
    if not any(c.fits for c, _ in levels) and not source.fits:
        smallest = min([source, *(c for c, _ in levels)], key=lambda c: c.total_bytes)
        raise DoesNotFit(
            "{path}: even {type} needs {needed} at a context of {n_ctx}, but {free} may be used; lower --context, use "
            "--cache-type-k q8_0 --cache-type-v q8_0, or choose a smaller model.",
            path=model.path, type=smallest.type, needed=format_bytes(smallest.total_bytes), n_ctx=settings.n_ctx,
            free=format_bytes(constraints.memory_bytes),
        )  # fmt: skip
    windows = bench.windows(model, n_documents=n_documents, n_prompts=n_prompts)
    tried = [replace(source, quality=bench.quality(model, model, windows)), *_walk(bench, model, windows, levels, constraints)]
    timed = [_timed(bench, c, settings, constraints, repeats) for c in tried]
    judged = [_judged(c, constraints) for c in timed]
    chosen = choose(judged)
    why = why_chosen(chosen, judged) if chosen else say("no level meets every constraint")
    judged = [replace(c, why=why) if chosen and c.type == chosen.type else c for c in judged]
    judged.sort(key=lambda c: -c.weights_bytes)
    decision = Decision(
        machine=bench.machine,
        model=model,
        settings=settings,
        constraints=constraints,
        candidates=tuple(judged),
        chosen=next((c for c in judged if chosen and c.type == chosen.type), None),
        why=why,
        conditions={
            **bench.conditions(),
            "model_sha256": bench.ledger.sha256(model.path),
            "windows": {"n": len(windows), "digest": windows_digest(windows)},
        },
    )
    return replace(decision, evidence=save_evidence(model.path.stem, decision.as_json()))


def _source_candidate(model: Model, checked: Footprint, constraints: Constraints) -> Candidate:
    return Candidate(
        type=SOURCE,
        path=model.path,
        weights_bytes=model.weights_bytes,
        bpw=model.bpw,
        total_bytes=checked.total_bytes,
        fits=judge(checked.total_bytes, constraints.memory_bytes) == "fits",
    )


def _level(recipe: Recipe, model: Model, checked: Footprint, constraints: Constraints) -> tuple[Candidate, Recipe]:
    total = checked.total_bytes - model.weights_bytes + recipe.weights_bytes
    return Candidate(
        type=recipe.preset,
        path=None,
        weights_bytes=recipe.weights_bytes,
        bpw=recipe.bpw,
        total_bytes=total,
        fits=judge(total, constraints.memory_bytes) == "fits",
    ), recipe


def _walk(
    bench: Bench, model: Model, windows: Sequence[Window], levels: Sequence[tuple[Candidate, Recipe]], constraints: Constraints
) -> list[Candidate]:
    """The levels with their quality, as far as they had to be tested; the others with the reason why not."""
    found: dict[str, Candidate] = {}
    useful: list[tuple[Candidate, Recipe]] = []
    for candidate, recipe in sorted(levels, key=lambda level: -level[0].weights_bytes):
        if candidate.weights_bytes >= model.weights_bytes:
            found[candidate.type] = replace(candidate, why=say("not smaller than the source, and cannot be better"))
        elif not candidate.fits:
            found[candidate.type] = replace(candidate, why=objection(candidate, constraints) or "")
        else:
            useful.append((candidate, recipe))

    def keeps_quality(index: int) -> bool:
        candidate, recipe = useful[index]
        built = bench.built(model, recipe)
        quality = bench.quality(built, model, windows, name=candidate.type)
        found[candidate.type] = replace(candidate, path=built.path, quality=quality)
        return quality.verdict(constraints.tier) == "pass"

    index = _start(useful)
    if useful and keeps_quality(index):
        while index + 1 < len(useful) and keeps_quality(index + 1):
            index += 1
    else:
        while index > 0 and not keeps_quality(index - 1):
            index -= 1
    for candidate, _ in useful:
        found.setdefault(
            candidate.type, replace(candidate, why=say("not tested: a level with fewer bits decides, or one with more failed"))
        )
    return list(found.values())


def _start(useful: Sequence[tuple[Candidate, Recipe]]) -> int:
    """Where to begin: at four bits, or at the largest level below."""
    below = LADDER[LADDER.index(FIRST_LEVEL) :]
    return next((i for i, (candidate, _) in enumerate(useful) if candidate.type in below), max(0, len(useful) - 1))


def _timed(
    bench: Bench, candidate: Candidate, settings: ContextSettings, constraints: Constraints, repeats: int | None
) -> Candidate:
    """The candidate with its speed, if its quality is worth it."""
    if candidate.path is None or candidate.quality is None or objection(candidate, constraints):
        return candidate
    trial = bench.trial(read_model(candidate.path), settings, name=candidate.type, repeats=repeats)
    return replace(candidate, speed=trial.speed)


def _judged(candidate: Candidate, constraints: Constraints) -> Candidate:
    if candidate.why or candidate.quality is None:
        return candidate
    reason = objection(candidate, constraints)
    passes = reason is None and candidate.speed is not None
    return replace(candidate, passes=passes, why=reason or say("meets every constraint"))
