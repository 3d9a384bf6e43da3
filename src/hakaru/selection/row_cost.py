"""What a row costs: the energy and the money for a million tokens of answers in the task's traffic.
Pure.

The power is what the person's meter shows; else what this machine's own counters told while models
were timed (RAPL, NVML); else the sum of what the boards that hold layers draw at most. A row whose
layers lie in RAM alone has no published one: nobody knows what the rest of a machine draws.
"""

from collections.abc import Sequence

from msgspec import Struct

from hakaru.hardware.lookup import board_watts
from hakaru.selection.contender import Contender
from hakaru.selection.cost import Cost, Prices, cost_of
from hakaru.selection.traffic import Traffic
from hakaru.units import Figure


class PowerHere(Struct, frozen=True, kw_only=True):
    """What this machine drew while it answered, by its own counters; None: they told nothing."""

    on_gpu: Figure | None
    on_processor: Figure | None


def row_cost(
    row: Contender, traffic: Traffic, prices: Prices, here: PowerHere | None = None
) -> Cost | None:
    """The cost of a million tokens; None where the power or a speed is not known, or where nothing
    is written.
    """
    power, pace = _power(row, prices, here), answers_per_s(row, traffic)
    if not power or pace is None:
        return None
    return cost_of(power, pace, prices)


def _power(row: Contender, prices: Prices, here: PowerHere | None) -> Figure | None:
    """Watts: the person's word, else what was measured here, else what is published."""
    if prices.watts:
        return Figure(value=prices.watts, unit="W", source="assumed")
    used = [share.device.name for share in row.placement.shares if share.layers]
    on_gpu = bool(used and row.hardware.accelerators)
    if here and (measured := here.on_gpu if on_gpu else here.on_processor):
        return measured
    published = _boards_watts(used)
    return Figure(value=published, unit="W", source="published") if published else None


def answers_per_s(row: Contender, traffic: Traffic) -> Figure | None:
    """Tokens of answers per second, of all users together, while prompts are read, too: one after
    the other, and then all answers at the same time.
    """
    decode, prefill = row.speeds.decode, row.speeds.prefill
    if not decode or not prefill or not traffic.n_answer:
        return None

    def pace(reads: float, writes: float) -> float:
        n_prompt = traffic.users * traffic.n_prompt
        return traffic.users * traffic.n_answer / (n_prompt / reads + traffic.n_answer / writes)

    return Figure(
        value=pace(prefill.value, decode.value),
        low=pace(prefill.low, decode.low),
        high=pace(prefill.high, decode.high),
        unit="tokens/s",
        source="computed",
    )


def _boards_watts(names: Sequence[str]) -> float | None:
    """The published power of the accelerators with layers; None if one of them is not known."""
    powers = [board_watts(name) for name in names]
    known = [power for power in powers if power is not None]
    return sum(known) if names and len(known) == len(powers) else None
