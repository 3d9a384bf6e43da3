"""How fast this machine is, from files that were timed on it. Pure, and without numpy: `fit` asks.

The time of a decoded token is close to a sum: the bytes of each type that it reads, times the
seconds that a byte of the type takes here, a time for each layer, and what keys and values take:
by their bytes, as on a GPU, or by the multiplications with them, as on a processor. Least squares
of the relative error, none below zero, give these from the timed files; each type is drawn to the
usual rate, so that a few files suffice, and a type that no file held has it. `prompt_speed` does
the same for prompts.

Where a prediction for the kind of machine exists, it and the machine's own are weighed by their
spreads. Left out: that rates change with the number of threads and with other work.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.planning.prompt_speed import PromptSpeed, prompt_speed
from hakaru.planning.pulled_squares import EXTRA, RATE, nearest, spread
from hakaru.planning.speed_assumed import for_several
from hakaru.planning.speed_figures import Basis, PredictedSpeed, Sample, SpeedPrediction
from hakaru.planning.timed_file import TimedFile
from hakaru.planning.token_work import TokenWork

EXPECTED: Final = 0.09
"""Standard deviation of log seconds of a file that was not timed, with many that were. On two cores
of a virtual machine it was 0.12 with ten (benchmarks/calibrate.py).
"""
OF_UNTIMED: Final = 0.25
"""The same for bytes of a type that no file held: assumed."""
MUCH: Final = 0.1
"""From this part of the bytes on, a type decides a file's speed."""
NINE_IN_TEN: Final = 1.645
"""Standard deviations on either side that hold nine of ten values of a normal distribution."""


class MachineSpeed(Struct, frozen=True, kw_only=True):
    """How fast this machine reads each type, and computes."""

    rates: Mapping[str, float]  # seconds per byte, by type
    usual: float  # seconds per byte of any other type
    layer_s: float  # seconds per layer
    kept_s: float  # seconds per byte of keys, values and states
    attended_s: float  # seconds per multiplication with keys and values
    spread: float  # standard deviation of the log of predicted seconds, of types that were timed
    prompts: PromptSpeed | None  # None: not noted
    n_files: int

    def seconds(self, work: TokenWork, depth: float) -> float:
        """Seconds per token that is decoded behind `depth` others."""
        weights = sum(n * self.rates.get(type_, self.usual) for type_, n in work.read.items())
        kept = self.kept_s * (work.cache_bytes(depth) + 2 * work.state_bytes)
        attended = self.attended_s * work.attention_products(depth)
        return weights + kept + attended + work.n_layer * self.layer_s

    def spread_of(self, work: TokenWork) -> float:
        """The spread for a work, wider where no file held its types."""
        untimed = sum(n for type_, n in work.read.items() if type_ not in self.rates)
        return math.hypot(self.spread, OF_UNTIMED * untimed / max(1.0, work.read_bytes))

    def decode(self, work: TokenWork, depth: float, users: int = 1) -> PredictedSpeed | None:
        """Decoding by this machine's own rates alone, for each of `users` at the same time: each
        further token of a step costs what a token of a prompt costs. None for several users where
        no prompt was noted.
        """
        alone, spread_ = self.seconds(work, depth), self.spread_of(work)
        if users == 1:
            return self._figure(1 / alone, spread_)
        if self.prompts is None:
            return None
        more = (users - 1) * self.prompts.seconds(work, 0)
        step = self.seconds(work.batch(users), depth) + more
        low, high = for_several((0.0, 0.0), alone, step, users)
        figure = self._figure(1 / step, spread_)
        return PredictedSpeed(
            value=figure.value,
            low=figure.low * math.exp(low),
            high=figure.high * math.exp(high),
            basis=replace(figure.basis, users=users),
        )

    def prefill(self, work: TokenWork, depth: float, n_prompt: int) -> PredictedSpeed | None:
        """Reading a prompt of `n_prompt` tokens behind `depth` others by this machine's own rate;
        None where no prompt was noted.
        """
        if self.prompts is None or not work.products:
            return None
        step_s = self.seconds(work, 0)
        seconds = self.prompts.seconds(work, depth + n_prompt / 2, step_s=step_s, n_prompt=n_prompt)
        return self._figure(1 / seconds, self.prompts.spread_of(work))

    def _figure(self, value: float, spread_: float) -> PredictedSpeed:
        factor = math.exp(NINE_IN_TEN * spread_)
        basis = Basis(n_timed=self.n_files)
        return PredictedSpeed(value=value, low=value / factor, high=value * factor, basis=basis)


