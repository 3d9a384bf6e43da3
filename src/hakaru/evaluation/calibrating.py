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
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Final

from hakaru.errors import ModelNotFound
from hakaru.evaluation.speed import Speed
from hakaru.evaluation.timing import Timing
from hakaru.language import say
from hakaru.memory.settings import ContextSettings
from hakaru.models.embedded import embedded_model
from hakaru.models.hollow_model import write_hollow_model
from hakaru.models.model import Model, read_model
from hakaru.places import passing_dir
from hakaru.planning.machine_speed import MachineSpeed, machine_speed
from hakaru.planning.timed_here import timed_files
from hakaru.session import Session

TYPES: Final = ("Q4_K", "Q6_K", "Q8_0", "Q4_0")
"""The types of most files that people run: Q4_K_M is made of the first two."""
FEW_LAYERS: Final = 6
MANY_LAYERS: Final = 24
FAST_TOKENS_PER_S: Final = 100.0
"""From this speed of a model with FEW_LAYERS on, the other models have MANY_LAYERS."""
REPEATS: Final = 2
LONGEST_S: Final = 60.0
"""No model is begun after so many seconds: on a machine that is busy with other work, every sample
is taken several times.
"""
SETTINGS: Final = ContextSettings(n_ctx=1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One model that was timed."""

    name: str
    n_bytes: int  # of its weights
    speed: Speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
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
    timing = Timing(session=session, again=True, teaches_memory=False)
    timed: list[Timed] = []

    def time_it(model: Model, name: str) -> Speed:
        speed = timing.trial(model, SETTINGS, name=name, repeats=REPEATS).speed
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
            speed = time_it(model, say("zeros in {type}", type=type_name))
            if speed.decode_tokens_per_s.value > FAST_TOKENS_PER_S:
                n_layer = MANY_LAYERS
            path.unlink()
    machine = machine_speed(timed_files(session.ledger, session.machine))
    return Calibrated(timed=tuple(timed), machine=machine)
