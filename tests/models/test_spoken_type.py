"""The type of a model in words."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from hakaru.language import use_language
from hakaru.models.model import Model, as_preset, read_model, with_types
from hakaru.models.spoken_type import OWN_RECIPE, spoken_type
from hakaru.testing import tiny_shape, write_tiny_llama


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return read_model(write_tiny_llama(tmp_path / "tiny.gguf", tiny_shape(n_layer=4)))


def stating(model: Model, **keys: object) -> Model:
    """The model with other keys in its header, named without their dots."""
    names = {"file_type": "general.file_type", "recipe": OWN_RECIPE}
    added = {names[name]: value for name, value in keys.items()}
    return replace(model, metadata=model.metadata | added)


def test_a_file_of_one_type_has_its_name(model: Model) -> None:
    """Norms in F32 make no mix."""
    assert spoken_type(model) == "F16"
    assert spoken_type(stating(as_preset(model, "Q8_0"), file_type=7, recipe="1")) == "Q8_0"


def test_a_preset_is_called_as_people_call_it(model: Model) -> None:
    """Q4_K_M has tensors in Q6_K, and is no mix, whoever made it."""
    preset = as_preset(model, "Q4_K_M")
    assert preset.type_name == "Q4_K"
    assert spoken_type(preset) == spoken_type(stating(preset, file_type=15)) == "Q4_K_M"
    assert spoken_type(stating(preset, file_type=15, recipe="1")) == "Q4_K_M"


def test_a_mix_says_so(model: Model) -> None:
    """With its bits, in both languages; the commonest type would say too little."""
    preset = as_preset(model, "Q4_K_M")
    mix = stating(with_types(preset, {"blk.0.ffn_down.weight": "Q8_0"}), file_type=15, recipe="1")
    assert spoken_type(mix) == f"mix ({mix.bpw:.2f} bits)"
    use_language("ja")
    assert spoken_type(mix) == f"配合（{mix.bpw:.2f} ビット）"


def test_a_stranger_s_file_that_is_no_preset_keeps_the_commonest_type(model: Model) -> None:
    """Nobody said that it is a mix: importance data, too, move a tensor or two."""
    odd = with_types(as_preset(model, "Q4_K_M"), {"blk.0.ffn_down.weight": "Q8_0"})
    assert spoken_type(stating(odd, file_type=15)) == odd.type_name
