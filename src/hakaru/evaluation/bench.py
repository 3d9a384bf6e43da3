"""Predicted against measured: the verb behind `hakaru bench`."""

from collections.abc import Sequence
from typing import Final, Unpack

from msgspec import Struct
from msgspec.structs import replace

from hakaru.evaluation.speed import N_PREDICT, N_PROMPT, Point, Speed
from hakaru.evaluation.timing import Timing
from hakaru.memory.context import Context, settings_for
from hakaru.models.model import Model
from hakaru.models.sources.find import Reference, whole_model
from hakaru.planning.answer import Fit
from hakaru.planning.fit_at import fit_at
from hakaru.planning.speed_figures import Sample, SpeedPrediction
from hakaru.planning.speed_of import speed_of
from hakaru.planning.timed_file import TimedFile
from hakaru.planning.timed_here import timed_files
from hakaru.session import Session

ROOM: Final = 256
"""Tokens of context beside the depth: for the prompt and the answer of a sample."""


class Benched(Struct, frozen=True, kw_only=True):
    """How fast a model is here, and how fast it was predicted to be."""

    model: Model
    predicted: SpeedPrediction  # before it was timed
    speed: Speed  # at an empty context
    deep: Point | None  # behind the depth; None for depth 0, and where that takes too long

    @property
    def decode_tokens_per_s(self) -> float:
        """Measured behind the depth that was predicted; at an empty context where that took too
        long.
        """
        return (self.deep or self.speed).decode_tokens_per_s.value

    def as_json(self) -> dict[str, object]:
        """The object of `hakaru bench --json`."""
        return {
            "schema": "hakaru.bench/1",
            "model": {"name": self.model.name, "path": str(self.model.path),
                "type": self.model.type_name},
            "predicted": self.predicted.as_json(),
            "measured": self.speed.as_json(),
            "behind": self.deep.as_json() if self.deep else None,
        }  # fmt: skip


def bench(
    model: Reference, *, depth: int = 0, session: Session | None = None, **context: Unpack[Context]
) -> Benched:
    """Time `model` through the server, behind `depth` tokens of context, beside what was predicted.

    The ledger keeps the speed, so that later predictions for this machine rest on it, too. Raises
    Misuse, ModelError, NothingLoaded and EngineError.
    """
    session = session or Session.here()
    found = whole_model(model)
    if "n_ctx" not in context and depth:
        context = {**context, "n_ctx": depth + ROOM}
    settings = settings_for(found, **context)
    answer = fit_at(
        found, settings, machine=session.machine, ledger=session.ledger, engine=session.lab
    )
    predicted = _predicted(answer, depth, timed_files(session.ledger, session.machine))
    timing = Timing(session=session, again=True)
    speed = timing.trial(found, settings, name=found.title).speed
    deep = timing.deep(found, settings, speed, depth) if depth else None
    return Benched(model=found, predicted=predicted, speed=speed, deep=deep)


def _predicted(answer: Fit, depth: int, files: Sequence[TimedFile]) -> SpeedPrediction:
    """What the samples will measure: the prompt at an empty context, and decoding behind the depth,
    or else behind that prompt.
    """
    sample = Sample(n_prompt=N_PROMPT, n_decoded=N_PREDICT)
    empty = speed_of(answer, 0, files, sample=sample)
    behind = speed_of(answer, depth or N_PROMPT, files, sample=sample)
    return replace(behind, depth=depth, prefill=empty.prefill, why_no_prefill=empty.why_no_prefill)
