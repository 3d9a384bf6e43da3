"""How fast this machine is, before any model of interest is on it: the work of `hakaru bench
--calibrate`.

The embedded model, whose small layers show what a layer costs, and a few models whose weights are
zero (`models.hollow_model`), one for each type, are served and timed in turn. The ledger keeps
their paces; every later prediction for this machine rests on them, and each model that is timed
later adds its own. What these loads take of the memory is not remembered: nobody serves such
models. Weights of zero are computed with like any others, but a GPU draws less power for them and
may clock a few percent higher.
"""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final

from msgspec import Struct

from hakaru.errors import ModelNotFound
from hakaru.evaluation.served import served
from hakaru.evaluation.speed import Speed, measure_depths, measure_speed
from hakaru.evaluation.timing import remember_deep_pace, remember_usual_pace
from hakaru.language import say
from hakaru.memory.settings import ContextSettings
from hakaru.models.embedded import embedded_model
from hakaru.models.hollow_model import write_hollow_model
from hakaru.models.model import Model, read_model
from hakaru.places import passing_dir
from hakaru.planning.machine_speed import MachineSpeed, machine_speed
from hakaru.planning.timed_here import timed_files
from hakaru.session import Session

TYPES: Final = (
    "Q4_K", "Q6_K", "Q8_0", "Q4_1", "Q5_K", "Q4_0", "IQ4_XS", "F16", "Q3_K", "MXFP4", "BF16",
    "Q5_0", "Q2_K", "IQ3_S",
)  # fmt: skip
"""The types of files that people run, the most usual first: Q4_K_M is made of the first two. Q4_1
is the embedded model's: without it, what its layers cost could not be told from what its weights
do. As many are timed as the time allows.
"""
FEW_LAYERS: Final = 6
MANY_LAYERS: Final = 24
FAST_TOKENS_PER_S: Final = 100.0
"""From this speed of a model with FEW_LAYERS on, the other models have MANY_LAYERS."""
REPEATS: Final = 3
DEEP: Final = 1024
"""Tokens of the long prompt, behind which is timed what attention takes."""
LONGEST_S: Final = 75.0
"""No model is begun after so many seconds: on a machine that is busy with other work, every sample
is taken several times.
"""
SETTINGS: Final = ContextSettings(n_ctx=2048)


class Timed(Struct, frozen=True, kw_only=True):
    """One model that was timed."""

    name: str
    n_bytes: int  # of its weights
    speed: Speed


class Calibrated(Struct, frozen=True, kw_only=True):
    """What a machine was found to be."""

    timed: tuple[Timed, ...]
    machine: MachineSpeed | None  # None: other programs computed all the while

    @property
    def gigabytes_per_s(self) -> float | None:
        """What decoding reads per second: bytes of the usual type."""
        return 1e-9 / self.machine.usual if self.machine else None

    def as_json(self) -> dict[str, object]:
        """The object of `hakaru bench --calibrate --json`."""
        return {
            "schema": "hakaru.calibration/1",
            "timed": [
                {"name": one.name, "weights_bytes": one.n_bytes, "speed": one.speed.as_json()}
                for one in self.timed
            ],
            "gigabytes_per_s": self.gigabytes_per_s,
            "n_timed": self.machine.n_files if self.machine else 0,
            "spread": self.machine.spread if self.machine else None,
        }


def calibrate(
    session: Session,
    hear: Callable[[Timed], object] = lambda _: None,
    clock: Callable[[], float] = monotonic,
) -> Calibrated:
    """Time the models, and keep their paces in the ledger. `hear` is called after each. Raises
    EngineError, and NothingLoaded where not even these models fit.
    """
    timed: list[Timed] = []

    def time_it(model: Model, name: str, *, is_deep: bool = False) -> Speed:
        speed = _speed(session, model, name, is_deep=is_deep)
        timed.append(Timed(name=name, n_bytes=model.weights_bytes, speed=speed))
        hear(timed[-1])
        return speed

    began, n_layer = clock(), FEW_LAYERS
    with suppress(ModelNotFound):  # the others suffice
        time_it(read_model(embedded_model()), say("the embedded model"))
    with tempfile.TemporaryDirectory(prefix="hakaru-", dir=passing_dir()) as folder:
        for type_name in TYPES:
            if clock() - began > LONGEST_S:
                break
            path = Path(folder) / f"{type_name}-{n_layer}.gguf"
            model = read_model(write_hollow_model(path, n_layer=n_layer, type_name=type_name))
            name = say("zeros in {type}", type=type_name)
            speed = time_it(model, name, is_deep=type_name == TYPES[0])
            if speed.decode_tokens_per_s.value > FAST_TOKENS_PER_S:
                n_layer = MANY_LAYERS
            path.unlink()
    machine = machine_speed(timed_files(session.ledger, session.machine))
    return Calibrated(timed=tuple(timed), machine=machine)


def _speed(session: Session, model: Model, name: str, *, is_deep: bool) -> Speed:
    """The speed of a model, which the ledger keeps unless others computed; if `is_deep`, also that
    behind a long prompt.
    """
    progress = partial(session.watch, say("speeds measured with {name}", name=name))
    with served(session, model, SETTINGS) as server:
        speed = measure_speed(
            server, n_vocab=model.shape.n_vocab, repeats=REPEATS, progress=progress
        )
        points = measure_depths(
            server,
            speed,
            n_vocab=model.shape.n_vocab,
            depths=(DEEP,) if is_deep else (),
            repeats=1,
            progress=progress,
        )
    if not speed.is_contended:
        remember_usual_pace(session, model, speed, calibrates=True)
        for point in points:
            remember_deep_pace(session, model, point)
    return speed
