"""`hakaru serve --backend URL`: a gateway before servers that run elsewhere."""

from typing import Final

from hakaru.cli.called import given
from hakaru.cli.staying import stay
from hakaru.cli.ways_to_serve import ServeOptions
from hakaru.errors import Misuse
from hakaru.language import listed
from hakaru.serving.entrance import Entrance
from hakaru.serving.serve_at import Pages
from hakaru.serving.serve_backends import serve_backends
from hakaru.session import Session

OF_BACKENDS: Final = frozenset(
    (
        "--allow-origin", "--api-key", "--api-key-file", "--backend", "--backend-key-file",
        "--backend-timeout", "--drain", "--host", "--insecure", "--port", "--queue", "--tls-cert",
        "--tls-key", "--trust-network",
    )
)  # fmt: skip
"""Options of a gateway before servers elsewhere."""


def serve_elsewhere(
    options: ServeOptions, session: Session, entrance: Entrance, pages: Pages | None
) -> int:
    """Serve what runs elsewhere. Raises Misuse for what is said of a model."""
    if wrong := [*options.models, *(option for option in given() if option not in OF_BACKENDS)]:
        raise Misuse(
            "{options}: not with `backend`, which has a model already; leave it out, or say it "
            "where the backend is started.",
            options=listed(wrong),
        )
    serving = serve_backends(
        options.backend,
        key_file=options.backend_key_file,
        trust_network=options.trust_network,
        silent_s=options.backend_timeout,
        port=options.port,
        allow_origin=options.allow_origin,
        queue=options.queue,
        pages=pages,
        entrance=entrance,
        session=session,
    )
    return stay(serving, has_pages=pages is not None, drain_s=options.drain)
