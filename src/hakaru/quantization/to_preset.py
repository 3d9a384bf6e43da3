"""A preset of llama.cpp's as a file, byte for byte its quantizer's; or a mix that is known by its
name.
"""

from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from hakaru.engine.builds import lab_build
from hakaru.formats.imatrix import Imatrix
from hakaru.language import say
from hakaru.memory.context import any_settings_for
from hakaru.models.model import Model, with_types
from hakaru.models.presets import NEEDS_IMPORTANCE
from hakaru.planning.predicted_here import predicted_here
from hakaru.planning.speed_figures import SpeedPrediction
from hakaru.quantization.build import (
    Recipe,
    build,
    copies_all,
    is_mix,
    plan_presets,
    plan_with_importance,
    spoken_name,
)
from hakaru.quantization.journal import Journal
from hakaru.quantization.known_mixes import known_mix
from hakaru.quantization.order import Order
from hakaru.quantization.source import source_kind
from hakaru.session import Session, last_step
from hakaru.units import alike


class MadePreset(Struct, frozen=True, kw_only=True):
    """The file of a preset, written or only planned."""

    source: Model
    recipe: Recipe
    path: Path
    written: Model | None = None  # None for a dry run
    warning: str | None = None  # if the source is quantized already: what that means
    speed: SpeedPrediction | None = None  # of a dry run: here, as predicted; None: not known

    def as_json(self) -> dict[str, Any]:
        """The object of `hakaru quantize --type … --json`."""
        source, recipe, written = self.source, self.recipe, self.written
        return {
            "schema": "hakaru.recipe/1",
            "path": str(self.path),
            "written": written is not None,
            "loads": True if written else None,
            "type": recipe.preset,
            "bytes": recipe.weights_bytes,
            "bpw": recipe.bpw,
            "file_bytes": written.file_bytes if written else None,
            "source": {
                "path": str(source.path),
                "bytes": source.weights_bytes,
                "bpw": source.bpw,
                "kind": source_kind(source).kind,
            },
            "warning": self.warning,
            "speed": self.speed.as_json() if self.speed else None,
            "engine": lab_build(),
            "tensors": [
                {"name": t.name, "type": recipe.types.get(t.name, t.type.name)}
                for t in source.tensors
            ],
        }


def to_preset(
    source: Model, preset: str, order: Order, out: Path, journal: Journal | None, session: Session
) -> MadePreset:
    """Write the preset or the known mix, or with `dry_run` say what it would be. Raises what
    `build` raises.
    """
    importance = order.importance or ("auto" if preset.upper() in NEEDS_IMPORTANCE else "none")
    recipe = _recipe(session, source, preset, importance)
    is_copy = copies_all(source, recipe.types)
    warning = None if is_copy else source_kind(source).sentence(recipe.preset)
    watch = last_step(session).watch
    imatrix = None
    if importance != "none" and not (order.dry_run and importance == "auto"):
        imatrix = _imatrix(importance, source, order, session)
    for sentence in _sentences(source, recipe, warning, is_copy=is_copy):
        session.note(sentence)
    if order.dry_run:
        speed = predicted_here(session, with_types(source, recipe.types), any_settings_for(source))
        return MadePreset(source=source, recipe=recipe, path=out, warning=warning, speed=speed)
    written = build(
        session.lab,
        source,
        recipe,
        out,
        imatrix=imatrix,
        split_bytes=order.split_bytes,
        overwrite=order.overwrite,
        journal=journal,
        progress=partial(watch, say("tensors built for {type}", type=spoken_name(recipe.preset))),
    )
    if journal:
        journal.end(delete_parts=False)
    return MadePreset(
        source=source, recipe=recipe, path=written.path, written=written, warning=warning
    )


def _recipe(session: Session, source: Model, preset: str, importance: str) -> Recipe:
    if is_mix(preset):
        return known_mix(session, source, preset)
    if importance == "none":
        return plan_presets(source, [preset])[0]
    return plan_with_importance(source, preset)


def _imatrix(importance: str, source: Model, order: Order, session: Session) -> Imatrix | None:
    """Importance data from a file, or collected here. Raises Misuse for a file of another model."""
    from hakaru.quantization.study.calibration import importance_from  # other presets need no study
    from hakaru.quantization.study.study import Study

    return importance_from(importance, Study(session, source, order.effort))


def _sentences(source: Model, recipe: Recipe, warning: str | None, *, is_copy: bool) -> list[str]:
    """The sentences for a person before the file is written."""
    ours, theirs = alike(recipe.weights_bytes, source.weights_bytes)
    sizes = say(
        "{type}: {bytes} of weights, {bpw:.2f} bits per weight (the source: "
        "{source}, {source_bpw:.2f})",
        type=recipe.preset,
        bytes=ours,
        bpw=recipe.bpw,
        source=theirs,
        source_bpw=source.bpw,
    )
    copy = say(
        "That is the source itself, bit for bit: every tensor has its type already and is copied."
    )
    return [*([warning] if warning else []), sizes, *([copy] if is_copy else [])]
