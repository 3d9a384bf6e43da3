"""`hakaru serve`: the way in which what was typed is served."""

from hakaru.cli.terminal import terminal_session
from hakaru.cli.ways_to_serve import ServeOptions
from hakaru.engine.early import EarlyEngine
from hakaru.errors import Misuse
from hakaru.serving.serve_at import Pages


def run(options: ServeOptions, *, pages: Pages | None, early: EarlyEngine | None = None) -> int:
    """Serve until Ctrl-C. `early` is the engine of one model, which may run already. Each way is
    imported where it is taken, so that none waits for another's libraries.
    """
    if options.json and not options.dry_run:
        raise Misuse("--json goes with `dry_run` here: it prints the plan; leave it out to serve.")
    if not options.backend:
        _check_model(options)
    entrance = options.entrance()
    session = terminal_session(aside=True, keeps=False, early=early)
    if options.backend:
        from hakaru.cli.ways_to_serve.before_backends import serve_elsewhere

        return serve_elsewhere(options, session, entrance, pages)
    if options.cluster:
        from hakaru.cli.ways_to_serve.over_cluster import serve_over_cluster

        return serve_over_cluster(options, options.cluster, session, entrance, pages)
    if options.are_several:
        from hakaru.cli.ways_to_serve.several_models import serve_many

        return serve_many(options, session, entrance, pages)
    if options.generate:
        from hakaru.cli.ways_to_serve.as_service import print_service

        return print_service(options, session)
    from hakaru.cli.ways_to_serve.one_model import plan_one, serve_one

    if options.dry_run:
        return plan_one(options, session)
    return serve_one(options, session, entrance, pages)


def _check_model(options: ServeOptions) -> None:
    """Raises Misuse where nothing is named to be served, or keys of servers that are not."""
    if not options.models:
        raise Misuse("name a model to serve, or servers that answer instead with `backend`.")
    if options.backend_key_file:
        raise Misuse("`backend_key_file` goes with `backend`.")
