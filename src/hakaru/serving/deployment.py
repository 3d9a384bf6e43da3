"""A model that is being served: its address, and the loop that serves it."""

import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Final

import psutil

from hakaru.errors import Interrupted, MachineError
from hakaru.language import say
from hakaru.servers import HOST, Deployment, engine_bytes
from hakaru.serving.limits import Limits
from hakaru.serving.supervisor import Supervisor

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

Pages = Callable[[Supervisor], Sequence["BaseRoute"]]
DEFAULT_PORT: Final = 8600


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
    serves = False
    try:
        supervisor.start(on_failed=lambda: setattr(server, "should_exit", True))
        serves = True
        own_bytes = engine_bytes(os.getpid())
        deployment = replace(deployment, grows_bytes=grows_bytes, own_bytes=own_bytes)
        deployment.announce()
        on_ready(deployment)
        server.run(sockets=[listener])
    except KeyboardInterrupt as stop:
        if not serves:
            raise Interrupted(
                say("{model} was still being loaded: nothing was served.", model=deployment.model)
            ) from stop
        # otherwise it is the usual way to end a server
    finally:
        deployment.record.unlink(missing_ok=True)
        failed = supervisor.death if supervisor.state == "failed" else None
        supervisor.stop()
    if failed:
        raise failed
