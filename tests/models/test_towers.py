"""The vision towers of the catalogue's models: their published numbers of weights, and what
llama.cpp says of their shapes.
"""

from pathlib import Path

import pytest

from hakaru.engine.projector import projector_dry_run
from hakaru.memory.projector import projector_compute
from hakaru.models.architectures import buffer_bytes
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.towers import TOWERS, tower_header

SEEING = [model for model in known_models() if "vision" in model.tasks]
WITH_TOWER = {model.tower: model for model in reversed(SEEING) if model.tower}
OF_ANOTHER_KIND = {
    "gemma-4-e4b-it", "gemma-4-e2b-it", "gemma-4-12b-it", "exaone-4.5-33b", "gemma-3n-e2b-it",
    "gemma-3n-e4b-it",
}  # fmt: skip
"""Encoders that are no plain transformer, models that hear as well, one with layers for drafts."""


def test_every_model_that_sees_has_a_tower_or_a_number() -> None:
    """And only such models have one; every tower is used."""
    assert {model.id for model in SEEING if model.tower is None} == OF_ANOTHER_KIND
    assert all(model.tower or model.n_params_tower for model in SEEING)
    assert {model.id for model in known_models() if model.tower or model.n_params_tower} == {
        model.id for model in SEEING
    }
    assert set(WITH_TOWER) == set(TOWERS)


@pytest.mark.parametrize(
    "model", [m for m in SEEING if m.tower and m.n_params_tower], ids=lambda model: model.id
)
def test_a_tower_has_the_published_number_of_weights(model: KnownModel) -> None:
    """To one in ten thousand: two publish the scales of FP8 matrices as well, and Pixtral's file
    has one row of the language model.
    """
    header = tower_header(model.tower or "", model.shape.n_embd)
    n_elements = sum(tensor.n_elements for tensor in header.tensors)
    assert n_elements == pytest.approx(model.n_params_tower, rel=1e-4)


def test_a_projector_whose_load_was_logged_has_that_many_bytes() -> None:
    """Qwen3-VL-8B, of which a log tells 1,105 MiB. Qwen3.6-27B's log tells 887.99 MiB, of a file
    in BF16: its two matrices of patches are in F32 there, 3.38 MiB more.
    """
    qwen3vl, qwen36 = tower_header("qwen3-vl-27", 4096), tower_header("qwen3.5-27", 5120)
    assert buffer_bytes(qwen3vl.tensors) / 2**20 == pytest.approx(1105.3, abs=0.05)
    patches = sum(t.n_bytes for t in qwen36.tensors if "patch_embd.weight" in t.name)
    assert (buffer_bytes(qwen36.tensors) + patches) / 2**20 == pytest.approx(887.99, abs=0.005)


@pytest.mark.engine
@pytest.mark.parametrize("name", TOWERS)
def test_the_engine_takes_each_tower_and_the_estimate_lies_a_little_above(
    name: str, tmp_path: Path
) -> None:
    """0 to 15% above what it computes with; a missing or misshapen tensor is refused."""
    header = tower_header(name, WITH_TOWER[name].shape.n_embd)
    path = header.write(tmp_path / "mmproj.gguf")
    told = projector_dry_run(path)
    assert told
    own = told.total_bytes - buffer_bytes(header.tensors)
    assert own * 0.999 <= projector_compute(name, header).start_bytes <= 1.15 * own
