"""Energy and money per million tokens, and when a machine has paid for itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hakaru.errors import Misuse
from hakaru.selection.cost import Prices, cost_of, energy_at
from hakaru.selection.money import Money, parse_money
from hakaru.units import Figure


def speed(value: float, low: float | None = None, high: float | None = None) -> Figure:
    """A decode speed."""
    return Figure(value=value, low=low, high=high, unit="tokens/s", source="computed")


def drawing(watts: float) -> Figure:
    """What a board draws."""
    return Figure(value=watts, unit="W", source="published")


def test_a_million_tokens_at_360_watts_and_50_tokens_per_second_take_two_kwh() -> None:
    """360 W / 50 tokens/s = 7.2 J per token; 7.2e6 J / 3.6e6 J per kWh = 2 kWh; 62 yen at 31."""
    prices = Prices(electricity=Money(31, "JPY"))
    cost = cost_of(drawing(360), speed(50), prices)
    assert cost.kwh.value == pytest.approx(2)
    assert cost.electricity is not None
    assert cost.electricity.value == pytest.approx(62)
    assert cost.electricity.unit == "JPY"


def test_the_slow_end_of_the_speed_is_the_dear_end_of_the_cost() -> None:
    """40 to 60 tokens/s: 6 to 9 J per token."""
    energy = energy_at(drawing(360), speed(50, 40, 60))
    assert energy.low == pytest.approx(6)
    assert energy.high == pytest.approx(9)


def test_a_machine_pays_for_itself_by_what_the_cloud_would_have_cost() -> None:
    """300 USD, 0.60 in the cloud and 0.30 of one's own: 1,000 million tokens. At 10 million a day
    that is 100 days: 3.29 months.
    """
    prices = Prices(
        electricity=Money(0.15, "USD"),
        cloud=Money(0.60, "USD"),
        machine=Money(300, "USD"),
        tokens_per_day=10e6,
    )
    cost = cost_of(drawing(360), speed(500), prices)
    assert cost.electricity is not None
    assert cost.electricity.value == pytest.approx(0.03)
    assert cost.tokens_to_break_even == pytest.approx(300 / 0.57 * 1e6)
    assert cost.months_to_break_even == pytest.approx(300 / 0.57 / 10 / (365.25 / 12))


def test_a_cloud_that_is_cheaper_than_the_electricity_is_never_caught_up_with() -> None:
    """JSON has null there, and not a number that no reader knows."""
    prices = Prices(electricity=Money(40, "JPY"), cloud=Money(10, "JPY"), machine=Money(1e5, "JPY"))
    cost = cost_of(drawing(360), speed(50), prices)
    assert cost.tokens_to_break_even == float("inf")
    assert cost.as_json()["tokens_to_break_even"] is None


def test_more_tokens_a_day_than_the_machine_writes_are_refused() -> None:
    """10 tokens/s are 864,000 a day."""
    prices = Prices(
        electricity=Money(31, "JPY"),
        cloud=Money(90, "JPY"),
        machine=Money(1e5, "JPY"),
        tokens_per_day=1e6,
    )
    with pytest.raises(Misuse, match=r"1,000,000, but at 10\.0 tokens/s .* 864,000 in a day"):
        cost_of(drawing(10), speed(10), prices)


def test_two_currencies_are_refused() -> None:
    """A rate of exchange would be a guess."""
    with pytest.raises(Misuse, match=r"JPY \+ USD"):
        Prices(electricity=Money(31, "JPY"), cloud=Money(0.6, "USD"))


def test_the_price_of_a_machine_needs_something_to_compare_it_with() -> None:
    """A price alone says nothing."""
    with pytest.raises(Misuse, match="beside a `cloud` price"):
        Prices(machine=Money(1e5, "JPY"))


@given(st.floats(1, 2000), st.floats(0.1, 1e4), st.floats(1.01, 3))
def test_twice_the_speed_at_the_same_power_never_costs_more(
    watts: float, pace: float, factor: float
) -> None:
    """Energy per token falls with the speed."""
    assert (
        energy_at(drawing(watts), speed(pace * factor)).value
        < energy_at(drawing(watts), speed(pace)).value
    )


@pytest.mark.parametrize(
    ("text", "amount", "currency"),
    [
        ("31 JPY/kWh", 31, "JPY"),
        ("31円/kWh", 31, "JPY"),
        ("３１ 円", 31, "JPY"),
        ("0.6 USD", 0.6, "USD"),
        ("$0.6", 0.6, "USD"),
        ("usd 0.30 / kwh", 0.3, "USD"),
        ("€ 1,250.50", 1250.5, "EUR"),
        ("300,000 jpy", 300000, "JPY"),
        ("30万円", 300000, "JPY"),
        ("1.5万 JPY", 15000, "JPY"),
    ],
)
def test_money_is_read_as_people_write_it(text: str, amount: float, currency: str) -> None:
    """Before or behind the number, as a sign or a code."""
    money = parse_money(text, name="`electricity`", example="31 JPY/kWh", per=("kwh",))
    assert money == Money(amount, currency)


@pytest.mark.parametrize(
    "text",
    ["", "31", "JPY", "31 XYZ", "31 JPY/month", "¥31", "-3 JPY", "3 JPY 4", "1e5 JPY", "0,3,"],
)
def test_what_is_no_money_is_refused_with_an_example(text: str) -> None:
    """The sign of the yen is the yuan's, too; of what is not sure nothing is guessed."""
    with pytest.raises(Misuse, match=r"such as '31 JPY/kWh'"):
        parse_money(text, name="`electricity`", example="31 JPY/kWh", per=("kwh",))


@pytest.mark.parametrize(
    ("money", "english"),
    [
        (Money(62, "JPY"), "¥62"),
        (Money(1234.5, "USD"), "$1,234.50"),
        (Money(0.0123, "USD"), "$0.012"),
        (Money(0.31, "JPY"), "¥0.31"),
        (Money(0, "EUR"), "€0.00"),
    ],
)
def test_money_is_written_with_the_digits_that_say_something(money: Money, english: str) -> None:
    """Two digits that count, also below a cent."""
    assert str(money) == english
