"""The entrance of the page at a server's root. The gateway knows its addresses from the start; what
answers there is imported when a browser first asks.

Most servers are asked by programs alone, and while one starts its engine needs the processors. The
import takes place in a thread, so that answers on their way go on meanwhile.
"""

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from hakaru.serving.callers import OpenRoute
from hakaru.serving.serve_at import Elsewhere, Loaded
from hakaru.web.addresses import FETCHING, OF_BACKENDS, OF_MODELS, ROOT, TO_FETCH

if TYPE_CHECKING:
    from hakaru.serving.serve_several import Several

Runnable = Callable[[str], str]
"""A command of hakaru, as a shell on this machine finds it from any folder."""


def page_routes(
    what: "Loaded | Several | Elsewhere", *, runnable: Runnable = str
) -> list[BaseRoute]:
    """The routes of the page, for the gateway in front of what is served."""
    page = _WhenAsked(partial(whole_page, what, runnable))
    is_elsewhere = isinstance(what, Elsewhere)
    pieces = OF_BACKENDS if is_elsewhere else OF_MODELS
    routes: list[BaseRoute] = [
        *(OpenRoute(path, page, methods=["GET"]) for path in ROOT),
        *(Route(path, page, methods=["GET"]) for path in pieces),
    ]
    if what.entrance.is_local and not is_elsewhere:
        routes.append(Route(FETCHING, page, methods=["GET", "POST"]))
        routes += (Route(path, page, methods=["POST"]) for path in TO_FETCH)
    return routes


def whole_page(what: "Loaded | Several | Elsewhere", runnable: Runnable) -> list[BaseRoute]:
    """The routes with what answers there, which is imported now."""
    if isinstance(what, Elsewhere):
        from hakaru.web.backends_page import backends_routes

        return backends_routes(what, runnable)
    from hakaru.web.models_page import served_routes

    return served_routes(what, runnable)


class _WhenAsked:
    """ASGI application of routes that are made, once, when somebody asks."""

    def __init__(self, make: Callable[[], Sequence[BaseRoute]]) -> None:
        self._make, self._making = make, Lock()
        self._made: Router | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = await run_in_threadpool(self._once)
        await answer(scope, receive, send)

    def _once(self) -> Router:
        with self._making:
            made = self._made = self._made or Router(self._make())
        return made
