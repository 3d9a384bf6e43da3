"""Groups of prompts that are answered together."""

from hypothesis import given
from hypothesis import strategies as st

from hakaru.engine.side_by_side import N_CELLS, N_SEQUENCES, groups_of


def test_a_long_prompt_stands_alone() -> None:
    """28 short ones together, one of 8,000 tokens, then the others: not 29 times 8,000 cells."""
    assert groups_of([150] * 28 + [8272] + [150] * 5) == [range(28), range(28, 29), range(29, 34)]
    assert groups_of([150] * 48) == [range(48)], "our own prompts are answered together"
    assert groups_of([]) == []
    assert [len(g) for g in groups_of([20] * 300)] == [64] * 4 + [44], (
        "llama.cpp takes no more than 256 sequences"
    )


@given(st.lists(st.integers(1, 2 * N_CELLS), max_size=200))
def test_every_group_fits(cells: list[int]) -> None:
    """Every place once and in order; more than one only where all of them go into the cells."""
    groups = groups_of(cells)
    assert [i for group in groups for i in group] == list(range(len(cells)))
    for group in groups:
        assert len(group) <= N_SEQUENCES
        assert len(group) == 1 or len(group) * max(cells[i] for i in group) <= N_CELLS
