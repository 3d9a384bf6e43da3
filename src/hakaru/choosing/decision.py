"""A decision: the candidates, the choice, and everything that evidence needs."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from hakaru.choosing.candidate import Candidate, Constraints
from hakaru.engine.mode import Mode
from hakaru.hardware.machine import Machine
from hakaru.memory.context import Context
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
    mode: Mode = field(default_factory=Mode)  # how the server of the chosen one is run

    @property
    def path(self) -> Path | None:
        """The file of the chosen one; None where nothing was chosen."""
        return self.chosen.path if self.chosen else None

    @property
    def served(self) -> ContextSettings:
        """The settings with the KV cache of the chosen one."""
        return self.settings.with_cache(self.chosen.cache) if self.chosen else self.settings

    @property
    def context(self) -> Context:
        """`served` as verbs take it: `serve(decision.path, **decision.context)`."""
        served = self.served
        return Context(
            n_ctx=served.n_ctx, n_ubatch=served.n_ubatch, type_k=served.type_k,
            type_v=served.type_v, n_parallel=served.n_parallel,
        )  # fmt: skip

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
