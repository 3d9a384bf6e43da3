"""What `hakaru quantize` makes for a budget: a plan, the race's winner on disk, its loss read back from the file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hakaru.evaluation.divergence import measure_quality
from hakaru.models.model import Model
from hakaru.models.presets import FTYPES, NEEDS_IMPORTANCE
from hakaru.models.quant_types import BY_NAME
from hakaru.tuning.budget import Budgeter, Plan, Race
from hakaru.units import Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The file, how it came about and what it loses; `race` and `measured` are None where only a plan was asked for,
    `speed` (decoded tokens per second, through the server) where none was asked for.
    """

    path: Path
    plan: Plan
    types: Mapping[str, str]
    preset: str | None
    file_bytes: int
    predicted: Figure
    race: Race | None = None
    measured: Figure | None = None
    speed: Figure | None = None

    def as_json(self, model: Model) -> dict[str, Any]:
        """The object of `hakaru quantize --json` for a budget."""
        rival = self.race.rival if self.race else None
        sizes = {t.name: (t.bytes_as(BY_NAME[self.types[t.name]]) if t.name in self.types else t.n_bytes) for t in model.tensors}
        return {
            "schema": "hakaru.recipe/1",
            "path": str(self.path),
            "written": self.measured is not None,
            "type": self.preset or "mix",
            "bytes": self.file_bytes,
            "bpw": 8 * sum(sizes.values()) / model.n_params,
            "budget_bytes": self.plan.budget_bytes,
            "predicted_kld": self.predicted.as_json(),
            "measured_kld": self.measured.as_json() if self.measured else None,
            "decode_tokens_per_s": self.speed.as_json() if self.speed else None,
            "best_preset": {"type": rival.preset, "bytes": rival.file_bytes, "kld": rival.kld.as_json()} if rival else None,
            "ratio_to_preset": self.race.ratio.as_json() if self.race and self.race.ratio else None,
            "tensors": [
                {"name": t.name, "type": self.types.get(t.name, t.type.name), "bytes": sizes[t.name]} for t in model.tensors
            ],
        }


def planned(plan: Plan, out: Path) -> Made:
    """What would be made; nothing is raced or written."""
    return Made(
        path=out, plan=plan, types=plan.types, preset=None, file_bytes=plan.file_bytes, predicted=plan.predicted, speed=plan.speed
    )


def make(budgeter: Budgeter, plan: Plan, out: Path, *, overwrite: bool = False, split_bytes: int | None = None) -> Made:
    """Race the plan against the presets, write the winner to `out`, read it back and measure it on the test windows.

    Raises what `write_recipe` raises.
    """
    race = budgeter.race(plan)
    chosen = race.rival if race.rival and not race.wins else None
    types = chosen.types if chosen else plan.types
    preset = chosen.preset if chosen else None
    model, bench = budgeter.model, budgeter.bench
    number = {**FTYPES, **NEEDS_IMPORTANCE}[preset] if preset else None
    written = budgeter.written(types, plan.imatrix, out, file_type=number, split_bytes=split_bytes, overwrite=overwrite)

    def progress(done: int, total: int) -> None:
        bench.watch("test", done, total)

    (quality,) = measure_quality(bench.lab, model.path, [written.path], budgeter.test, progress=progress)
    return Made(
        path=written.path,
        plan=plan,
        types=types,
        preset=preset,
        file_bytes=written.file_bytes,
        predicted=plan.link.predict(types),
        race=race,
        measured=quality.kld_mean,
        speed=budgeter.speed(types, plan.imatrix, plan.target.speed.settings) if plan.target.speed else None,
    )
