"""A model that is being served: its address, the record by which other commands find it, and the loop that serves it."""

import json
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psutil

from hakaru.errors import MachineError
from hakaru.places import run_dir, written_whole
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
    port: int
    model: str
    path: str
    n_ctx: int

    @property
    def url(self) -> str:
        """The base URL for OpenAI clients."""
        return f"http://{HOST}:{self.port}/v1"

    @property
    def is_alive(self) -> bool:
        """Whether its process still runs."""
        return psutil.pid_exists(self.pid)


def running() -> list[Deployment]:
    """The servers that run now, the latest first; records of dead ones are removed."""
    found = []
    for record in sorted(run_dir().glob("serve-*.json"), key=lambda p: -p.stat().st_mtime):
        try:
            deployment = Deployment(**json.loads(record.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            continue  # another process removes it, or another version wrote it
        if deployment.is_alive:
            found.append(deployment)
        else:
            record.unlink(missing_ok=True)
    return found


def bound_socket(port: int | None) -> socket.socket:
    """A listening socket on loopback: at `port`, or at the default one, or at any free one if that is taken.

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
                    "port {port} of {host} cannot be used ({reason}); choose another one with --port.",
                    port=wanted,
                    host=HOST,
                    reason=error.strerror,
                ) from error
        else:
            return listener
    raise AssertionError("the last port is any free one")


def serve_forever(
    supervisor: Supervisor, listener: socket.socket, *, on_ready: Callable[[Deployment], None], pages: Pages | None = None
) -> None:
    """Serve on `listener` until SIGINT or SIGTERM. The engine is started here and ended with it; `pages` makes the browser's routes."""
    import uvicorn

    from hakaru.serving.gateway import make_gateway

    supervisor.start()
    deployment = Deployment(
        pid=os.getpid(),
        port=listener.getsockname()[1],
        model=supervisor.path.stem,
        path=str(supervisor.path),
        n_ctx=supervisor.settings.n_ctx,
    )
    record = run_dir() / f"serve-{deployment.port}.json"
    gateway = make_gateway(supervisor, pages(supervisor) if pages else ())
    config = uvicorn.Config(gateway, log_level="critical", access_log=False, timeout_graceful_shutdown=3)
    try:
        _write(record, deployment)
        on_ready(deployment)
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # the usual way to end a server
    finally:
        record.unlink(missing_ok=True)
        supervisor.stop()


def _write(record: Path, deployment: Deployment) -> None:
    with written_whole(record) as part:
        part.write_text(json.dumps(asdict(deployment)), encoding="utf-8")
