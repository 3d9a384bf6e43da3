"""Serve a model for any OpenAI client: the verb behind `hakaru serve`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Unpack

from msgspec.structs import replace

from hakaru.engine.isolation import is_private
from hakaru.engine.mode import Mode, checked_alias
from hakaru.engine.mode_of import mode_for
from hakaru.evaluation.taken_speculation import speculation_for
from hakaru.memory.context import Context, settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.models.sources.find import Reference, whole_model
from hakaru.serving.by_hand import AS_HAKARU_CHOOSES, ByHand
from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance
from hakaru.serving.origins import origin_of
from hakaru.serving.serve_at import Pages, Serving, serve_at
from hakaru.session import Session


class ToServe(NamedTuple):
    """What a server is started with."""

    model: Model
    settings: ContextSettings
    mode: Mode


@contextmanager
def serve(
    model: Reference,
    *,
    port: int | None = None,
    memory: str | int | None = None,
    chat_template: str | None = None,
    alias: str | None = None,
    private: bool | None = None,
    pages: Pages | None = None,
    allow_origin: Sequence[str] = (),
    entrance: Entrance = ON_THIS_MACHINE,
    queue: int | None = None,
    by_hand: ByHand = AS_HAKARU_CHOOSES,
    session: Session | None = None,
    **context: Unpack[Context],
) -> Iterator[Serving]:
    """Serve `model` at 127.0.0.1 while the block lasts.

    Example: `with serve("model.gguf", n_ctx=8192) as serving: print(serving.url)`.

    `port` None is 8600, or any free one. `memory` is the part of the free memory that may be used,
    such as "8GiB". `chat_template` names a format of llama.cpp's or a Jinja file, for a model
    without a template. `alias` is what clients call the model, instead of its file's name.
    `private` isolates the engine (engine/isolation.py): None wherever the system allows it. `pages`
    makes what a browser sees beside the API. `allow_origin` names sites, such as
    "http://localhost:3000", whose pages may use the server. `queue` requests may wait for their
    turn (None: 64 for each that is answered at once); the next one is a 429. `by_hand` sets
    threads, layers on accelerators, a draft, a projector and sampling. `entrance`
    (`entrance.entrance_for`) is another address, keys and TLS. A model that a server of ours serves
    already with these settings is not loaded again. However the block ends, no process stays.
    Raises what `whole_model`, `settings_for` and `serve_at` raise; what does not fit is a
    DoesNotFit, and nothing is loaded.
    """
    origins = [origin_of(name) for name in allow_origin]
    session = session or Session.here(keeps=False)
    what = to_serve(
        model, chat_template, session, alias=alias, private=private, by_hand=by_hand, **context
    )
    with serve_at(
        *what,
        session,
        port=port,
        memory=memory,
        pages=pages,
        origins=origins,
        entrance=entrance,
        queue=queue,
    ) as serving:
        yield serving


def to_serve(
    model: Reference,
    chat_template: str | None,
    session: Session,
    *,
    alias: str | None = None,
    private: bool | None = None,
    by_hand: ByHand = AS_HAKARU_CHOOSES,
    **context: Unpack[Context],
) -> ToServe:
    """The model that `model` names, with its settings and how its server is run."""
    isolated = is_private(private, note=session.note)
    whole = whole_model(model)
    mode = mode_for(whole, chat_template, warn=session.warn)
    name = checked_alias(alias) if alias is not None else None
    mode = replace(mode, alias=name, private=isolated)
    settings = settings_for(whole, **context)
    if mode.gives != "text":  # a text is pooled in one piece
        settings = replace(settings, n_ubatch=max(settings.n_ubatch, settings.tokens_each))
    else:
        mode = replace(mode, speculation=speculation_for(session, whole, settings))
    return ToServe(whole, settings, by_hand.applied(mode, whole))
