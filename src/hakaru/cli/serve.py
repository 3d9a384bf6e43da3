"""`hakaru serve`, and the part of `hakaru up` that serves."""

import sys
from pathlib import Path
from typing import Any

from hakaru.cli.settings import settings_for
from hakaru.language import say
from hakaru.memory.footprint import ContextSettings
from hakaru.models.model import read_model
from hakaru.serving.deployment import Deployment, Pages, bound_socket, running, serve_forever
from hakaru.serving.supervisor import Supervisor


def run(*, model: Path, port: int | None, dry_run: bool, pages: Pages | None, **options: Any) -> int:
    """Serve a model file until Ctrl-C."""
    found = read_model(model)
    settings = settings_for(found, **options)
    if dry_run:
        from hakaru.engine.server import server_command

        print(" ".join(server_command(found.path, settings, socket=Path("SOCKET"))))
        return 0
    return serve(found.path, settings, port, pages)


def serve(path: Path, settings: ContextSettings, port: int | None, pages: Pages | None) -> int:
    """Serve the model file at `path`, or say where it is already served."""
    for deployment in running():
        if deployment.path == str(path) and deployment.n_ctx == settings.n_ctx and port in (None, deployment.port):
            print(say("{model} already answers at {url}", model=deployment.model, url=deployment.url))
            return 0
    listener = bound_socket(port)
    supervisor = Supervisor(path, settings, on_event=lambda text: print(f"hakaru: {text}", file=sys.stderr, flush=True))
    serve_forever(supervisor, listener, on_ready=_announce, pages=pages)
    print(say("Stopped."))
    return 0


def _announce(deployment: Deployment) -> None:
    print(say("{model} answers at {url}  (Ctrl-C stops it)", model=deployment.model, url=deployment.url), flush=True)
    print(say("Try it in another terminal: hakaru chat"), flush=True)
