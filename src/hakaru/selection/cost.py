"""What a million tokens cost on a machine of one's own: energy, money for it, and when the machine
has paid for itself. Pure.

    joules per token = watts x seconds per token
    kWh per million tokens = joules per token x 10^6 / 3.6 x 10^6

Seconds per token hold everything that a request takes: its prompt is read too. Watts come from
the person's own meter, from the machine's counters, or from the published power of the board: that
is the most it draws, so the figure is an upper bound. Left out: what the counters do not hold, or
the rest of the machine where only the board's power is known, cooling, and what a machine is worth
when it is sold.
"""

from math import inf
from typing import Final

from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.selection.money import Money
from hakaru.units import Figure

JOULES_PER_KWH: Final = 3.6e6
MILLION: Final = 10**6
DAYS_PER_MONTH: Final = 365.25 / 12
SECONDS_PER_DAY: Final = 86400


class Prices(Struct, frozen=True, kw_only=True):
    """What the person pays."""

    electricity: Money | None = None  # per kWh
    cloud: Money | None = None  # per million tokens of answers, at a provider
    machine: Money | None = None  # of the machine, once
    tokens_per_day: float | None = None  # of answers, over all users; None: as many as it writes
    watts: float | None = None  # of the machine while it answers; None: as measured, else published

    def __post_init__(self) -> None:
        currencies = {p.currency for p in (self.electricity, self.cloud, self.machine) if p}
        if len(currencies) > 1:
            raise Misuse(
                "the prices are in {found}; expected one currency: exchange them first, since no "
                "rate is assumed.",
                found=" + ".join(sorted(currencies)),
            )
        if self.machine and not (self.cloud and self.electricity):
            raise Misuse(
                "`price` alone says nothing: the machine pays for itself beside a `cloud` price "
                "and the price of `electricity`."
            )


class Cost(Struct, frozen=True, kw_only=True):
    """What a million tokens of answers take."""

    kwh: Figure  # per million tokens; at most, where the power is the board's published one
    watts: Figure  # measured here, published for the boards, or the person's word (assumed)
    electricity: Figure | None = None  # money per million tokens
    currency: str | None = None
    tokens_to_break_even: float | None = None  # infinite: never; None: not asked
    months_to_break_even: float | None = None  # the same, at `tokens_per_day`
    tokens_per_day: float | None = None  # what the months rest on

    def as_json(self) -> dict[str, object]:
        """The object `cost` of a row. A machine that never pays for itself has null there."""
        return {
            "kwh_per_million_tokens": self.kwh.as_json(),
            "watts": self.watts.as_json(),
            "electricity_per_million_tokens": self.electricity.as_json()
            if self.electricity
            else None,
            "currency": self.currency,
            "tokens_to_break_even": _finite(self.tokens_to_break_even),
            "months_to_break_even": _finite(self.months_to_break_even),
            "tokens_per_day": self.tokens_per_day,
        }


def energy_at(watts: Figure, tokens_per_s: Figure) -> Figure:
    """Joules per token of a machine that draws `watts` while it answers."""
    low, high = tokens_per_s.low, tokens_per_s.high
    return Figure(
        value=watts.value / tokens_per_s.value,
        low=None if high is None else watts.lowest / high,
        high=watts.highest / low if low else None,
        unit="J",
        source="computed",
    )


def cost_of(watts: Figure, tokens_per_s: Figure, prices: Prices) -> Cost:
    """The cost of a million tokens of a machine that draws `watts` while it answers. The speed is
    of answers over all users, with everything counted that a request takes. Raises Misuse for more
    `tokens_per_day` than the machine writes.
    """
    kwh = _scaled(energy_at(watts, tokens_per_s), MILLION / JOULES_PER_KWH, "kWh")
    if not prices.electricity:
        return Cost(kwh=kwh, watts=watts)
    electricity = _scaled(kwh, prices.electricity.amount, prices.electricity.currency)
    tokens, months, daily = _break_even(electricity.value, tokens_per_s.value, prices)
    return Cost(
        kwh=kwh,
        watts=watts,
        electricity=electricity,
        currency=prices.electricity.currency,
        tokens_to_break_even=tokens,
        months_to_break_even=months,
        tokens_per_day=daily,
    )


def _scaled(figure: Figure, factor: float, unit: str) -> Figure:
    return Figure(
        value=figure.value * factor,
        low=None if figure.low is None else figure.low * factor,
        high=None if figure.high is None else figure.high * factor,
        unit=unit,
        source=figure.source,
    )


def _break_even(
    per_million: float, tokens_per_s: float, prices: Prices
) -> tuple[float | None, float | None, float | None]:
    """Tokens and months after which the machine has paid for itself, and the tokens per day behind
    the months.
    """
    if not prices.cloud or not prices.machine:
        return None, None, None
    most = tokens_per_s * SECONDS_PER_DAY
    daily = most if prices.tokens_per_day is None else prices.tokens_per_day
    if daily > most:
        raise Misuse(
            "`tokens_per_day` is {found:,.0f}, but at {speed:,.1f} tokens/s the machine writes "
            "{most:,.0f} in a day.",
            found=daily,
            speed=tokens_per_s,
            most=most,
        )
    saved = prices.cloud.amount - per_million
    tokens = prices.machine.amount / saved * MILLION if saved > 0 else inf
    return tokens, tokens / daily / DAYS_PER_MONTH if daily else inf, daily


def _finite(value: float | None) -> float | None:
    return None if value in (None, inf) else value
