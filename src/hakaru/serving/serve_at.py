"""A model served at given settings, for as long as a block lasts.

The engine is a child process that the supervisor keeps alive; the gateway before it answers in a
thread, so that the block may do what it likes. However the block ends, by Ctrl-C or an error, the
thread and the engine end with it.
"""

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import psutil
from msgspec import Struct, field
from msgspec.structs import asdict, replace

from hakaru import trust
from hakaru.engine.early import EarlyEngine
from hakaru.engine.mode import Gives, Mode
from hakaru.errors import EngineDied, Interrupted, MachineError, system_reason
from hakaru.evaluation.served import as_served, check_laid_out
from hakaru.hardware.machine import Machine
from hakaru.language import say
from hakaru.ledger import sha256_of
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.planning.answer import Fit
from hakaru.planning.dry_run import remember_load
from hakaru.servers import Deployment, engine_bytes, running
from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance
from hakaru.serving.log_file import LogFile
from hakaru.serving.port import bound_socket
from hakaru.serving.short_of_memory import loaded_somehow
from hakaru.serving.supervisor import Supervisor
from hakaru.serving.trusted_files import check_trusted, files_loaded
from hakaru.session import Session
from hakaru.signals import heeded

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from hakaru.serving.backend_pool import BackendPool
    from hakaru.serving.front import Engines, Front
    from hakaru.serving.serve_several import Several


class Loaded(Struct, frozen=True, kw_only=True):
    """A model that is served, for a page that tells of it."""

    supervisor: Supervisor
    fit: Fit  # the plan, by which the model was loaded
    machine: Machine
    entrance: Entrance = ON_THIS_MACHINE


class Elsewhere(Struct, frozen=True, kw_only=True):
    """Servers elsewhere that answer for this one, for a page that tells of them."""

    backends: "BackendPool"
    entrance: Entrance
    leave: tuple[str, ...]  # the machines that read prompts and are not this one


Pages = Callable[["Loaded | Several | Elsewhere"], Sequence["BaseRoute"]]
"""What a browser may see beside the API: the routes, made for what is served."""
ENDS_WITHIN_S: Final = 10.0
"""The longest wait for the gateway's thread when the block ends; it needs less than a second."""


class Serving(Struct, frozen=True, kw_only=True):
    """A model that answers at `url`."""

    deployment: Deployment
    gives: Gives  # text, vectors or an order of documents
    is_new: bool = True  # False: it was served before by another process, which goes on
    ended: threading.Event = field(default_factory=threading.Event)
    front: "Front | None" = None  # None where it is not new
    names: tuple[str, ...] = ()  # of the models, where there are several
    backends: tuple[str, ...] = ()  # URLs of the servers that answer, where none does here
    leave: tuple[str, ...] = ()  # those of them that are other machines: they read every prompt

    @property
    def url(self) -> str:
        """The base URL for OpenAI clients."""
        return self.deployment.url

    def wait(self) -> None:
        """Return when the model answers no more, since the engine died too often. The end of the
        block then raises the reason.
        """
        self.ended.wait()

    @property
    def n_answering(self) -> int:
        """Answers that are on their way."""
        return self.front.n_answering if self.front else 0

    def drain(self, within_s: float) -> None:
        """Let no connection in any more, and return when the answers on their way have ended; those
        that take longer than `within_s` seconds are cut off. A signal meanwhile cuts them, too.
        """
        if self.front:
            self.front.leave(within_s)
            self.ended.wait(within_s + ENDS_WITHIN_S)


