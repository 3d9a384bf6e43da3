"""A decision: the candidates, the choice, and everything that its evidence tells."""

from pathlib import Path
from typing import Final

from msgspec import Struct, field

from hakaru.choosing.candidate import Candidate, Constraints
from hakaru.choosing.speculated import Speculated
from hakaru.engine.mode import Mode
from hakaru.hardware.machine import Machine
from hakaru.memory.context import Context
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model

SCHEMA: Final = "hakaru.decision/1"


class Decision(Struct, frozen=True, kw_only=True):
    """Which candidates were tried, which was chosen and why, and where the evidence lies."""

    machine: Machine
    model: Model  # the source
    settings: ContextSettings  # with the KV cache that the person asked for
    constraints: Constraints
    candidates: tuple[Candidate, ...]  # the largest first
    chosen: Candidate | None  # None where no candidate meets every constraint
    why: str  # what made the chosen candidate win
    uses_gpu: bool
    tokens_full_sweep: int  # tokens, if every level had been read on every window
    conditions: dict[str, object]  # what the decision depends on besides the fields above
    evidence: Path | None = None  # the file in which this decision is saved
    mode: Mode = field(default_factory=Mode)  # how the server of the chosen candidate is run
    speculated: Speculated | None = None  # what guessing ahead gains; None: not measured

    @property
    def path(self) -> Path | None:
        """The file of the chosen candidate; None where nothing was chosen."""
        return self.chosen.path if self.chosen else None

    @property
    def served(self) -> ContextSettings:
        """The settings with the KV cache of the chosen candidate."""
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
        """Tokens on which levels were compared with the source until the choice was made."""
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
            "speculative": self.speculated.as_json() if self.speculated else None,
            "evidence": str(self.evidence) if self.evidence else None,
        }  # fmt: skip
