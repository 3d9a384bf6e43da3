"""One file that was timed on a machine, as numbers: the row from which `machine_speed` learns.

Beside its speeds it says what a token asked for: bytes of weights by type, layers, keys and values.
So a file that was timed behind a long context, and a long prompt, are rows like any other. Pure.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict

from hakaru.planning.token_work import TokenWork


class TimedFile(Struct, frozen=True, kw_only=True):
    """One file that was timed here. What older ledgers did not note is 0 or None."""

    read: Mapping[str, float]  # bytes that one decoded token reads, by type
    seconds: float  # per decoded token
    n_layer: int = 0
    products: float = 0.0  # multiplications of a token with weights
    prefill_seconds: float | None = None  # per token of a prompt
    depth: int = 0  # tokens of context that were asked for: 0 is a short prompt
    kept: float = 0.0  # bytes of keys, values and states for one decoded token
    attended: float = 0.0  # multiplications of a decoded token with keys and values
    n_prompt: int = 0  # tokens of the prompt
    prompt_attended: float = 0.0  # as `attended`, of the mean token of the prompt
    calibrates: bool = False  # chosen to tell one rate: nothing else tells it

    def as_json(self) -> dict[str, Any]:
        """The form in which the ledger keeps it, as a `pace`."""
        return {**asdict(self), "read": dict(self.read)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TimedFile":
        """The inverse of `as_json`."""
        return cls(**data)


def timed_file(
    work: TokenWork,
    read: Mapping[str, float],
    *,
    decode_tokens_per_s: float,
    prefill_tokens_per_s: float,
    n_prompt: int,
    n_predict: int,
    depth: int = 0,
    calibrates: bool = False,
) -> TimedFile:
    """The row of a model with `work` that read `n_prompt` tokens and then decoded `n_predict`.
    `depth` is what was asked for: 0 for the usual sample.
    """
    mean = n_prompt + n_predict / 2
    return TimedFile(
        read=read,
        seconds=1 / decode_tokens_per_s,
        n_layer=work.n_layer,
        products=work.products,
        prefill_seconds=1 / prefill_tokens_per_s,
        depth=depth,
        kept=work.cache_bytes(mean) + 2 * work.state_bytes,
        attended=work.attention_products(mean),
        n_prompt=n_prompt,
        prompt_attended=work.attention_products(n_prompt / 2),
        calibrates=calibrates,
    )
