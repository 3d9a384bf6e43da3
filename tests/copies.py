"""Quantized copies of models, for tests that need a worse one."""

from pathlib import Path

from hakaru.engine.lab import Lab
from hakaru.models.model import read_model
from hakaru.quantization.build import build, plan_presets


def quantized_copy(source: Path, out: Path, preset: str) -> Path:
    """The model of `source` at `preset`, written to `out`."""
    model = read_model(source)
    (recipe,) = plan_presets(model, [preset])
    return build(Lab(), model, recipe, out).path