@contextmanager
def serve_at(
    model: Model,
    settings: ContextSettings,
    mode: Mode,
    session: Session,
    *,
    port: int | None = None,
    memory: str | int | None = None,
    pages: Pages | None = None,
    origins: Sequence[str] = (),
    entrance: Entrance = ON_THIS_MACHINE,
    queue: int | None = None,
    warns_of_idle_gpu: bool = True,
) -> Iterator[Serving]:
    """Serve `model` while the block lasts; where it is served already, that server is taken.

    `port` None is the default port, or any free one. `memory` is the part of the free memory that
    may be used. `origins`: sites whose pages may use the server; with them, or with another
    `entrance` than this machine's, it is always a new one. `queue` requests may wait.
    Raises ModelDamaged for a file that is not the one that was served before, NothingLoaded (a
    DoesNotFit), MachineError for a port in use, EngineDied if
    the engine does not come up or dies too often, and Interrupted for Ctrl-C before it is up.
    """
    is_usual = not origins and entrance == ON_THIS_MACHINE
    if is_usual and (deployment := _served_already(model, settings, mode, port)):
        yield Serving(deployment=deployment, gives=mode.gives, is_new=False)
        return
    files = files_loaded(model, mode)
    remember_new = check_trusted(files, session.ledger)
    with listening(port, entrance) as (listener, log), ExitStack() as engines:
        at = Address(listener, log, entrance, pages, origins, queue)

        def load(fit: Fit, mode: Mode) -> Started:
            supervisor = supervised(
                model,
                fit,
                mode,
                files,
                on_event=log.gateway_and(session.warn),
                on_line=log.engine,
                early=session.early,
            )
            engines.callback(supervisor.stop)  # Ctrl-C may come before the gateway would do that
            return started(supervisor, fit, session.machine, at)

        loaded = loaded_somehow(
            load, model, settings, mode, session, memory=memory, warns_of_idle_gpu=warns_of_idle_gpu
        )
        with answering(loaded, at) as serving:
            check_load(loaded.supervisor, model, loaded.fit, session)
            remember_new()
            if (early := session.early) and not session.machine.devices:
                if early.was_taken:
                    log.gateway("the engine was started before its plan, which asked for the same")
                at_load = loaded.fit.total_bytes - loaded.fit.growth.prompts_bytes
                early.remember(loaded.supervisor.server, files, at_load)
            yield serving


def supervised(
    model: Model,
    fit: Fit,
    mode: Mode,
    files: Iterable[Path],
    *,
    on_event: Callable[[str], None],
    on_line: Callable[[str], None],
    before_restart: Callable[[], object] = lambda: None,
    early: EarlyEngine | None = None,
) -> Supervisor:
    """The supervisor of `model` as planned, not started yet. Before an engine that died is started
    again, `files` must still be those that are trusted.
    """

    def check() -> None:
        trust.check(files, sha256_of)
        before_restart()

    return Supervisor(
        model.path,
        fit.settings,
        as_served(fit, mode),
        on_event=on_event,
        on_line=on_line,
        before_restart=check,
        early=early,
    )


@contextmanager
def listening(port: int | None, entrance: Entrance) -> Iterator[tuple[socket.socket, LogFile]]:
    """A block in which an address is ours, with the log of the server there."""
    with (
        bound_socket(port, entrance.host) as listener,
        closing(LogFile(listener.getsockname()[1])) as log,
    ):
        yield listener, log


def _served_already(
    model: Model, settings: ContextSettings, mode: Mode, port: int | None
) -> Deployment | None:
    """A server that serves the model so, and asks nobody for a key."""
    for deployment in running():
        is_there = port in (None, deployment.port) and not deployment.key
        if is_there and deployment.serves(model.path, settings, mode):
            return deployment
    return None


def check_load(supervisor: Supervisor, model: Model, fit: Fit, session: Session) -> None:
    """Hold what was loaded against the plan, and remember what it took. Raises EngineRefused where
    it lies elsewhere.
    """
    mode = supervisor.mode
    check_laid_out(supervisor.server, fit)
    if mode.gives == "text" and not (mode.speculation or mode.projector):
        with suppress(MachineError):  # a full disk keeps nobody from serving
            remember_load(supervisor.server, model, machine=session.machine, ledger=session.ledger)


class Address(NamedTuple):
    """Where a server answers, whom, and what it shows."""

    listener: socket.socket
    log: LogFile
    entrance: Entrance
    pages: Pages | None
    origins: Sequence[str]
    queue: int | None


