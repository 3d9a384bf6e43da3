"""What a mix of types gains at the size of a preset, both measured on the same windows.

A decision tells which level is the best here, and that may be the source itself. This tells what
else can be made of the source: the preset of the least loss that is smaller than the source and was
read by the loop, and beside it a mix of types in the same bytes. The mix is planned from what the
loop knows already (sampled errors of the types), built, and read on those windows on which the
preset was read. The decision does not change by it.

A mix of a quantized source copies tensors that have their type already. Copies lose nothing, so it
is told how many they are.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from hakaru.choosing.candidate import SOURCE, Candidate
from hakaru.choosing.decision import Decision
from hakaru.choosing.forecast import Forecast
from hakaru.choosing.level_files import LevelFiles
from hakaru.choosing.worker import Effort, loop_windows
from hakaru.evaluation.divergence import quality_of
from hakaru.evaluation.losses import Row
from hakaru.evaluation.statistics import paired_ratio
from hakaru.evaluation.tiers import Quality
from hakaru.memory.settings import F16_CACHE
from hakaru.models.model import Model
from hakaru.quantization.build import Recipe, is_mix, plan_presets
from hakaru.quantization.known_mixes import remember_mix
from hakaru.quantization.study.study import Study
from hakaru.session import Session, last_step
from hakaru.units import Figure


class Gain(Struct, frozen=True, kw_only=True):
    """A mix beside the best preset of its size."""

    source: Model
    preset: Recipe
    preset_quality: Quality
    mix: Recipe
    mix_quality: Quality  # on the same windows
    ratio: Figure  # the loss of the mix over that of the preset, window by window
    n_copied: int  # tensors of the mix that the source has in the same type
    copied_bytes: int
    n_tensors: int  # that could have another type

    @property
    def is_better(self) -> bool:
        """Whether the mix is proven to lose less: the whole interval of `ratio` lies below 1."""
        return self.ratio.highest < 1

    def as_json(self) -> dict[str, Any]:
        """The object `gain` of `hakaru up --json`, but for its command."""
        return {
            "source": {"bytes": self.source.weights_bytes, "bpw": self.source.bpw},
            "preset": _level(self.preset, self.preset_quality),
            "mix": _level(self.mix, self.mix_quality),
            "ratio_to_preset": self.ratio.as_json(),
            "copied": {"tensors": self.n_copied, "of": self.n_tensors, "bytes": self.copied_bytes},
        }


def _level(recipe: Recipe, quality: Quality) -> dict[str, Any]:
    return {
        "type": recipe.preset,
        "bytes": recipe.weights_bytes,
        "bpw": recipe.bpw,
        "quality": quality.as_json(),
    }


def measured_gain(
    session: Session, decision: Decision, effort: Effort | None = None
) -> Gain | None:
    """The gain of a mix over the best preset that `decision` read, with the effort of the decision.

    None where the decision read no preset that is smaller than the source, and where the preset is
    the best that can be planned. Raises MachineError and EngineError.
    """
    model, rival = decision.model, best_smaller_preset(decision)
    if rival is None or rival.quality is None:
        return None
    (preset,) = plan_presets(model, [rival.type])
    mix = Forecast(Study(session, model, "quick", glance=True)).mix_within(preset)
    if mix is None:
        return None
    effort, kept = effort or Effort(), {decision.path} if decision.path else set()
    files = LevelFiles(
        session=last_step(session),
        source=model,
        recipes={preset.preset: preset, mix.preset: mix},
        keep=effort.keep | kept,
    )
    windows = loop_windows(session, model, effort, ("calibration", "validation"))
    try:
        read = files.levels.losses([preset, mix], windows, rival.quality.n_windows)
    finally:
        for name in files.recipes:
            files.remove(name)
    remember_mix(session, model, mix)
    return _gain(model, preset, mix, read, [w.domain for w in windows])


def _gain(
    model: Model,
    preset: Recipe,
    mix: Recipe,
    read: Sequence[Sequence[Row]],  # of the preset, and of the mix
    domains: Sequence[str],
) -> Gain:
    theirs, ours = ([row["kld"] for row in rows] for rows in read)
    matrices = [t for t in model.tensors if t.name in mix.types]
    copied = [t for t in matrices if mix.types[t.name] == t.type.name]
    return Gain(
        source=model,
        preset=preset,
        preset_quality=quality_of(read[0], domains),
        mix=mix,
        mix_quality=quality_of(read[1], domains),
        ratio=paired_ratio(ours, theirs)[0],
        n_copied=len(copied),
        copied_bytes=sum(t.n_bytes for t in copied),
        n_tensors=len(matrices),
    )


def best_smaller_preset(decision: Decision) -> Candidate | None:
    """The preset of the least measured loss among those that are smaller than the source; None
    where none was read.
    """
    presets = [
        c
        for c in decision.candidates
        if c.type != SOURCE
        and not is_mix(c.type)
        and c.cache == F16_CACHE
        and c.quality
        and c.quality.n_windows
        and c.weights_bytes < decision.model.weights_bytes
    ]
    return min(presets, key=_loss, default=None)


def _loss(candidate: Candidate) -> float:
    assert candidate.quality
    return candidate.quality.kld_mean.value
