"""The check before anything is loaded: memory by arithmetic and by the engine's dry run, side by side, both remembered."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from hakaru.engine.lab import lab_build
from hakaru.hardware.machine import Machine
from hakaru.memory.footprint import ContextSettings, Footprint, compute_footprint
from hakaru.models.model import Model
from hakaru.tuning.ledger import Ledger

HASHED_AT_ONCE: Final = 2**32
"""Files up to this size are hashed for a mere check; hashing 40 GB would take longer than the answer may."""


class DryRunner(Protocol):
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


def check_memory(model: Model, settings: ContextSettings, *, machine: Machine, ledger: Ledger, engine: DryRunner) -> Check:
    """Compute and dry-run the memory of `model`. Raises EngineRefused if llama.cpp does not know the model."""
    computed = compute_footprint(model.shape, model.tensors, settings)
    dry_run = engine.dry_run(model.path, settings)
    sha256 = ledger.sha256(model.path) if model.file_bytes < HASHED_AT_ONCE else f"unhashed, {model.file_bytes} bytes"
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
