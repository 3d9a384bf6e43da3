"""Bytes, parameters and figures are spelled one way everywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.errors import Misuse
from hakaru.units import Figure, format_bytes, format_params, parse_bytes, parse_params, parse_seconds


@pytest.mark.parametrize(
    ("text", "n"),
    [("2GiB", 2 * 2**30), ("4.2GB", 4_200_000_000), ("512M", 512 * 2**20), ("1000", 1000), (" 1 kib ", 1024), ("1tb", 10**12)],
)
def test_sizes_are_read_with_their_unit(text: str, n: int) -> None:
    """GB is 10^9 and GiB is 2^30; a bare letter is binary."""
    assert parse_bytes(text) == n


@pytest.mark.parametrize("text", ["", "GiB", "-1GiB", "0", "2 gigs", "1e3", "nan", "２GiB.", "9" * 400])
def test_a_size_that_is_none_is_refused_in_one_sentence(text: str) -> None:
    """The sentence shows what was found and what is expected."""
    with pytest.raises(Misuse, match="expected such as 2GiB") as caught:
        parse_bytes(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("text", "n"), [("70B", 70 * 10**9), ("135M", 135 * 10**6), ("1.5b", 1_500_000_000), ("1T", 10**12)])
def test_parameter_counts_are_decimal(text: str, n: int) -> None:
    """B is 10^9 in a model's name, never 2^30."""
    assert parse_params(text) == n
    assert parse_params(format_params(n)) == n


@given(st.integers(min_value=1, max_value=2**60))
def test_formatted_bytes_read_back_within_their_precision(n: int) -> None:
    """What is printed means what was computed, to the digit that is shown."""
    assert parse_bytes(format_bytes(n)) == pytest.approx(n, rel=0.06)


def test_a_figure_keeps_its_order_and_survives_json() -> None:
    """An interval runs from low to high."""
    figure = Figure(value=1.0, unit="nats/token", source="measured", low=0.5, high=2.0)
    assert Figure.from_json(figure.as_json()) == figure
    with pytest.raises(ValueError, match="low to high"):
        Figure(value=1.0, unit="x", source="measured", low=2.0, high=1.0)


def test_durations_are_read_with_their_unit() -> None:
    """Seconds, minutes, hours; nothing else."""
    assert [parse_seconds(text) for text in ("120", "120s", "2m", "1.5 h")] == [120, 120, 120, 5400]
    for text in ("", "0s", "-1s", "2d", "soon"):
        with pytest.raises(Misuse, match="is no duration"):
            parse_seconds(text)
