"""Pieces of a tensor: all of it, once, in whole units, and none across a border of importances."""

from hypothesis import given
from hypothesis import strategies as st

from hakaru.engine.jobs import PIECE, TensorJob, pieces


@given(st.integers(1, 700), st.integers(1, 50), st.integers(1, 6), st.booleans())
def test_pieces_cover_a_tensor_once(
    blocks: int, rows: int, stack: int, has_importance: bool
) -> None:
    """In order, without a gap; at most `PIECE` weights unless a row is longer."""
    unit = blocks * 1024
    job = TensorJob(
        name="x", type_id=0, wanted_id=12, n_elements=unit * rows * stack, unit=unit, source=0,
        at=0, target=0, to=0, importance_at=0 if has_importance else None, per_vector=unit * rows,
    )  # fmt: skip
    expected = 0
    for first, n in pieces(job):
        assert first == expected
        assert n % unit == 0
        assert n <= max(PIECE, unit)
        assert not has_importance or first // job.per_vector == (first + n - 1) // job.per_vector
        expected += n
    assert expected == job.n_elements
