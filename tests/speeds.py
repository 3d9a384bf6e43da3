"""Speeds that were never measured, for tests of what follows from them."""

from hakaru.evaluation.speed import Speed
from hakaru.units import Figure


def speed_of(decode: float, *, prefill: float = 1.0, spread: float = 0.02) -> Speed:
    """Rates with so much to either side."""

    def figure(value: float) -> Figure:
        return Figure(
            value=value,
            unit="x",
            source="measured",
            low=(1 - spread) * value,
            high=(1 + spread) * value,
        )

    return Speed(
        decode_tokens_per_s=figure(decode),
        prefill_tokens_per_s=figure(prefill),
        first_token_ms=figure(1),
        n_prompt=1,
        n_predict=1,
        repeats=6,
    )
