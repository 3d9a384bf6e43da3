"""A model that is being served: its address, the record by which other commands find it, and the
loop that serves it.
"""

import json
import os
import socket
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from hakaru.engine.mode import Mode
from hakaru.errors import Interrupted, MachineError
from hakaru.formats.split import part_names
from hakaru.hardware.machine import Machine
from hakaru.language import say
from hakaru.memory.settings import ContextSettings
from hakaru.places import run_dir, written_whole
from hakaru.serving.limits import Limits
from hakaru.serving.supervisor import Supervisor

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

Pages = Callable[[Supervisor], Sequence["BaseRoute"]]
HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 8600


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One running server, as its record in the run directory says."""

    pid: int
    started: float  # when the process began, since a later process may have the same number
    port: int
    model: str
    path: str
    settings: dict[str, object]
    grows_bytes: int = 0  # what the engine may take with use, beside `own_bytes`
    own_bytes: int = 0  # in the engine's memory when it was ready, without the model's file

    @property
    def url(self) -> str:
        """The base URL for OpenAI clients."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def is_alive(self) -> bool:
        """True while the process of the record runs; a later process with its number does not
        count.
        """
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) < 1
        except psutil.Error:
            return False

    def serves(self, path: Path, settings: ContextSettings, mode: Mode) -> bool:
        """True if the server serves this file with these settings and this template. A setting of
        None matches every value.
        """
        asked = {name: value for name, value in asdict(settings).items() if value is not None}
        same_template = self.settings.get("template") == mode.as_key().get("template")
        return self.path == str(path) and same_template and asked.items() <= self.settings.items()


def running() -> list[Deployment]:
    """The servers that run now, the latest first; records of dead ones are removed."""
    found = []
    for record in run_dir(make=False).glob("serve-*.json"):
        try:
            deployment = Deployment(**json.loads(record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue  # another process removes it, or another version wrote it
        if deployment.is_alive:
            found.append(deployment)
        else:
            record.unlink(missing_ok=True)
    return sorted(found, key=lambda d: -d.started)


def beside_servers(machine: Machine, parts: Collection[Path]) -> Machine:
    """The machine as if the weights that other servers of ours have mapped were taken. The system
    counts such memory as available, since it could read the weights again from the disk; but then
    those servers would crawl.

    `parts`: the files of the model that is to be loaded; a server of the same files shares its
    weights with the new one. What a server may take later (memory/growth.py) is not free either.
    """
    servers = running()
    held = sum(_mapped_bytes(server) for server in servers if Path(server.path) not in parts)
    held += sum(
        max(0, server.grows_bytes - max(0, _own_bytes(server.pid) - server.own_bytes))
        for server in servers
    )
    return replace(
        machine,
        memory=replace(
            machine.memory, available_bytes=max(0, machine.memory.available_bytes - held)
        ),
    )


def _own_bytes(pid: int) -> int:
    """Bytes that the engine, a child of the process `pid`, has in memory and shares with no file. 0
    if the system does not tell.
    """
    with suppress(psutil.Error, AttributeError):
        return sum(
            info.rss - info.shared
            for info in (engine.memory_info() for engine in psutil.Process(pid).children())
        )
    return 0


def _mapped_bytes(server: Deployment) -> int:
    """Bytes of the model's file that the engine of `server` has in memory; 0 where the system does
    not tell.
    """
    names = {str(Path(server.path).with_name(name)) for name in part_names(Path(server.path).name)}
    total = 0
    with suppress(psutil.Error, OSError, AttributeError):  # not every system tells what is mapped
        for engine in psutil.Process(server.pid).children():
            total += sum(area.rss for area in engine.memory_maps() if area.path in names)
    return total


def bound_socket(port: int | None) -> socket.socket:
    """A listening socket on loopback: at `port`; if None, at the default port, or at any free port
    if the default one is taken.

    Raises MachineError if the port that was asked for is in use.
    """
    for wanted in (port,) if port else (DEFAULT_PORT, 0):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, wanted))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if port or wanted == 0:
                raise MachineError(
                    "port {port} of {host} cannot be used ({reason}); choose another one with "
                    "`port`.",
                    port=wanted,
                    host=HOST,
                    reason=error.strerror,
                ) from error
        else:
            return listener
    raise AssertionError("the last port is any free one")


def serve_forever(
    supervisor: Supervisor,
    listener: socket.socket,
    *,
    limits: Limits,
    on_ready: Callable[[Deployment], None],
    pages: Pages | None = None,
    grows_bytes: int = 0,
) -> None:
    """Serve on `listener` until SIGINT or SIGTERM, which the caller turns into KeyboardInterrupt.
    The engine is started and ended here.

    `limits` bound the requests. `pages` makes the browser's routes. `grows_bytes` may be taken with
    use. Raises Interrupted if a signal comes before anybody could be served. Raises EngineDied if
    the engine does not come up, or dies too often.
    """
    from hakaru.serving.front import Front
    from hakaru.serving.gateway import make_gateway

    server = Front(make_gateway(supervisor, limits, pages(supervisor) if pages else ()), supervisor)
    deployment = Deployment(
        pid=os.getpid(),
        started=psutil.Process().create_time(),
        port=listener.getsockname()[1],
        model=supervisor.path.stem,
        path=str(supervisor.path),
        settings=asdict(supervisor.settings) | supervisor.mode.as_key(),
    )
    record = run_dir() / f"serve-{deployment.port}.json"
    serves = False
    try:
        supervisor.start(on_failed=lambda: setattr(server, "should_exit", True))
        serves = True
        deployment = replace(deployment, grows_bytes=grows_bytes, own_bytes=_own_bytes(os.getpid()))
        _write(record, deployment)
        on_ready(deployment)
        server.run(sockets=[listener])
    except KeyboardInterrupt as stop:
        if not serves:
            raise Interrupted(
                say("{model} was still being loaded: nothing was served.", model=deployment.model)
            ) from stop
        # otherwise it is the usual way to end a server
    finally:
        record.unlink(missing_ok=True)
        failed = supervisor.death if supervisor.state == "failed" else None
        supervisor.stop()
    if failed:
        raise failed


def _write(record: Path, deployment: Deployment) -> None:
    with written_whole(record) as part:
        part.write_text(json.dumps(asdict(deployment)), encoding="utf-8")
