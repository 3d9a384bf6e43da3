"""How fast this machine is, from files that were timed on it. Pure, and without numpy: `fit` asks.

The time of a decoded token is close to a sum: the bytes of each type that it reads, times the
seconds that a byte of the type takes here, and a time for each layer. Least squares of the relative
error, none below zero, give these from the timed files; each type is drawn to the usual rate, so
that a few files suffice, and a type that no file held has it. Reading a prompt has a rate of
multiplications for each type, and a time for each layer, found in the same way: kernels of types
differ more than twofold there. Which type a multiplication is with follows from the bytes that a
token reads of each.

Where a prediction for the kind of machine exists, it and the machine's own are weighed by their
spreads. Left out: that rates change with the number of threads and with other work.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any, Final

from hakaru.formats.quant_types import BY_NAME
from hakaru.planning.speed_assumed import for_several
from hakaru.planning.speed_figures import Basis, PredictedSpeed, SpeedPrediction
from hakaru.planning.token_work import TokenWork

SPREAD: Final = 0.2
"""Standard deviation of log seconds around a machine's own rates, before files were timed: assumed.
"""
SPREAD_COUNTS: Final = 2
"""How many timed files SPREAD counts for: assumed."""
DRAWN: Final = 0.2
"""How strongly a type is drawn to the usual rate; by 1 to a file that holds the type alone."""
ROUNDS: Final = 300
NINE_IN_TEN: Final = 1.645
"""Standard deviations on either side that hold nine of ten values of a normal distribution."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedFile:
    """One file that was timed here."""

    read: Mapping[str, float]  # bytes that one decoded token reads, by type
    seconds: float  # per decoded token
    n_layer: int = 0  # 0: not noted
    products: float = 0.0  # multiplications of a token with weights; 0: not noted
    prefill_seconds: float | None = None  # per token of a prompt

    def as_json(self) -> dict[str, Any]:
        """The form in which the ledger keeps it, as a `pace`."""
        return {
            "read": dict(self.read), "seconds": self.seconds, "n_layer": self.n_layer,
            "products": self.products, "prefill_seconds": self.prefill_seconds,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TimedFile":
        """The inverse of `as_json`. Rows of older ledgers lack the last three."""
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSpeed:
    """How fast this machine reads prompts."""

    rates: Mapping[str, float]  # seconds per multiplication with a weight, by type
    usual: float  # seconds per multiplication with any other type, and with keys and values
    layer_s: float  # seconds per token and layer
    spread: float  # as in `MachineSpeed`

    def seconds(self, work: TokenWork, mean_depth: float) -> float:
        """Seconds per token that is read behind `mean_depth` others."""
        weights = sum(
            part * self.rates.get(type_, self.usual) for type_, part in _parts(work.read).items()
        )
        attention = self.usual * work.attention_products(mean_depth)
        return weights * work.products + attention + self.layer_s * work.n_layer


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSpeed:
    """How fast this machine reads each type, and computes."""

    rates: Mapping[str, float]  # seconds per byte, by type
    usual: float  # seconds per byte of any other type, and of keys and values
    layer_s: float  # seconds per layer
    spread: float  # standard deviation of the log of predicted seconds per token
    prompts: PromptSpeed | None  # None: not noted
    n_files: int

    def seconds(self, work: TokenWork, depth: float) -> float:
        """Seconds per token that is decoded behind `depth` others."""
        weights = sum(n * self.rates.get(type_, self.usual) for type_, n in work.read.items())
        kept = work.cache_bytes(depth) + 2 * work.state_bytes
        return weights + kept * self.usual + work.n_layer * self.layer_s

    def decode(self, work: TokenWork, depth: float, users: int = 1) -> PredictedSpeed | None:
        """Decoding by this machine's own rates alone, for each of `users` at the same time: each
        further token of a step costs what a token of a prompt costs. None for several users where
        no prompt was noted.
        """
        alone = self.seconds(work, depth)
        if users == 1:
            return self._figure(1 / alone, self.spread)
        if self.prompts is None:
            return None
        more = (users - 1) * self.prompts.seconds(work, 0)
        step = self.seconds(work.batch(users), depth) + more
        low, high = for_several((0.0, 0.0), alone, step, users)
        figure = self._figure(1 / step, self.spread)
        return PredictedSpeed(
            value=figure.value,
            low=figure.low * math.exp(low),
            high=figure.high * math.exp(high),
            basis=replace(figure.basis, users=users),
        )

    def prefill(self, work: TokenWork, mean_depth: float) -> PredictedSpeed | None:
        """Reading a prompt by this machine's own rate; None where no prompt was noted."""
        products = work.products + work.attention_products(mean_depth)
        if self.prompts is None or not products:
            return None
        return self._figure(1 / self.prompts.seconds(work, mean_depth), self.prompts.spread)

    def _figure(self, value: float, spread: float) -> PredictedSpeed:
        factor = math.exp(NINE_IN_TEN * spread)
        basis = Basis(n_timed=self.n_files)
        return PredictedSpeed(value=value, low=value / factor, high=value * factor, basis=basis)


def machine_speed(files: Sequence[TimedFile]) -> MachineSpeed | None:
    """The rates of a machine from the files that were timed on it; None without any."""
    if not files:
        return None
    whole = [sum(file.read.values()) for file in files]
    usual = math.exp(
        sum(math.log(file.seconds / n) for file, n in zip(files, whole, strict=True)) / len(files)
    )
    types = sorted({type_ for file in files for type_ in file.read})
    unit = median(usual * n / max(1, file.n_layer) for file, n in zip(files, whole, strict=True))
    rows = [
        [usual * file.read.get(type_, 0.0) / file.seconds for type_ in types]
        + [unit * file.n_layer / file.seconds]
        for file in files
    ]
    drawn_to = [1.0] * len(types) + [0.0]
    found = _nonnegative(rows, drawn_to)
    return MachineSpeed(
        rates={type_: usual * rate for type_, rate in zip(types, found, strict=False)},
        usual=usual,
        layer_s=unit * found[-1],
        spread=_spread(rows, found),
        prompts=_prompt_speed(files),
        n_files=len(files),
    )


def _prompt_speed(files: Sequence[TimedFile]) -> PromptSpeed | None:
    """How fast prompts are read; None where no file noted it."""
    noted = [f for f in files if f.prefill_seconds and f.products]
    seconds = [f.prefill_seconds or 0.0 for f in noted]
    if not noted:
        return None
    usual = median(s / f.products for s, f in zip(seconds, noted, strict=True))
    unit = median(s / max(1, f.n_layer) for s, f in zip(seconds, noted, strict=True))
    parts = [_parts(f.read) for f in noted]
    types = sorted({type_ for part in parts for type_ in part})
    rows = [
        [usual * f.products * part.get(type_, 0.0) / s for type_ in types] + [unit * f.n_layer / s]
        for s, f, part in zip(seconds, noted, parts, strict=True)
    ]
    found = _nonnegative(rows, [1.0] * len(types) + [0.0])
    return PromptSpeed(
        rates={type_: usual * rate for type_, rate in zip(types, found, strict=False)},
        usual=usual,
        layer_s=unit * found[-1],
        spread=_spread(rows, found),
    )


def _parts(read: Mapping[str, float]) -> dict[str, float]:
    """The part of the weights in use that each type holds."""
    weights = {type_: n_bytes / BY_NAME[type_].bpw for type_, n_bytes in read.items()}
    whole = sum(weights.values())
    return {type_: n / whole for type_, n in weights.items()} if whole else {}


def _spread(rows: Sequence[Sequence[float]], found: Sequence[float]) -> float:
    """The standard deviation of the log of the times, with what is assumed before any file."""
    off = [math.log(sum(map(_product, row, found)) or 1e-9) for row in rows]
    counts = SPREAD_COUNTS + len(rows)
    return math.sqrt((SPREAD_COUNTS * SPREAD**2 + sum(e * e for e in off)) / counts)


def errors_left_out(files: Sequence[TimedFile]) -> list[float]:
    """By how much each file decodes faster than the others let expect: 0.1 is 10%. Empty for fewer
    than two.
    """
    errors = []
    for i, file in enumerate(files):
        others = machine_speed([*files[:i], *files[i + 1 :]])
        if others:
            work = TokenWork(read=file.read, n_layer=file.n_layer)
            errors.append(others.seconds(work, 0) / file.seconds - 1)
    return errors


def _product(a: float, b: float) -> float:
    return a * b


def _nonnegative(rows: Sequence[Sequence[float]], drawn_to: Sequence[float]) -> list[float]:
    """The b >= 0 for which `rows @ b` is nearest to 1 and b to `drawn_to`, one coordinate at a
    time.
    """
    found = list(drawn_to)
    for _ in range(ROUNDS):
        for j, target in enumerate(drawn_to):
            strength = DRAWN**2 / (1 if target else 25)
            up, down = strength * target, strength
            for row in rows:
                rest = sum(map(_product, row, found)) - row[j] * found[j]
                up += row[j] * (1 - rest)
                down += row[j] ** 2
            found[j] = max(0.0, up / down)
    return found


def narrowed(
    prediction: SpeedPrediction, machine: MachineSpeed, work: TokenWork, *, n_prompt: int
) -> SpeedPrediction:
    """The prediction after what was timed on this machine."""
    prefill = machine.prefill(work, prediction.depth + n_prompt / 2)
    decode = machine.decode(work, prediction.depth, prediction.users)
    return SpeedPrediction(
        depth=prediction.depth,
        users=prediction.users,
        decode=weighed((prediction.decode, decode)),
        prefill=weighed((prediction.prefill, prefill)),
        why_no_prefill="" if prefill else prediction.why_no_prefill,
    )


def weighed(figures: Iterable[PredictedSpeed | None]) -> PredictedSpeed | None:
    """One speed from several, each with the weight of its spread; None if there is none."""
    known = [figure for figure in figures if figure]
    if len(known) < 2:
        return known[0] if known else None
    weights = [
        (2 * NINE_IN_TEN / math.log(max(figure.high / figure.low, 1.001))) ** 2 for figure in known
    ]
    logs = [math.log(math.sqrt(figure.low * figure.high)) for figure in known]
    mean = sum(map(_product, weights, logs)) / sum(weights)
    factor = math.exp(NINE_IN_TEN / math.sqrt(sum(weights)))
    value = math.exp(mean)
    basis = known[0].basis
    for figure in known[1:]:
        basis = basis + figure.basis
    return PredictedSpeed(value=value, low=value / factor, high=value * factor, basis=basis)
