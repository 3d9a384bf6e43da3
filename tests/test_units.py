"""Bytes, parameters and figures are spelled one way everywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.errors import Misuse
from hakaru.units import (
    Figure,
    alike,
    bytes_told,
    format_bytes,
    format_params,
    parse_bits,
    parse_bytes,
    parse_params,
    parse_rate,
    parse_seconds,
    parse_tokens,
)


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("2GiB", 2 * 2**30),
        ("4.2GB", 4_200_000_000),
        ("512M", 512 * 2**20),
        ("253100000", 253_100_000),
        ("64 ＧＢ", 64 * 10**9),
        (" 1 kib ", 1024),
        ("1tb", 10**12),
    ],
)
def test_sizes_are_read_with_their_unit(text: str, n: int) -> None:
    """GB is 10^9 and GiB is 2^30; a bare letter is binary."""
    assert parse_bytes(text) == n


@pytest.mark.parametrize(
    "text", ["", "GiB", "-1GiB", "0", "2 gigs", "1e3", "nan", "２GiB.", "9" * 400]
)
def test_a_size_that_is_none_is_refused_in_one_sentence(text: str) -> None:
    """The sentence shows what was found and what is expected."""
    with pytest.raises(Misuse, match="expected such as 2GiB") as caught:
        parse_bytes(text)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["16384", "1000", "4.5", "１６"])
def test_a_size_without_a_unit_is_asked_for_one(text: str) -> None:
    """`16384` may be MiB, as many tools want it, or bytes."""
    with pytest.raises(Misuse, match="has no unit"):
        parse_bytes(text)


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("0.6", 600_000_000),
        ("70", 70 * 10**9),
        ("30B-A3B", 30 * 10**9),
        ("1T-A32B", 10**12),
        ("8B-A1.5B", 8 * 10**9),
        ("8x7B", 56 * 10**9),
        ("16x0.5b", 8 * 10**9),
        ("8030261248", 8_030_261_248),
        ("8,030,261,248", 8_030_261_248),
        ("７０Ｂ", 70 * 10**9),
        ("700億", 70 * 10**9),
        ("１兆", 10**12),
    ],
)
def test_parameter_counts_are_read_as_models_are_named(text: str, n: int) -> None:
    """A bare number is billions or a copied count; of a mixture all parameters count, not the
    active ones.
    """
    assert parse_params(text) == n


@pytest.mark.parametrize("text", ["", "B", "0", "13000", "8x", "x7B", "A3B", "1e9", "-7B"])
def test_a_count_that_is_none_is_refused(text: str) -> None:
    """In one sentence, with examples."""
    with pytest.raises(Misuse, match="expected such as 70B"):
        parse_params(text)


@pytest.mark.parametrize(
    ("text", "n"),
    [("70B", 70 * 10**9), ("135M", 135 * 10**6), ("1.5b", 1_500_000_000), ("1T", 10**12)],
)
def test_parameter_counts_are_decimal(text: str, n: int) -> None:
    """B is 10^9 in a model's name, never 2^30."""
    assert parse_params(text) == n
    assert parse_params(format_params(n)) == n


@pytest.mark.parametrize(
    ("n", "text"),
    [(999_885_952, "1B"), (999_499_999, "999M"), (1_000_000, "1M"), (999, "999"), (1000, "1K")],
)
def test_a_count_just_below_a_unit_is_told_in_that_unit(n: int, text: str) -> None:
    """Gemma 3 1B has 999,885,952 parameters: `1B`, and never `1e+03M`."""
    assert format_params(n) == text


@given(st.integers(min_value=1, max_value=2**60))
def test_formatted_bytes_read_back_within_their_precision(n: int) -> None:
    """What is printed means what was computed, to the digit that is shown."""
    assert parse_bytes(format_bytes(n)) == pytest.approx(n, rel=0.06)


