"""`hakaru serve`, and the part of `hakaru up` that serves."""

import shlex
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from hakaru.cli.options import ServeOptions
from hakaru.cli.output import print_aside, warn
from hakaru.cli.terminal import terminal_session
from hakaru.engine.mode import Mode
from hakaru.engine.mode_of import mode_for
from hakaru.errors import MachineError
from hakaru.evaluation.served import laid_out
from hakaru.language import say
from hakaru.memory.context import settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.models.sources.find import whole_model
from hakaru.planning.dry_run import remember_load
from hakaru.planning.to_load import fit_to_load
from hakaru.servers import Deployment, running
from hakaru.serving.deployment import Pages, bound_socket, serve_forever
from hakaru.serving.limits import limits_of
from hakaru.serving.supervisor import Supervisor
from hakaru.session import Session


def run(options: ServeOptions, *, pages: Pages | None) -> int:
    """Serve a model file until Ctrl-C."""
    found = whole_model(options.model)
    mode = mode_for(found, options.chat_template, warn=warn)
    settings = settings_for(found, **options.as_context())
    if mode.gives != "text":
        settings = replace(
            settings, n_ubatch=max(settings.n_ubatch, settings.tokens_each)
        )  # a text is pooled in one piece
    if options.dry_run:
        from hakaru.engine.server import server_command

        session = terminal_session(aside=True, keeps=False)
        fit = fit_to_load(found, settings, session, memory=options.memory)
        print(
            shlex.join(
                server_command(
                    found.path, fit.settings, socket=Path("SOCKET"), mode=laid_out(fit, mode)
                )
            )
        )
        return 0
    return serve(found, settings, options.port, pages, memory=options.memory, mode=mode)


def serve(
    model: Model,
    settings: ContextSettings,
    port: int | None,
    pages: Pages | None,
    *,
    memory: str | None = None,
    mode: Mode | None = None,
    session: Session | None = None,
    quiet: bool = False,
    decided: bool = False,
) -> int:
    """Serve `model`, or say where it is already served. With `quiet` stdout is left alone. Returns
    3 if it does not fit.

    `decided`: a decision was told before, and with it what the engine leaves unused.
    """
    mode, session = mode or Mode(), session or terminal_session(aside=True, keeps=False)

    def tell(text: str) -> None:
        print(text, file=sys.stderr if quiet else sys.stdout, flush=True)

    def announce(deployment: Deployment) -> None:
        name, url = deployment.model, deployment.url
        if mode.gives == "embedding":
            tell(
                say(
                    "{model} gives vectors: POST {url}/embeddings  (Ctrl-C stops it)",
                    model=name,
                    url=url,
                )
            )
        elif mode.gives == "reranker":
            tell(
                say(
                    "{model} ranks documents: POST {url}/rerank  (Ctrl-C stops it)",
                    model=name,
                    url=url,
                )
            )
        else:
            with suppress(
                MachineError
            ):  # a ledger that cannot be written keeps nobody from serving
                remember_load(
                    supervisor.server, model, machine=session.machine, ledger=session.ledger
                )
            tell(say("{model} answers at {url}  (Ctrl-C stops it)", model=name, url=url))
            tell(say("Try it in another terminal: hakaru chat"))

    for deployment in running():
        if deployment.serves(model.path, settings, mode) and port in (None, deployment.port):
            tell(
                say("{model} already answers at {url}", model=deployment.model, url=deployment.url)
            )
            return 0
    with bound_socket(port) as listener:
        fit = fit_to_load(
            model,
            settings,
            replace(session, note=print_aside),
            memory=memory,
            warns_of_idle_gpu=not decided,
        )
        supervisor = Supervisor(
            model.path,
            fit.settings,
            laid_out(fit, mode),
            on_event=lambda text: print(f"hakaru: {text}", file=sys.stderr, flush=True),
        )
        serve_forever(
            supervisor,
            listener,
            limits=limits_of(model, fit.settings),
            on_ready=announce,
            pages=pages,
            grows_bytes=fit.growth.total_bytes,
        )
    tell(say("Stopped."))
    return 0
