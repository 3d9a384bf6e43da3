"""The check before anything is loaded: memory by arithmetic and by the engine's dry run, side by side, both remembered."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Protocol

from hakaru.engine.lab import lab_build
from hakaru.hardware.machine import Machine
from hakaru.memory.footprint import ContextSettings, Footprint, compute_footprint, overhead_bytes
from hakaru.models.model import Model
from hakaru.planning.placement import Alternative, SmallerType, alternatives
from hakaru.quantization.build import Quantizer, plan_presets
from hakaru.tuning.ledger import Ledger

HASHED_AT_ONCE: Final = 2**32
"""Files up to this size are hashed for a mere check; hashing 40 GB would take longer than the answer may."""


SMALLER_PRESETS: Final = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M")


class Engine(Quantizer, Protocol):
    """What a check needs of the engine."""

    def dry_run(self, path: Path, settings: ContextSettings) -> Footprint: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A model's memory, computed and dry-run, side by side. `computed` is None for an architecture that we do not model."""

    computed: Footprint | None
    dry_run: Footprint

    @property
    def best(self) -> Footprint:
        """The one to trust: the engine's own."""
        return self.dry_run


def check_memory(model: Model, settings: ContextSettings, *, machine: Machine, ledger: Ledger | None, engine: Engine) -> Check:
    """Compute and dry-run the memory of `model`. Without a ledger nothing is remembered.

    Raises ModelUnknown or ModelDamaged if llama.cpp cannot load the model.
    """
    computed = compute_footprint(model.shape, model.tensors, settings)
    dry_run = _with_process(engine.dry_run(model.path, settings), model, settings)
    if ledger is None:
        return Check(computed=computed, dry_run=dry_run)
    hashed = model.complete and len(model.parts) == 1 and model.file_bytes < HASHED_AT_ONCE
    sha256 = ledger.sha256(model.path) if hashed else f"unhashed, {model.file_bytes} bytes"
    for footprint in (computed, dry_run):
        if footprint:
            ledger.remember_memory(
                footprint,
                machine=machine.fingerprint,
                model_sha256=sha256,
                settings=settings,
                architecture=model.shape.architecture,
                engine=lab_build(),
            )
    return Check(computed=computed, dry_run=dry_run)


def _with_process(dry_run: Footprint, model: Model, settings: ContextSettings) -> Footprint:
    """The dry run knows the engine's buffers; the process around them is added by our assumption."""
    return replace(dry_run, overhead_bytes=overhead_bytes(model.shape, settings))


def ways_out(model: Model, check: Check, free_bytes: int, settings: ContextSettings, *, engine: Engine) -> list[Alternative]:
    """What would make `model` fit, each with the bytes that it frees: by our arithmetic, or by dry runs where we have
    none.
    """

    def footprint_at(other: ContextSettings) -> Footprint:
        computed = compute_footprint(model.shape, model.tensors, other)
        return computed or _with_process(engine.dry_run(model.path, other), model, other)

    needed = check.computed or check.dry_run
    recipes = plan_presets(engine, model, SMALLER_PRESETS)
    smaller = [r for r in recipes if r.weights_bytes < model.weights_bytes]
    excess = needed.total_bytes - free_bytes
    enough = [r for r in smaller if model.weights_bytes - r.weights_bytes >= excess]
    best = max(enough, key=lambda r: r.weights_bytes, default=min(smaller, key=lambda r: r.weights_bytes, default=None))
    saved = SmallerType(preset=best.preset, frees_bytes=model.weights_bytes - best.weights_bytes) if best else None
    return alternatives(needed, free_bytes, settings, footprint_at=footprint_at, smaller=saved)
