"""Presets by the names that people give them."""

import pytest

from hakaru.errors import Misuse
from hakaru.models.presets import FTYPES, nearest_presets, preset_named


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("Q4", "Q4_K_M, Q4_K_S, Q4_1, Q4_0"),
        ("Q4K", "Q4_K_M, Q4_K_S"),
        ("q4_k", "Q4_K_M, Q4_K_S"),
        ("q4-k-m", "Q4_K_M"),
        ("q5km", "Q5_K_M"),
        ("4bit", "Q4_K_M, Q4_K_S, Q4_1, Q4_0"),
        ("int4", "Q4_K_M, Q4_K_S, Q4_1, Q4_0"),
        ("４ビット", "Q4_K_M, Q4_K_S, Q4_1, Q4_0"),
        ("fp16", "F16, BF16"),
        ("Q8", "Q8_0"),
        ("fp8", "Q8_0"),
        ("Q6_K_M", "Q6_K, Q5_K_M, Q4_K_M"),
        ("mxfp4", "MXFP4_MOE"),
        ("awq", "Q4_K_M, Q5_K_M, Q6_K, Q8_0"),
        ("", "Q4_K_M, Q5_K_M, Q6_K, Q8_0"),
    ],
)
def test_a_name_that_is_none_is_answered_with_the_nearest(name: str, nearest: str) -> None:
    """At most four, the likeliest first; a name that is like none has the usual ones."""
    with pytest.raises(Misuse) as refused:
        preset_named(name)
    assert str(refused.value) == f"`preset` is '{name}', expected such as {nearest}."


@pytest.mark.parametrize("name", ["IQ2_M", "IQ1_S", "IQ3_XXS", "Q2_K_S"])
def test_the_nearest_are_of_those_that_are_allowed(name: str) -> None:
    """Such as those that need no importance data."""
    assert nearest_presets(name, FTYPES)
    assert set(nearest_presets(name, FTYPES)) <= set(FTYPES)
