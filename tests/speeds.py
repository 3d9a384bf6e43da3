"""Speeds that were never measured, for tests of what follows from them."""

from hakaru.evaluation.speed import Speed
from hakaru.units import Figure


def figure(value: float, spread: float) -> Figure:
    """So much to either side."""
    return Figure(
        value=value,
        unit="x",
        source="measured",
        low=(1 - spread) * value,
        high=(1 + spread) * value,
    )


def speed_of(decode: float, *, prefill: float = 1.0, spread: float = 0.02) -> Speed:
    """Rates with so much to either side."""
    return Speed(
        decode_tokens_per_s=figure(decode, spread),
        prefill_tokens_per_s=figure(prefill, spread),
        first_token_ms=figure(1, spread),
        n_prompt=1,
        n_predict=1,
        repeats=6,
    )
