"""What `hakaru quantize` makes for a budget: a plan, the race's winner on disk, its loss read back
from the file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

from hakaru.evaluation.losses import Tested
from hakaru.formats.gguf import Tensor
from hakaru.formats.quant_types import BY_NAME
from hakaru.hardware.busy import Others
from hakaru.models.model import Model, with_types
from hakaru.quantization.plan import Plan
from hakaru.quantization.race import Race
from hakaru.quantization.source import source_kind
from hakaru.units import Figure

Why = Literal["kept", "copied", "pinned", "preset", "sensitive", "robust", "usual"]
FAR: Final = 3.0
"""A tensor is called sensitive or robust where one unit of error costs so many times the median, or
the part of it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRow:
    """One tensor of the file, and why it has its type."""

    name: str
    type: str
    n_bytes: int
    bpw: float
    damage: float | None  # its part of the predicted S; None where it has no other type
    sensitivity: float | None  # the KLD that one unit of its error costs, over the usual tensor's
    blocks: int  # 256, or 32 where the rows allow only types of such blocks
    why: Why

    def as_json(self) -> dict[str, Any]:
        """The entry of `tensors` in `--json`."""
        return {
            "name": self.name, "type": self.type, "bytes": self.n_bytes, "bpw": self.bpw,
            "predicted_damage": self.damage, "sensitivity_to_median": self.sensitivity,
            "why": self.why,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Made:
    """The file, how it came about and what it loses."""

    source: Model
    path: Path
    plan: Plan
    types: Mapping[str, str]  # of the tensors that could have another one
    preset: str | None  # the preset that won the race; None for a mix
    file_bytes: int
    predicted: Figure  # the loss
    race: Race | None = None  # None where only a plan was asked for
    measured: Figure | None = None  # the loss; None where only a plan was asked for
    tested: Tested | None = None  # None where no tier was asked for
    speed: Figure | None = None
    """Decoded tokens per second; None where no speed was asked for, or nothing is known."""
    others: Others = field(default_factory=Others)
    """What others kept busy while speeds were taken."""

    @cached_property
    def tensors(self) -> list[TensorRow]:
        """Every tensor, in the order of the file."""
        costs = self.plan.link.known.expected()
        usual = median(costs.values()) if costs else 1.0
        return [self._row(t, costs.get(t.name), usual) for t in self.source.tensors]

    @cached_property
    def device_bytes(self) -> dict[str, int]:
        """What the weights take on each device; empty where no machine was asked for."""
        room = self.plan.target.room
        return room.used_bytes(with_types(self.source, self.types)) if room else {}

    @cached_property
    def copied(self) -> list[TensorRow]:
        """The tensors that could have another type, and keep their own: copied as they are, they
        lose nothing more.
        """
        own = {t.name: t.type.name for t in self.source.tensors}
        return [row for row in self.tensors if row.name in self.types and row.type == own[row.name]]

    @property
    def file_bpw(self) -> float:
        """Bits of the file per weight, its header included: what a budget in bits counts."""
        return 8 * self.file_bytes / self.source.n_params

    @property
    def n_matrices(self) -> int:
        """How many tensors could have another type."""
        return len(self.types)

    @property
    def keeps_tier(self) -> bool:
        """False where the file is proven to break the tier that was asked for."""
        return self.tested is None or self.tested.judgement.verdict != "fail"

    def _row(self, tensor: Tensor, cost: float | None, usual: float) -> TensorRow:
        type_ = self.types.get(tensor.name, tensor.type.name)
        n_bytes = tensor.bytes_as(BY_NAME[type_])
        chosen = cost if tensor.name in self.types else None
        return TensorRow(
            name=tensor.name, type=type_, n_bytes=n_bytes, bpw=8 * n_bytes / tensor.n_elements,
            damage=None if chosen is None else chosen * self.plan.errors[tensor.name][type_],
            sensitivity=None if cost is None else cost / usual,
            blocks=256 if tensor.shape[0] % 256 == 0 else 32,
            why="kept" if chosen is None else self._why(tensor.name, chosen / usual,
                is_copied=type_ == tensor.type.name),
        )  # fmt: skip

    def _why(self, name: str, to_median: float, *, is_copied: bool) -> Why:
        if name in self.plan.pins:
            return "pinned"
        if is_copied:
            return "copied"
        if self.preset:
            return "preset"
        return "sensitive" if to_median > FAR else "robust" if to_median < 1 / FAR else "usual"

    def as_json(self) -> dict[str, Any]:
        """The object of `hakaru quantize --json` for a budget."""
        rival, room = self.race.rival if self.race else None, self.plan.target.room
        return {
            "schema": "hakaru.recipe/1",
            "path": str(self.path),
            "written": self.measured is not None,
            "loads": True if self.measured else None,
            "type": self.preset or "mix",
            "bytes": self.file_bytes,
            "bpw": 8 * sum(t.n_bytes for t in self.tensors) / self.source.n_params,
            "budget_bytes": self.plan.budget_bytes,
            "file_bpw": self.file_bpw,
            "budget_bpw": float(Fraction(self.plan.target.bpw)) if self.plan.target.bpw else None,
            "devices": [
                {"name": d, "weights_bytes": self.device_bytes[d], "room_bytes": n}
                for d, n in room.device_bytes.items()
            ]
            if room
            else [],
            "source": {
                "path": str(self.source.path),
                "bytes": self.source.file_bytes,
                "bpw": self.source.bpw,
                "kind": source_kind(self.source).kind,
            },
            "copied": {
                "tensors": len(self.copied),
                "of": self.n_matrices,
                "bytes": sum(row.n_bytes for row in self.copied),
            },
            "hidden_grids": list(self.plan.hidden),
            "basis": "measured" if self.plan.is_measured else "prior",
            "predicted_kld": self.predicted.as_json(),
            "measured_kld": self.measured.as_json() if self.measured else None,
            "decode_tokens_per_s": self.speed.as_json() if self.speed else None,
            "contended": self.others.matter,
            "tier": self.plan.target.tier.name if self.plan.target.tier else None,
            "verdict": self.tested.judgement.verdict if self.tested else None,
            "broken": self.tested.judgement.broken if self.tested else None,
            "best_preset": {
                "type": rival.recipe.preset,
                "bytes": rival.recipe.file_bytes,
                "kld": rival.kld.as_json(),
            }
            if rival
            else None,
            "ratio_to_preset": self.race.ratio.as_json() if self.race and self.race.ratio else None,
            "without_copies": {
                "kld": self.race.bare.as_json(),
                "ratio_to_preset": self.race.bare_ratio.as_json() if self.race.bare_ratio else None,
            }
            if self.race and self.race.bare
            else None,
            "tensors": [t.as_json() for t in self.tensors],
        }
