"""`hakaru serve MODEL`: one model that stays loaded."""

from pathlib import Path

from hakaru.cli.next_steps import after_dry_run
from hakaru.cli.output import next_step, print_json, print_text
from hakaru.cli.ways_to_serve import ServeOptions
from hakaru.evaluation.served import as_served
from hakaru.language import say
from hakaru.serving.entrance import Entrance
from hakaru.serving.plan_to_load import plan_to_load
from hakaru.serving.serve import ToServe, serve, to_serve
from hakaru.serving.serve_at import Pages
from hakaru.session import Session


def serve_one(
    options: ServeOptions, session: Session, entrance: Entrance, pages: Pages | None
) -> int:
    """Serve the model."""
    from hakaru.cli.staying import stay  # it has much to say that no plan needs

    serving = serve(
        options.models[0],
        port=options.port,
        memory=options.memory,
        chat_template=options.chat_template,
        alias=options.alias,
        private=options.private,
        pages=pages,
        allow_origin=options.allow_origin,
        queue=options.queue,
        by_hand=options.by_hand(),
        entrance=entrance,
        session=session,
        **options.as_context(),
    )
    return stay(serving, has_pages=pages is not None, drain_s=options.drain)


def plan_one(options: ServeOptions, session: Session) -> int:
    """Tell what would be served, and how; nothing is loaded."""
    from hakaru.cli.tell.fit import print_fit  # with its tables
    from hakaru.engine.server import server_command

    to_load = model_to_serve(options, session)
    fit, mode = plan_to_load(*to_load, session, memory=options.memory)
    if options.json:
        mode = as_served(fit, mode)
        command = server_command(
            to_load.model.path, fit.settings, socket=Path("FOLDER/SOCKET"), mode=mode
        )
        print_json({"schema": "hakaru.serve/1", "command": command, "fit": fit.as_json()})
        return 0
    print_fit(fit, [])
    print_text(say("Dry run: nothing was loaded."))
    next_step(after_dry_run())
    return 0


def model_to_serve(options: ServeOptions, session: Session) -> ToServe:
    """The model, its settings and how the engine runs it. Raises Misuse."""
    return to_serve(
        options.models[0],
        options.chat_template,
        session,
        alias=options.alias,
        private=options.private,
        by_hand=options.by_hand(),
        **options.as_context(),
    )
