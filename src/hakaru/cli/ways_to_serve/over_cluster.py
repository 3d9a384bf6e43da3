"""`hakaru serve MODEL --cluster FILE`: one model over several machines."""

from pathlib import Path

from msgspec.structs import asdict

from hakaru.cli.next_steps import after_dry_run
from hakaru.cli.output import next_step, print_json, print_text
from hakaru.cli.paste import pasted
from hakaru.cli.staying import stay
from hakaru.cli.tell.cluster import print_starts
from hakaru.cli.tell.fit import print_fit
from hakaru.cli.ways_to_serve import ServeOptions
from hakaru.errors import Misuse
from hakaru.language import say
from hakaru.serving.by_hand import AS_HAKARU_CHOOSES
from hakaru.serving.entrance import Entrance
from hakaru.serving.serve_at import Pages
from hakaru.serving.serve_cluster import over_cluster, serve_cluster, starts_over
from hakaru.session import Session


def serve_over_cluster(
    options: ServeOptions, cluster: Path, session: Session, entrance: Entrance, pages: Pages | None
) -> int:
    """Serve over several machines. Raises Misuse for what only one machine has."""
    if options.by_hand() != AS_HAKARU_CHOOSES or options.private or options.memory is not None:
        raise Misuse(
            "over a cluster hakaru chooses threads, layers and memory, nothing guesses ahead, and "
            "the engine must reach its workers; leave such options out."
        )
    if options.generate or options.are_several:
        raise Misuse(
            "`cluster` is for one model that is served now; see the plan: {command}",
            command=pasted("hakaru", "fit", options.models[0], "--cluster", cluster),
        )
    if options.dry_run:
        return _plan(options, cluster, session)
    serving = serve_cluster(
        options.models[0],
        cluster,
        trust_network=options.trust_network,
        restart=options.restart,
        port=options.port,
        chat_template=options.chat_template,
        alias=options.alias,
        pages=pages,
        allow_origin=options.allow_origin,
        queue=options.queue,
        entrance=entrance,
        session=session,
        **options.as_context(),
    )
    return stay(serving, has_pages=pages is not None, drain_s=options.drain)


def _plan(options: ServeOptions, cluster: Path, session: Session) -> int:
    """Tell what would be started on which node; nothing is."""
    over = over_cluster(
        options.models[0],
        cluster,
        session,
        chat_template=options.chat_template,
        alias=options.alias,
        **options.as_context(),
    )
    *workers, server = starts_over(over, trust_network=options.trust_network)
    if options.json:
        told = {"command": server.command, "workers": [asdict(worker) for worker in workers]}
        print_json({"schema": "hakaru.serve/1", **told, "fit": over.plan.as_json()})
        return 0
    print_fit(over.plan, [])
    print_starts(workers, server)
    print_text(say("Dry run: nothing was loaded."))
    next_step(after_dry_run())
    return 0