def machine_speed(files: Sequence[TimedFile]) -> MachineSpeed | None:
    """The rates of a machine from the files that were timed on it; None without any."""
    if not files:
        return None
    from statistics import median  # slow to import, and many machines timed nothing

    whole = [sum(file.read.values()) for file in files]
    usual = median(file.seconds / n for file, n in zip(files, whole, strict=True))
    types = sorted({type_ for file in files for type_ in file.read})
    unit = median(file.seconds / max(1, file.n_layer) for file in files)
    attended = max(file.attended for file in files)
    of_attended = median(file.seconds for file in files) / attended if attended else 0.0
    rows = [
        [usual * file.read.get(type_, 0.0) / file.seconds for type_ in types]
        + [unit * file.n_layer / file.seconds, usual * file.kept / file.seconds]
        + [of_attended * file.attended / file.seconds]
        for file in files
    ]
    found = nearest(rows, [*[RATE] * len(types), EXTRA, RATE, EXTRA])
    layer, kept, multiplied = found[len(types) :]
    speed = MachineSpeed(
        rates={type_: usual * rate for type_, rate in zip(types, found, strict=False)},
        usual=usual,
        layer_s=unit * layer,
        kept_s=usual * kept,
        attended_s=of_attended * multiplied,
        spread=spread(rows, found, EXPECTED),
        prompts=None,
        n_files=len({tuple(sorted(file.read.items())) for file in files}),
    )
    steps = [speed.seconds(TokenWork(read=f.read, n_layer=f.n_layer), 0) for f in files]
    return replace(speed, prompts=prompt_speed(files, steps))


def errors_left_out(files: Sequence[TimedFile]) -> list[float]:
    """By how much a file decodes faster than the others let expect: 0.1 is 10%. Left out are files
    of a calibration, and files of which no other one holds the type: the speed of a type cannot be
    known from other types.
    """
    errors = []
    for file in files:
        others = [other for other in files if other.read != file.read]
        held = {type_ for other in others for type_ in _much(other)}
        if file.depth or file.calibrates or not others or not _much(file) <= held:
            continue
        machine = machine_speed(others)
        assert machine is not None
        work = TokenWork(read=file.read, n_layer=file.n_layer)
        seconds = machine.seconds(work, 0) + machine.kept_s * file.kept
        errors.append((seconds + machine.attended_s * file.attended) / file.seconds - 1)
    return errors


def _much(file: TimedFile) -> set[str]:
    """The types that decide a file's speed."""
    whole = sum(file.read.values())
    return {type_ for type_, n in file.read.items() if n >= MUCH * whole}


def narrowed(
    prediction: SpeedPrediction, machine: MachineSpeed, work: TokenWork, *, sample: Sample
) -> SpeedPrediction:
    """The prediction after what was timed on this machine."""
    prefill = machine.prefill(work, prediction.depth, sample.n_prompt)
    decode = machine.decode(work, prediction.depth + sample.n_decoded / 2, prediction.users)
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
    mean = sum(w * log for w, log in zip(weights, logs, strict=True)) / sum(weights)
    factor = math.exp(NINE_IN_TEN / math.sqrt(sum(weights)))
    value = math.exp(mean)
    basis = known[0].basis
    for figure in known[1:]:
        basis = basis + figure.basis
    return PredictedSpeed(value=value, low=value / factor, high=value * factor, basis=basis)
