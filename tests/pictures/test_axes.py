"""Axes: round values, at the right places."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.pictures.axes import Axis, LogAxis


def test_values_stand_where_they_belong() -> None:
    """By hand: halfway between 10 and 1,000 is 505 on the one axis, 100 on the other."""
    assert Axis(10, 1000, 0, 200).at(505) == pytest.approx(100)
    assert LogAxis(10, 1000, 0, 200).at(100) == pytest.approx(100)
    assert LogAxis(1, 10, 300, 100).at(10) == 100


@pytest.mark.parametrize(
    ("axis", "ticks"),
    [
        (Axis(0.57, 0.83, 0, 1), [0.6, 0.65, 0.7, 0.75, 0.8]),
        (Axis(0, 11.2, 0, 1), [0, 2, 4, 6, 8, 10]),
        (LogAxis(7, 270, 0, 1), [10, 20, 50, 100, 200]),
        (LogAxis(900, 200_000, 0, 1), [1000, 3000, 10_000, 30_000, 100_000]),
    ],
)
def test_ticks_are_round(axis: Axis, ticks: list[float]) -> None:
    """As a person would choose them."""
    assert axis.ticks() == pytest.approx(ticks)


@given(st.floats(0.01, 1e6), st.floats(1.05, 1e5))
def test_every_axis_has_ticks(low: float, ratio: float) -> None:
    """At least one, all on the axis."""
    for axis in (Axis(low, low * ratio, 0, 1), LogAxis(low, low * ratio, 0, 1)):
        ticks = axis.ticks()
        assert all(low * (1 - 1e-6) <= tick <= low * ratio * (1 + 1e-6) for tick in ticks)
        assert len(set(ticks)) == len(ticks) <= 40
        assert ticks or isinstance(axis, LogAxis)
