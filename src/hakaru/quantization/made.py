"""What `hakaru quantize` makes for a budget: a plan, the race's winner on disk, its loss read back
from the file.
"""

from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, Final, Literal

from msgspec import Struct, field

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
"""A tensor is called sensitive if a unit of its error costs over FAR times the median tensor's,
robust if under the FAR-th part.
"""


class TensorRow(Struct, frozen=True, kw_only=True):
    """One tensor of the file, and why it has its type."""

    name: str
    type: str
    n_bytes: int
    bpw: float
    damage: float | None  # the tensor's part of the predicted S; None if its type is not chosen
    sensitivity: float | None  # KLD per unit of the tensor's error, over that of the median tensor
    blocks: int  # 256 weights, or 32 where 256 do not divide the rows
    why: Why

    def as_json(self) -> dict[str, Any]:
        """The entry of `tensors` in `--json`."""
        return {
            "name": self.name, "type": self.type, "bytes": self.n_bytes, "bpw": self.bpw,
            "predicted_damage": self.damage, "sensitivity_to_median": self.sensitivity,
            "why": self.why,
        }  # fmt: skip


class Made(Struct, frozen=True, kw_only=True, dict=True):
    """The file, how it came about and what it loses."""

    source: Model
    path: Path
    plan: Plan
    types: Mapping[str, str]  # of the tensors that could have another type
    preset: str | None  # the preset that won the race; None for a mix
    file_bytes: int
    predicted: Figure  # mean KLD, nats per token
    race: Race | None = None  # None if nothing was written
    measured: Figure | None = None  # mean KLD of the file, nats per token; None if not written
    tested: Tested | None = None  # None where no tier was asked for
    speed: Figure | None = None
    """Decoded tokens per second; None where no speed was asked for, or nothing was ever timed."""
    others: Others = field(default_factory=Others)
    """What other programs kept busy while speeds were measured."""

    @cached_property
    def tensors(self) -> list[TensorRow]:
        """Every tensor, in the order of the file."""
        costs = self.plan.link.sensitivities.expected()
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
        race, target, judgement = self.race, self.plan.target, self.tested and self.tested.judgement
        rival, rooms = race and race.rival, target.room.device_bytes if target.room else {}
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
            "budget_bpw": float(Fraction(target.bpw)) if target.bpw else None,
            "devices": [
                {"name": d, "weights_bytes": self.device_bytes[d], "room_bytes": n}
                for d, n in rooms.items()
            ],
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
            "measured_kld": _json(self.measured),
            "decode_tokens_per_s": _json(self.speed),
            "contended": self.others.matter,
            "tier": target.tier.name if target.tier else None,
            "verdict": judgement.verdict if judgement else None,
            "broken": judgement.broken if judgement else None,
            "best_preset": {
                "type": rival.recipe.preset,
                "bytes": rival.file_bytes,
                "kld": rival.kld.as_json(),
            }
            if rival
            else None,
            "ratio_to_preset": _json(race.ratio) if race else None,
            "without_copies": {
                "kld": race.without_copies.as_json(),
                "ratio_to_preset": _json(race.without_copies_ratio),
            }
            if race and race.without_copies
            else None,
            "tensors": [t.as_json() for t in self.tensors],
        }


def _json(figure: Figure | None) -> dict[str, object] | None:
    return figure.as_json() if figure else None
