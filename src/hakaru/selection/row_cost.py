"""What a row costs: the energy and the money for a million tokens of answers in the task's traffic.
Pure.

The power is what the person's meter shows, or the sum of what the boards that hold layers draw at
most. A row whose layers lie in RAM alone has none of its own: nobody knows what the rest of a
machine draws.
"""

from hakaru.hardware.lookup import board_watts
from hakaru.selection.contender import Contender
from hakaru.selection.cost import Cost, Prices, cost_of, energy_at
from hakaru.selection.traffic import Traffic
from hakaru.units import Figure


def row_cost(row: Contender, traffic: Traffic, prices: Prices) -> Cost | None:
    """The cost of a million tokens for one user after another; None where the power or a speed is
    not known, or where nothing is written.
    """
    power = prices.watts or _boards_watts(row)
    pace = answers_per_s(row, traffic)
    if not power or pace is None:
        return None
    return cost_of(energy_at(power, pace), pace.value, prices)


def answers_per_s(row: Contender, traffic: Traffic) -> Figure | None:
    """Tokens of answers per second, while prompts are read, too."""
    decode, prefill = row.speeds.decode, row.speeds.prefill
    if not decode or not prefill or not traffic.n_answer:
        return None

    def pace(reads: float, writes: float) -> float:
        return traffic.n_answer / (traffic.n_prompt / reads + traffic.n_answer / writes)

    return Figure(
        value=pace(prefill.value, decode.value),
        low=pace(prefill.low, decode.low),
        high=pace(prefill.high, decode.high),
        unit="tokens/s",
        source="computed",
    )


def _boards_watts(row: Contender) -> float | None:
    """The published power of the accelerators with layers; None if one of them is not known."""
    used = [share.device.name for share in row.placement.shares if share.layers]
    powers = [board_watts(name) for name in used]
    known = [power for power in powers if power is not None]
    return sum(known) if used and len(known) == len(powers) else None
