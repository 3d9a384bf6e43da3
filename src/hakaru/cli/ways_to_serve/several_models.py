"""`hakaru serve A B`, and `--idle`: models that come and go while the server runs."""

from hakaru.cli.staying import stay
from hakaru.cli.ways_to_serve import ServeOptions
from hakaru.errors import Misuse
from hakaru.language import listed
from hakaru.serving.by_hand import AS_HAKARU_CHOOSES
from hakaru.serving.entrance import Entrance
from hakaru.serving.serve_at import Pages
from hakaru.serving.serve_several import serve_several
from hakaru.session import Session


def serve_many(
    options: ServeOptions, session: Session, entrance: Entrance, pages: Pages | None
) -> int:
    """Serve models by their names. Raises Misuse for what is said of one model."""
    of_one = {
        "alias": options.alias,
        "chat_template": options.chat_template,
        "dry_run": options.dry_run or None,
        "generate": options.generate,
    }
    given = [f"`{name}`" for name, value in of_one.items() if value is not None]
    if given or options.by_hand() != AS_HAKARU_CHOOSES:
        raise Misuse(
            "{options} is for one model that stays loaded; leave it out with several models and "
            "with `idle`.",
            options=listed(given) or "-t, -ngl, `draft`, `mmproj`, --temp …",
        )
    serving = serve_several(
        options.models,
        port=options.port,
        private=options.private,
        memory=options.memory,
        idle_s=options.idle,
        allow_origin=options.allow_origin,
        queue=options.queue,
        pages=pages,
        entrance=entrance,
        session=session,
        **options.as_context(),
    )
    return stay(serving, has_pages=pages is not None, drain_s=options.drain)
