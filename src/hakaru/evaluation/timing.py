"""How fast models are on this machine, through the server, and how much memory they really take.

Every function asks the ledger first. A figure that was measured while other programs computed is
returned, but the ledger does not keep it.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from msgspec import Struct, field
from msgspec.structs import replace

from hakaru.engine.server import EngineServer
from hakaru.evaluation.pace import bytes_read
from hakaru.evaluation.served import served
from hakaru.evaluation.speed import (
    DEPTHS,
    N_PREDICT,
    REPEATS,
    USERS,
    Point,
    Speed,
    measure_depths,
    measure_speed,
    measure_users,
)
from hakaru.evaluation.trial import Trial
from hakaru.evaluation.windows import TEST_VERSION
from hakaru.language import say
from hakaru.ledger import now
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.dry_run import remember_load
from hakaru.planning.timed_file import timed_file
from hakaru.planning.timed_here import remember_pace, remember_power, timed_here
from hakaru.planning.token_work import item_works, whole_work
from hakaru.session import Session

LEAST_PER_USER: Final = 256
"""Tokens of context that each of several users has at least."""


class Timing(Struct, frozen=True, kw_only=True):
    """Speeds in one session."""

    session: Session
    again: bool = False  # measure anew, once: figures from before `began` are not used
    began: str = field(default_factory=now)
    teaches_memory: bool = True  # False: what the loads took is not remembered

    def trial(
        self, model: Model, settings: ContextSettings, *, name: str = "", repeats: int = REPEATS
    ) -> Trial:
        """The speed of `model` here, and the memory that it really takes. `name` is what progress
        calls the model.
        """

        def measured() -> dict[str, Any]:
            return _measured(self, model, settings, name=name, repeats=repeats).as_json()

        trial = self.session.ledger.remembered(
            "trial",
            self._inputs(self.session.ledger.model_sha256(model), settings, repeats),
            measured,
            keeps=lambda trial: not trial["speed"]["contended"],
            since=self._since,
        )
        return Trial.from_json(trial)

    def known_trial(
        self, sha256: str, settings: ContextSettings, *, repeats: int = REPEATS
    ) -> Trial | None:
        """The trial of the file with this hash, if it was measured on this kind of machine."""
        inputs = self._inputs(sha256, settings, repeats)
        trial = self.session.ledger.recall("trial", inputs, since=self._since)
        return Trial.from_json(trial) if trial else None

    def deep(
        self, model: Model, settings: ContextSettings, speed: Speed, depth: int
    ) -> Point | None:
        """How fast `model` decodes behind `depth` tokens; None where so many tokens take too long
        to read.
        """

        def measured() -> list[Point]:
            with served(self.session, model, settings) as server:
                points = self._depths(server, model, speed, [depth])
            for point in points:
                remember_deep_pace(self.session, model, point)
            return points

        return next(iter(self._points("deep", model, settings, depth, measured)), None)

    def known_deep(self, sha256: str, settings: ContextSettings, depth: int) -> list[Point] | None:
        """What `deep` would recall of the file with this hash: one point, or an empty list where
        the tokens take too long to read. None where `deep` would measure.
        """
        inputs = {**self._inputs(sha256, settings, REPEATS), "depth": depth}
        points = self.session.ledger.recall("deep", inputs, since=self._since)
        return None if points is None else [Point.from_json(point) for point in points]

    def loads(self, model: Model, settings: ContextSettings, speed: Speed) -> list[Point]:
        """How fast `model` decodes behind long contexts, and for several users at the same time,
        who share the context.
        """
        most = max(USERS)
        shared = replace(
            settings, n_parallel=most, n_ctx=max(settings.n_ctx, most * LEAST_PER_USER)
        )

        step = say("speeds measured with several users at once")

        def measured() -> list[Point]:
            with served(self.session, model, settings) as server:
                points = self._depths(server, model, speed, DEPTHS)
            with served(self.session, model, shared) as server:
                return points + measure_users(
                    server, n_vocab=model.shape.n_vocab, progress=partial(self.session.watch, step)
                )

        return self._points("loads", model, settings, 0, measured)

    def _depths(
        self, server: EngineServer, model: Model, speed: Speed, depths: Sequence[int]
    ) -> list[Point]:
        return measure_depths(
            server,
            speed,
            n_vocab=model.shape.n_vocab,
            depths=depths,
            progress=partial(self.session.watch, say("speeds measured behind long contexts")),
        )

    def _points(
        self,
        kind: str,
        model: Model,
        settings: ContextSettings,
        depth: int,
        measured: Callable[[], list[Point]],
    ) -> list[Point]:
        sha256 = self.session.ledger.model_sha256(model)
        points = self.session.ledger.remembered(
            kind,
            {**self._inputs(sha256, settings, REPEATS), "depth": depth},
            lambda: [point.as_json() for point in measured()],
            keeps=lambda points: not any(point["contended"] for point in points),
            since=self._since,
        )
        return [Point.from_json(point) for point in points]

    @property
    def _since(self) -> str | None:
        return self.began if self.again else None

    def _inputs(self, sha256: str, settings: ContextSettings, repeats: int) -> dict[str, object]:
        return {
            **timed_here(self.session.machine),
            "model": sha256,
            "settings": settings.as_json(),
            "version": TEST_VERSION,
            "repeats": repeats,
        }


def _measured(
    timing: Timing, model: Model, settings: ContextSettings, *, name: str, repeats: int
) -> Trial:
    """The trial, measured now. The ledger keeps the memory that was really taken, and if no other
    program computed, the pace of the machine and its power.
    """
    step = say("speeds measured with {name}", name=name or model.path.stem)
    session = timing.session
    progress = partial(session.watch, step)
    progress(0, repeats + 1)  # the model is loaded before the first measurement
    with served(session, model, settings) as server:
        speed = measure_speed(
            server, n_vocab=model.shape.n_vocab, repeats=repeats, progress=progress
        )
        peak, on_gpu = server.peak_rss_bytes(), bool(server.log.accelerator_bytes())
        trial = Trial(speed=speed, memory=server.log.footprint(), peak_rss_bytes=peak)
        if timing.teaches_memory:
            remember_load(
                server, model, machine=session.machine, ledger=session.ledger, peak_rss_bytes=peak
            )
    if not speed.is_contended:
        remember_usual_pace(session, model, speed)
        if speed.watts:
            remember_power(session.ledger, session.machine, model, speed.watts, on_gpu=on_gpu)
    return trial


def remember_usual_pace(
    session: Session, model: Model, speed: Speed, *, calibrates: bool = False
) -> None:
    """Keep what a speed at an empty context says of the machine."""
    file = timed_file(
        whole_work(item_works(model.loaded, model.shape)),
        bytes_read(model.tensors, model.shape),
        decode_tokens_per_s=speed.decode_tokens_per_s.value,
        prefill_tokens_per_s=speed.prefill_tokens_per_s.value,
        n_prompt=speed.n_prompt,
        n_predict=speed.n_predict,
        calibrates=calibrates,
    )
    remember_pace(session.ledger, session.machine, model, file)


def remember_deep_pace(session: Session, model: Model, point: Point) -> None:
    """Keep what a speed behind a long context says of the machine; nothing where others computed.
    The prompt took as long as the first token did.
    """
    if point.is_contended or point.users > 1:
        return
    file = timed_file(
        whole_work(item_works(model.loaded, model.shape)),
        bytes_read(model.tensors, model.shape),
        decode_tokens_per_s=point.decode_tokens_per_s.value,
        prefill_tokens_per_s=1000 * point.depth / point.first_token_ms.value,
        n_prompt=point.depth,
        n_predict=N_PREDICT,
        depth=point.depth,
    )
    remember_pace(session.ledger, session.machine, model, file)
