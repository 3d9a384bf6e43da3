"""How fast a machine reads prompts, from files that were timed on it. Pure.

The time of a token is a sum: multiplications with weights, at a rate for each type, since kernels
of types differ threefold; a time for each layer; multiplications with keys and values; and a part
of a decoding step for each micro-batch, which fetches the weights once as a decoded token does.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from hakaru.formats.quant_types import BY_NAME
from hakaru.planning.pulled_squares import EXTRA, LOOSE_RATE, RARE, RATE, nearest, spread
from hakaru.planning.timed_file import TimedFile
from hakaru.planning.token_work import TokenWork

N_UBATCH: Final = 512
"""Tokens that the engine computes at a time, unless it is told otherwise."""
EXPECTED: Final = 0.17
"""Standard deviation of log seconds of a file that was not timed, with many that were. On two cores
of a virtual machine it was 0.22 with ten (benchmarks/calibrate.py).
"""
OF_UNTIMED: Final = 0.4
"""The same for weights of a type that no file held: on one processor F16 and Q4_1 took twice the
usual time, and Q5_K two thirds (docs/labbook.md).
"""


class PromptSpeed(Struct, frozen=True, kw_only=True):
    """How fast this machine reads prompts."""

    rates: Mapping[str, float]  # seconds per multiplication with a weight, by type
    usual: float  # seconds per multiplication with any other type
    layer_s: float  # seconds per token and layer
    attended_s: float  # seconds per multiplication with keys and values
    of_step: float  # the part of a decoding step that each micro-batch takes more
    spread: float  # standard deviation of the log of predicted seconds, of types that were timed

    def seconds(
        self, work: TokenWork, mean_depth: float, *, step_s: float = 0.0, n_prompt: int = N_UBATCH
    ) -> float:
        """Seconds per token that is read behind `mean_depth` others. `step_s` are those of a
        decoded token.
        """
        weights = sum(
            part * self.rates.get(type_, self.usual) for type_, part in parts_of(work.read).items()
        )
        attention = self.attended_s * work.attention_products(mean_depth)
        fetched = self.of_step * step_s / max(1, min(n_prompt, N_UBATCH))
        return weights * work.products + attention + self.layer_s * work.n_layer + fetched

    def spread_of(self, work: TokenWork) -> float:
        """The spread for a work, wider where no file held its types."""
        untimed = sum(n for t, n in parts_of(work.read).items() if t not in self.rates)
        return math.hypot(self.spread, OF_UNTIMED * untimed)


def parts_of(read: Mapping[str, float]) -> dict[str, float]:
    """The part of the weights in use that each type holds."""
    weights = {type_: n_bytes / BY_NAME[type_].bpw for type_, n_bytes in read.items()}
    whole = sum(weights.values())
    return {type_: n / whole for type_, n in weights.items()} if whole else {}


def prompt_speed(files: Sequence[TimedFile], step_s: Sequence[float]) -> PromptSpeed | None:
    """How fast prompts are read; None where no file noted it. `step_s` is what a decoded token of
    each file takes at an empty context.
    """
    noted = [
        (file, seconds, step)
        for file, step in zip(files, step_s, strict=True)
        if (seconds := file.prefill_seconds) and file.products
    ]
    if not noted:
        return None
    from statistics import median  # slow to import, and many machines timed nothing

    usual = median(s / f.products for f, s, _ in noted)
    unit = median(s / max(1, f.n_layer) for f, s, _ in noted)
    parts = [parts_of(f.read) for f, _, _ in noted]
    types = sorted({type_ for part in parts for type_ in part})
    rows = [
        [usual * f.products * part.get(type_, 0.0) / s for type_ in types]
        + [unit * f.n_layer / s, usual * f.prompt_attended / s]
        + [step / min(f.n_prompt, N_UBATCH) / s if f.n_prompt else 0.0]
        for (f, s, step), part in zip(noted, parts, strict=True)
    ]
    found = nearest(rows, [*[RATE] * len(types), EXTRA, LOOSE_RATE, RARE])
    layer, attended, of_step = found[len(types) :]
    return PromptSpeed(
        rates={type_: usual * rate for type_, rate in zip(types, found, strict=False)},
        usual=usual,
        layer_s=unit * layer,
        attended_s=usual * attended,
        of_step=of_step,
        spread=spread(rows, found, EXPECTED),
    )
