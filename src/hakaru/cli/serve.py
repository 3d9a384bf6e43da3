"""`hakaru serve`, and the part of `hakaru up` that serves."""

import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hakaru.cli.settings import settings_for
from hakaru.errors import MachineError
from hakaru.hardware.probe import probe_machine
from hakaru.language import say
from hakaru.memory.footprint import ContextSettings
from hakaru.models.model import read_model
from hakaru.models.sources.find import whole_model
from hakaru.serving.deployment import Deployment, Pages, bound_socket, running, serve_forever
from hakaru.serving.supervisor import Supervisor
from hakaru.tuning.check import remember_load
from hakaru.tuning.ledger import Ledger


def run(*, model: str, port: int | None, dry_run: bool, pages: Pages | None, **options: Any) -> int:
    """Serve a model file until Ctrl-C."""
    found = whole_model(model)
    settings = settings_for(found, **options)
    if dry_run:
        from hakaru.engine.server import server_command

        print(shlex.join(server_command(found.path, settings, socket=Path("SOCKET"))))
        return 0
    return serve(found.path, settings, port, pages)


def serve(path: Path, settings: ContextSettings, port: int | None, pages: Pages | None, *, quiet: bool = False) -> int:
    """Serve the model file at `path`, or say where it is already served. With `quiet` stdout is left alone."""

    def tell(text: str) -> None:
        print(text, file=sys.stderr if quiet else sys.stdout, flush=True)

    def announce(deployment: Deployment) -> None:
        with suppress(MachineError):  # a ledger that cannot be written keeps nobody from serving
            remember_load(supervisor.server, read_model(path), machine=probe_machine(), ledger=Ledger())
        tell(say("{model} answers at {url}  (Ctrl-C stops it)", model=deployment.model, url=deployment.url))
        tell(say("Try it in another terminal: hakaru chat"))

    for deployment in running():
        if deployment.serves(path, settings) and port in (None, deployment.port):
            tell(say("{model} already answers at {url}", model=deployment.model, url=deployment.url))
            return 0
    listener = bound_socket(port)
    supervisor = Supervisor(path, settings, on_event=lambda text: print(f"hakaru: {text}", file=sys.stderr, flush=True))
    serve_forever(supervisor, listener, on_ready=announce, pages=pages)
    tell(say("Stopped."))
    return 0