def _front(loaded: Loaded, at: Address) -> "Front":
    """The gateway before an engine that loads its model meanwhile."""
    from hakaru.serving.forwarding import Forwarding
    from hakaru.serving.front import Front  # a web framework, which nobody else needs
    from hakaru.serving.gateway import make_gateway
    from hakaru.serving.kept_engine import KeptEngine
    from hakaru.serving.limits import limits_of

    fit, supervisor = loaded.fit, loaded.supervisor
    limits = limits_of(fit.model, fit.settings, sees=supervisor.mode.projector is not None)
    routes = at.pages(loaded) if at.pages else ()
    engine = Forwarding(KeptEngine(supervisor), limits, queue=at.queue, log=at.log.gateway)
    gateway = make_gateway(engine, routes, at.origins, at.entrance)
    return Front(gateway, supervisor, at.entrance.certificate)


class Started(NamedTuple):
    """An engine that answers."""

    supervisor: Supervisor
    fit: Fit
    front: "Front"
    deployment: Deployment


@contextmanager
def answering(loaded: Started, at: Address) -> Iterator[Serving]:
    """The record of the engine written, and the gateway answering in a thread."""
    supervisor, _, front, deployment = loaded
    supervisor.on_failed = front.leave
    supervisor.on_again = partial(_announce_again, deployment, supervisor)
    serving = Serving(deployment=deployment, gives=supervisor.mode.gives, front=front)
    try:
        with in_thread(front, at.listener, serving.ended, supervisor):
            deployment.announce()
            at.log.gateway(f"{deployment.model} answers at {serving.url}")
            yield serving
    finally:
        deployment.record.unlink(missing_ok=True)
    if supervisor.gave_up and supervisor.death:
        raise supervisor.death


@contextmanager
def in_thread(
    front: "Front", listener: socket.socket, ended: threading.Event, engines: "Engines"
) -> Iterator[None]:
    """A block in which `front` answers on `listener`; `ended` is set when it does no more. With the
    block the engines end, too. Raises MachineError at its end where the system kept `front` from
    answering, such as without a file that it may open.
    """
    refused: list[OSError] = []

    def answer() -> None:
        try:
            front.run(sockets=[listener])
        except OSError as error:
            refused.append(error)
        finally:
            ended.set()

    thread = threading.Thread(target=answer, daemon=True)
    with heeded(signal.SIGINT):  # raised in the middle of an import, it would hold up the thread
        try:
            thread.start()
            yield
        finally:
            front.leave()
            try:
                if thread.ident:
                    thread.join(ENDS_WITHIN_S)
            finally:
                engines.stop()
    if refused:
        raise MachineError(
            "nobody is answered any more ({reason}); mend that, and start again.",
            reason=system_reason(refused[0]),
        ) from refused[0]


def started(supervisor: Supervisor, fit: Fit, machine: Machine, at: Address) -> Started:
    """Start the engine, and make the gateway while it loads."""
    name = supervisor.mode.name_of(supervisor.path)
    loaded = Loaded(supervisor=supervisor, fit=fit, machine=machine, entrance=at.entrance)
    made: list[Front] = []
    try:
        supervisor.start(meanwhile=lambda: made.append(_front(loaded, at)))
    except KeyboardInterrupt as stop:
        supervisor.stop()
        raise Interrupted(
            say("{model} was still being loaded: nothing was served.", model=name)
        ) from stop
    except BaseException:
        supervisor.stop()
        raise
    deployment = Deployment(
        pid=os.getpid(), started=psutil.Process().create_time(), model=name,
        path=str(supervisor.path),
        settings=asdict(supervisor.settings) | supervisor.mode.as_record(),
        engine=supervisor.server.process.pid, grows_bytes=fit.growth.total_bytes,
        **at.entrance.address_of(at.listener.getsockname()[1]),
    )  # fmt: skip
    deployment = replace(deployment, own_bytes=engine_bytes(deployment))
    return Started(supervisor, fit, made[0], deployment)


def _announce_again(deployment: Deployment, supervisor: Supervisor) -> None:
    """Write the record of an engine that was started again."""
    with suppress(MachineError, EngineDied):  # a full disk; or it has died already
        replace(deployment, engine=supervisor.server.process.pid).announce()
