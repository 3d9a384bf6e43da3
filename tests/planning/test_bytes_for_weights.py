"""How large a file may be so that its model fits."""

from dataclasses import replace
from pathlib import Path

import pytest

from hakaru.errors import DoesNotFit
from hakaru.hardware.catalogue import parse_hardware
from hakaru.memory.footprint import ContextSettings
from hakaru.models.catalogue import known_models
from hakaru.models.model import Model, as_preset, read_model
from hakaru.planning.budget import bytes_for_weights
from hakaru.planning.load import load_of
from hakaru.planning.placement import Task
from hakaru.planning.search import place
from hakaru.testing import write_header


@pytest.fixture
def qwen(tmp_path: Path) -> Model:
    known = next(m for m in known_models() if m.id == "qwen3-14b")
    return read_model(write_header(tmp_path / "qwen.gguf", known.metadata(), n_vocab=known.n_vocab, tied=known.tied))


def test_the_budget_fits_and_a_little_more_does_not(qwen: Model) -> None:
    """A preset within the budget fits the card, one beyond it does not."""
    card, settings = parse_hardware("12GiB"), ContextSettings(n_ctx=8192)
    budget = bytes_for_weights(qwen, card, settings)
    for preset, fits in (("Q4_K_M", True), ("Q8_0", False)):
        variant = as_preset(qwen, preset)
        task = Task(load=load_of(variant.loaded, qwen.shape.n_layer), shape=qwen.shape, settings=settings)
        assert (variant.weights_bytes <= budget) == fits
        assert (place(task, card).verdict == "fits") == fits


def test_a_longer_context_leaves_less_for_weights(qwen: Model) -> None:
    """And one that fills the card leaves nothing."""
    card = parse_hardware("12GiB")
    short, long = (bytes_for_weights(qwen, card, ContextSettings(n_ctx=n)) for n in (4096, 32768))
    assert long < short
    with pytest.raises(DoesNotFit, match="no file of this model fits there with 131072 tokens"):
        bytes_for_weights(qwen, card, ContextSettings(n_ctx=131072))


def test_a_stranger_s_memory_is_not_guessed(qwen: Model) -> None:
    """Without arithmetic there is no budget from a machine."""
    with pytest.raises(DoesNotFit, match="no arithmetic"):
        bytes_for_weights(
            replace(qwen, shape=replace(qwen.shape, caches=None)), parse_hardware("12GiB"), ContextSettings(n_ctx=256)
        )
