"""Parts of a split model belong together or are refused, each with one sentence."""

import shutil
from pathlib import Path

import pytest

from hakaru.errors import ModelDamaged, ModelNotFound, ModelUnknown
from hakaru.formats.split import part_names, whole_name
from hakaru.models.model import read_model
from hakaru.testing import tiny_shape, write_tiny_llama


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """The first part of three."""
    return write_tiny_llama(tmp_path / "m.gguf", part_tensors=8)


def test_names_are_those_of_llama_cpp() -> None:
    """Five digits, counted from one; what does not fit is no part."""
    assert part_names("a-00002-of-00003.gguf") == tuple(
        f"a-0000{i}-of-00003.gguf" for i in (1, 2, 3)
    )
    assert part_names("a-2-of-3.gguf") == ("a-2-of-3.gguf",)
    assert whole_name("a-00002-of-00003.gguf") == "a.gguf"
    for name in (
        "a-00000-of-00003.gguf",
        "a-00004-of-00003.gguf",
        "a-00001-of-99999.gguf",
        "a-00000-of-00000.gguf",
    ):
        with pytest.raises(ModelUnknown, match="is no possible part"):
            part_names(name)


def test_a_missing_part_is_named(first: Path) -> None:
    """The sentence says how many are missing and which is the first of them."""
    first.with_name("m-00003-of-00003.gguf").unlink()
    with pytest.raises(
        ModelNotFound,
        match=r"1 of its 3 parts are missing, the first of them m-00003-of-00003\.gguf",
    ):
        read_model(first)


def test_a_part_in_another_s_place_is_found(first: Path) -> None:
    """Its own number contradicts its name."""
    shutil.copy(first.with_name("m-00002-of-00003.gguf"), first.with_name("m-00003-of-00003.gguf"))
    with pytest.raises(ModelDamaged, match=r"m-00003-of-00003\.gguf: split\.no is 1, expected 2"):
        read_model(first)


def test_a_part_of_another_model_is_found(first: Path, tmp_path: Path) -> None:
    """The tensors do not add up to the number that the first part states, or one stands twice."""
    (tmp_path / "other").mkdir()
    other = write_tiny_llama(tmp_path / "other" / "m.gguf", tiny_shape(n_layer=3), part_tensors=11)
    shutil.copy(other.with_name("m-00003-of-00003.gguf"), first.with_name("m-00003-of-00003.gguf"))
    with pytest.raises(
        ModelDamaged, match=r"split\.tensors\.count is 21, expected 24|stands twice"
    ):
        read_model(first)


def test_a_truncated_part_is_found(first: Path) -> None:
    """Each part's own layout is checked against its own size."""
    last = first.with_name("m-00003-of-00003.gguf")
    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.raises(ModelDamaged, match=r"m-00003-of-00003\.gguf: tensor \S+ ends at byte"):
        read_model(first)
