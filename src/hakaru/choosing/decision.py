"""A decision: the candidates, the choice, and everything that evidence needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hakaru.choosing.candidate import Candidate, Constraints
from hakaru.hardware.machine import Machine
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model

SCHEMA: Final = "hakaru.decision/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was tried, what was taken and why, and where the evidence lies."""

    machine: Machine
    model: Model  # the source
    settings: ContextSettings  # with the KV cache that was asked for
    constraints: Constraints
    candidates: tuple[Candidate, ...]  # the largest first
    chosen: Candidate | None  # None where none meets every constraint
    why: str  # what made the chosen one win
    uses_gpu: bool
    tokens_full_sweep: int  # that reading every level on every window would have taken
    conditions: dict[str, object]  # what the decision depends on besides the above
    evidence: Path | None = None  # the file in which it is saved

    @property
    def served(self) -> ContextSettings:
        """The settings with the KV cache of the chosen one."""
        return self.settings.with_cache(self.chosen.cache) if self.chosen else self.settings

    @property
    def tokens_evaluated(self) -> int:
        """Tokens on which levels were compared with the source before one was taken."""
        return sum(c.quality.n_tokens for c in self.candidates if c.quality)

    def as_json(self) -> dict[str, object]:
        """The object of `hakaru up --json`."""
        return {
            "schema": SCHEMA,
            "machine": self.machine.as_json(),
            "model": {"name": self.model.name, "path": str(self.model.path),
                "architecture": self.model.shape.architecture,
                      "n_params": self.model.n_params, "type": self.model.type_name,
                      "bpw": self.model.bpw},
            "settings": self.settings.as_json(),
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
