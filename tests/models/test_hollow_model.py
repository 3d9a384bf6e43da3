"""Models of zeros: whole to every reader, and hardly anything on the disk."""

from pathlib import Path

import pytest

from hakaru.models.hollow_model import write_hollow_model
from hakaru.models.model import read_model


@pytest.mark.parametrize("type_name", ["Q4_K", "Q6_K", "Q8_0", "Q4_0", "F16"])
def test_a_hollow_model_is_a_whole_one(tmp_path: Path, type_name: str) -> None:
    """Two layers of 61 million weights, input and output of 17 million, all of one type."""
    path = write_hollow_model(tmp_path / "zeros.gguf", n_layer=2, type_name=type_name)
    model = read_model(path)
    assert model.n_params == pytest.approx(2 * 60.8e6 + 2 * 16.8e6, rel=0.01)
    assert model.type_name == type_name
    assert path.stat().st_blocks * 512 < 2**20
