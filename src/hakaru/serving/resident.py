"""One model of several that a server answers for: what it is, and its engine while it is loaded."""

import os
from contextlib import suppress
from typing import Any

import psutil
from msgspec.structs import asdict, replace

from hakaru.engine.mode import Mode
from hakaru.errors import MachineError
from hakaru.hardware.machine import Machine
from hakaru.planning.answer import Fit
from hakaru.servers import Deployment, engine_bytes
from hakaru.serving.entrance import Entrance
from hakaru.serving.forwarding import Forwarding
from hakaru.serving.kept_engine import KeptEngine
from hakaru.serving.limits import Limits, limits_of
from hakaru.serving.log_file import LogFile
from hakaru.serving.serve import ToServe
from hakaru.serving.serve_at import Loaded, check_load, supervised
from hakaru.serving.short_of_memory import loaded_somehow
from hakaru.serving.supervisor import Supervisor
from hakaru.serving.trusted_files import check_trusted, files_loaded
from hakaru.session import Session


class Resident:
    """A model, loaded or not. `start` and `stop` block; `engine` is there between them."""

    def __init__(
        self, what: ToServe, place: int, address: dict[str, Any], queue: int | None
    ) -> None:
        self.what, self._queue = what, queue
        self.name = what.mode.name_of(what.model.path)
        self.limits: Limits = limits_of(what.model, what.settings)
        self.fit: Fit | None = None  # the plan by which it is loaded
        self.engine: Forwarding[KeptEngine] | None = None
        self.n_wanting = 0  # requests that name it, and have no answer on its way yet
        self._supervisor: Supervisor | None = None
        self.deployment = Deployment(
            pid=os.getpid(), started=psutil.Process().create_time(), place=place, **address,
            model=self.name, path=str(what.model.path),
            settings=asdict(what.settings) | what.mode.as_record(), is_loaded=False,
        )  # fmt: skip

    @property
    def is_ready(self) -> bool:
        """True if a request can go to the engine, or soon can."""
        return self.engine is not None and self.engine.upstream.state in {"ready", "loading"}

    @property
    def is_idle(self) -> bool:
        """True if it is loaded, and nobody would miss it now."""
        return self.engine is not None and self.engine.in_flight.is_idle and not self.n_wanting

    @property
    def idle_s(self) -> float:
        """For how long nobody asked; 0 for what is asked, or not loaded."""
        return (self.engine.in_flight.idle_s or 0.0) if self.engine and self.is_idle else 0.0

    def as_json(self) -> dict[str, Any]:
        """What `/health` tells of it."""
        if self.engine:
            return {
                "status": self.engine.upstream.supervisor.state
            } | self.engine.in_flight.as_json()
        state = "loading" if self.n_wanting else "unloaded"
        return {"status": state, "answering": 0, "waiting": self.n_wanting, "idle_s": None}

    def loaded(self, machine: Machine, entrance: Entrance) -> Loaded | None:
        """What a page tells of it; None while it is not loaded."""
        if not (self.engine and self.fit):
            return None
        return Loaded(
            supervisor=self.engine.upstream.supervisor,
            fit=self.fit,
            machine=machine,
            entrance=entrance,
        )

    def start(
        self, plan: tuple[Fit, Mode], session: Session, log: LogFile, *, memory: str | int | None
    ) -> None:
        """Load the model as planned, or with less where memory runs out; `memory` is its limit.
        Raises EngineDied or EngineRefused if it does not come up.
        """

        def load(fit: Fit, mode: Mode) -> None:
            self._start(fit, mode, session, log)

        heard = replace(session, warn=log.gateway_and(session.warn))
        loaded_somehow(load, *self.what, heard, plan=plan, memory=memory)

    def _start(self, fit: Fit, mode: Mode, session: Session, log: LogFile) -> None:
        files = files_loaded(self.what.model, mode)
        remember_new = check_trusted(files, session.ledger)
        supervisor = self._supervisor = supervised(
            self.what.model,
            fit,
            mode,
            files,
            on_event=log.gateway_and(session.warn),
            on_line=lambda line: log.engine(f"[{self.name}] {line}"),
        )
        supervisor.start()
        check_load(supervisor, self.what.model, fit, session)
        remember_new()
        self.fit, self.limits = fit, limits_of(self.what.model, fit.settings)
        self.engine = Forwarding(
            KeptEngine(supervisor), self.limits, queue=self._queue, log=log.gateway
        )
        supervisor.on_again = self._announce_loaded
        self._announce_loaded()

    def stop(self) -> None:
        """End the engine, also one that is being started."""
        self.engine, self.fit = None, None
        if supervisor := self._supervisor:
            supervisor.stop()
        self.announce()

    def announce(self) -> None:
        """Write the record of a model that is not loaded."""
        self.deployment = replace(self.deployment, is_loaded=False, engine=None)
        with suppress(MachineError):
            self.deployment.announce()

    def _announce_loaded(self) -> None:
        if not (supervisor := self._supervisor) or not self.fit:
            return
        loaded = replace(
            self.deployment,
            is_loaded=True,
            engine=supervisor.server.process.pid,
            settings=asdict(supervisor.settings) | supervisor.mode.as_record(),
            grows_bytes=self.fit.growth.total_bytes,
        )
        self.deployment = replace(loaded, own_bytes=engine_bytes(loaded))
        with suppress(MachineError):
            self.deployment.announce()
