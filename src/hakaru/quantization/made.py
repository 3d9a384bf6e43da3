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

from hakaru.errors import Interrupted
from hakaru.evaluation.divergence import measure_quality
from hakaru.evaluation.losses import Tested, tested, windows_of
from hakaru.evaluation.tiers import Quality
from hakaru.formats.gguf import Tensor
from hakaru.formats.quant_types import BY_NAME
from hakaru.hardware.busy import Others
from hakaru.language import say
from hakaru.models.model import Model, with_types
from hakaru.models.presets import FTYPES, NEEDS_IMPORTANCE
from hakaru.quantization.journal import Journal
from hakaru.quantization.plan import Plan
from hakaru.quantization.race import Race, race
from hakaru.quantization.source import source_kind
from hakaru.quantization.study.recipe_file import written as written_file
from hakaru.quantization.study.recipe_speed import recipe_speed
from hakaru.quantization.study.study import Study
from hakaru.units import Figure

Why = Literal["kept", "copied", "pinned", "preset", "sensitive", "robust", "usual"]
FAR: Final = 3.0
"""A tensor is called sensitive or robust where one unit of error costs so many times the median, or
the part of it.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRow:
    """One tensor of the file: the damage it is predicted to do (its part of S), the KLD that one
    unit of its error costs over the median of all tensors, and why it has its type. Where `blocks`
    is not 256, its rows allow types of that block only.
    """

    name: str
    type: str
    n_bytes: int
    bpw: float
    damage: float | None
    sensitivity: float | None
    blocks: int
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
    """The file, how it came about and what it loses; `race` and `measured` are None where only a
    plan was asked for, `tested` where no tier was, `speed` (decoded tokens per second) where none
    was asked for or nothing is known. `others`: what others kept busy while speeds were taken.
    """

    source: Model
    path: Path
    plan: Plan
    types: Mapping[str, str]
    preset: str | None
    file_bytes: int
    predicted: Figure
    race: Race | None = None
    measured: Figure | None = None
    tested: Tested | None = None
    speed: Figure | None = None
    others: Others = field(default_factory=Others)

    @cached_property
    def tensors(self) -> list[TensorRow]:
        """Every tensor, in the order of the file."""
        known = self.plan.link.known.expected()
        usual = median(known.values()) if known else 1.0
        return [self._row(t, known.get(t.name), usual) for t in self.source.tensors]

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

    def _row(self, tensor: Tensor, known: float | None, usual: float) -> TensorRow:
        type_ = self.types.get(tensor.name, tensor.type.name)
        n_bytes = tensor.bytes_as(BY_NAME[type_])
        chosen = known if tensor.name in self.types else None
        return TensorRow(
            name=tensor.name, type=type_, n_bytes=n_bytes, bpw=8 * n_bytes / tensor.n_elements,
            damage=None if chosen is None else chosen * self.plan.errors[tensor.name][type_],
            sensitivity=None if known is None else known / usual,
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


def planned(source: Model, plan: Plan, out: Path) -> Made:
    """What would be made; nothing is raced or written."""
    return Made(
        source=source, path=out, plan=plan, types=plan.types, preset=None,
        file_bytes=plan.file_bytes, predicted=plan.predicted, speed=plan.speed,
    )  # fmt: skip


def make(
    study: Study,
    plan: Plan,
    out: Path,
    *,
    overwrite: bool = False,
    split_bytes: int | None = None,
    journal: Journal | None = None,
) -> Made:
    """Race the plan against the presets, write the winner to `out`, read it back and measure it on
    the test windows; where a tier was asked for, on as many of all test windows as it takes to know
    whether it holds. With the `journal` of `out` the same call goes on after any interruption, in
    the measurement, too.

    Raises what `write_recipe` raises.
    """
    raced = race(study, plan)
    chosen = raced.rival.recipe if raced.rival and not raced.wins else None
    types = chosen.types if chosen else plan.types
    preset = chosen.preset if chosen else None
    number = {**FTYPES, **NEEDS_IMPORTANCE}[preset] if preset else None
    written = written_file(
        study,
        types,
        plan.imatrix,
        out,
        file_type=number,
        split_bytes=split_bytes,
        overwrite=overwrite,
        journal=journal,
    )
    try:
        made = _measured(study, plan, raced, written, types, preset)
    except KeyboardInterrupt as stop:
        raise Interrupted(
            say(
                "{path} is written and verified, and its measurement is missing: the same "
                "command goes on there.",
                path=written.path,
            )
        ) from stop
    if journal:
        journal.end(delete_parts=False)
    return made


def _measured(
    study: Study,
    plan: Plan,
    raced: Race,
    written: Model,
    types: Mapping[str, str],
    preset: str | None,
) -> Made:
    """What was written, with what it loses and how fast it is."""
    model, session, tier = study.model, study.session, plan.target.tier
    judged = None
    if tier:
        judged = tested(session, written, model, windows_of(session, model, parts=("test",)), tier)
    return Made(
        source=model,
        path=written.path,
        plan=plan,
        types=types,
        preset=preset,
        file_bytes=written.file_bytes,
        predicted=plan.link.predict(types),
        race=raced,
        measured=(judged.quality if judged else _lost(study, written)).kld_mean,
        tested=judged,
        speed=recipe_speed(study, types, plan.imatrix, plan.target.speed.settings)
        if plan.target.speed
        else None,
        others=study.others,
    )


def _lost(study: Study, written: Model) -> Quality:
    """What a file of the model loses on the test windows."""
    (quality,) = measure_quality(
        study.session.lab,
        study.model.path,
        [written.path],
        study.test,
        progress=study.progress(say("test")),
    )
    return quality