MIB, GIB = 2**20, 2**30


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ((114_800_000, 24_374_000_000), ["109.5 MiB", "22.70 GiB"]),
        ((15 * GIB, 22.5 * GIB), ["15.00 GiB", "22.50 GiB"]),
        ((900 * MIB, 4.7 * GIB), ["900.0 MiB", "4,812.8 MiB"]),
        ((0, 4.7 * GIB), ["0 GiB", "4.70 GiB"]),
        ((2048, 24 * GIB), ["2.0 KiB", "24.00 GiB"]),
        ((0, 0), ["0 B", "0 B"]),
    ],
)
def test_sizes_that_are_compared_have_one_unit(sizes: tuple[float, ...], told: list[str]) -> None:
    """That of the smallest, and never `0.1 GiB` for `109.5 MiB`. Where one is twenty times as much
    as the other, each has its own.
    """
    assert alike(*sizes) == told


@pytest.mark.parametrize(
    ("n", "unit", "told"),
    [
        (2048, "MiB", "<0.1 MiB"),
        (512 * MIB, "GiB", "0.50 GiB"),
        (513_024, "GiB", "<0.01 GiB"),
        (0, "MiB", "0 MiB"),
        (1500, "B", "1,500 B"),
        (1002 * MIB, "MiB", "1,002.0 MiB"),
    ],
)
def test_a_part_is_told_in_the_unit_of_its_table(n: int, unit: str, told: str) -> None:
    """What is not nothing is not told as nothing."""
    assert bytes_told(n, unit) == told


def test_a_figure_keeps_its_order_and_survives_json() -> None:
    """An interval runs from low to high."""
    figure = Figure(value=1.0, unit="nats/token", source="measured", low=0.5, high=2.0)
    assert Figure.from_json(figure.as_json()) == figure
    with pytest.raises(ValueError, match="low to high"):
        Figure(value=1.0, unit="x", source="measured", low=2.0, high=1.0)


@pytest.mark.parametrize(
    ("text", "n"),
    [
        ("32768", 32768),
        ("32,768", 32768),
        ("32_768", 32768),
        ("32k", 32768),
        ("128K", 131072),
        ("１２８ｋ", 131072),
        ("1.5k", 1536),
        ("1M", 2**20),
        ("8k tokens", 8192),
        ("8192 トークン", 8192),
    ],
)
def test_tokens_are_read_as_models_are_named(text: str, n: int) -> None:
    """A context of 128k is 131,072 tokens."""
    assert parse_tokens(text) == n


@pytest.mark.parametrize(
    "text", ["", "0", "-5", "0.3k", "4.5", "32,76", "32kb", "max", "nan", "1e5", "k", "9" * 400]
)
def test_what_is_no_number_of_tokens_is_refused(text: str) -> None:
    """A part of a token, too."""
    with pytest.raises(Misuse, match="is no number of tokens; expected such as 8192 or 32k"):
        parse_tokens(text)


def test_speeds_and_bits_are_read_with_their_unit() -> None:
    """As people copy them; more than 0, and finite."""
    texts = ("20", "7.5", "20 tokens/s", "20t/s", "20 tok/s", "20tps", "２０ トークン/秒")
    assert [parse_rate(text) for text in texts] == [20, 7.5, 20, 20, 20, 20, 20]
    for text in ("", "0", "-1", "nan", "inf", "1e400", "20/s", "20 per second", "20,5"):
        with pytest.raises(Misuse, match="is no speed"):
            parse_rate(text)
    texts = ("4", "4.5", "4bit", "8-bit", "16 bits", "4.5bpw", "４ビット")
    assert [parse_bits(text) for text in texts] == [4, 4.5, 4, 8, 16, 4.5, 4]
    for text in ("", "-1", "nan", "int4", "Q4"):
        with pytest.raises(Misuse, match="is no number of bits"):
            parse_bits(text)


def test_durations_are_read_with_their_unit() -> None:
    """Seconds, minutes, hours; nothing else."""
    texts = ("120", "120s", "2m", "2 min", "2分", "1.5 h", "1.5 hours")
    assert [parse_seconds(text) for text in texts] == [120, 120, 120, 120, 120, 5400, 5400]
    for text in ("", "0s", "-1s", "2d", "soon"):
        with pytest.raises(Misuse, match="is no duration"):
            parse_seconds(text)
