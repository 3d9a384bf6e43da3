"""What a million tokens of the recommended row cost, as text."""

from math import isinf

from hakaru.language import say
from hakaru.selection.chosen import Chosen
from hakaru.selection.cost import Cost, Prices
from hakaru.selection.money import Money
from hakaru.units import Figure, three_digits


def cost_lines(chosen: Chosen) -> list[str]:
    """Energy, money, and when the machine has paid for itself; nothing without prices."""
    row, prices = chosen.recommended, chosen.prices
    if row is None or prices is None:
        return []
    cost = chosen.cost(row)
    if cost is None:
        return [
            say(
                "What its answers cost is not known: that takes predicted speeds of reading and of "
                "writing, and the power of its boards, or `watts`."
            )
        ]
    lines = [_energy(cost, prices)]
    if cost.electricity and cost.currency and prices.electricity:
        lines.append(
            say(
                "At {price} per kWh that is {value} ({low} to {high}).",
                price=prices.electricity,
                **_spelled(cost.electricity, cost.currency),
            )
        )
    if cost.electricity and prices.cloud:
        lines.append(_beside_cloud(cost, prices, prices.cloud))
    return lines


def _energy(cost: Cost, prices: Prices) -> str:
    figures = {
        "value": three_digits(cost.kwh.value),
        "low": three_digits(cost.kwh.lowest),
        "high": three_digits(cost.kwh.highest),
    }
    if prices.watts:
        return say(
            "A million tokens of answers, with their prompts, take {value} kWh ({low} to {high}) "
            "at {watts:g} W.",
            watts=prices.watts,
            **figures,
        )
    if cost.watts.source == "measured":
        return say(
            "A million tokens of answers, with their prompts, take {value} kWh ({low} to {high}) "
            "at {watts:.0f} W, measured here by the counters of its processors and GPUs; the rest "
            "of the machine is not counted.",
            watts=cost.watts.value,
            **figures,
        )
    return say(
        "A million tokens of answers, with their prompts, take at most {value} kWh ({low} to "
        "{high}): the published power of the boards; the rest of the machine is not counted.",
        **figures,
    )


def _spelled(figure: Figure, currency: str) -> dict[str, Money]:
    return {
        "value": Money(figure.value, currency),
        "low": Money(figure.lowest, currency),
        "high": Money(figure.highest, currency),
    }


def _beside_cloud(cost: Cost, prices: Prices, cloud: Money) -> str:
    line = say("Elsewhere they cost {cloud}.", cloud=cloud)
    machine, months, daily = prices.machine, cost.months_to_break_even, cost.tokens_per_day
    if machine is None or months is None or daily is None:
        return line
    if isinf(months):
        return say(
            "{line} A machine for {machine} never pays for itself: its electricity costs more.",
            line=line,
            machine=machine,
        )
    if prices.tokens_per_day is None:
        return say(
            "{line} If it wrote all day ({daily} tokens), a machine for {machine} would have paid "
            "for itself after {months:,.1f} months.",
            line=line,
            daily=three_digits(daily),
            machine=machine,
            months=months,
        )
    return say(
        "{line} With {daily} tokens a day, a machine for {machine} has paid for itself after "
        "{months:,.1f} months.",
        line=line,
        daily=three_digits(daily),
        machine=machine,
        months=months,
    )
