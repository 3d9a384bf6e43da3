"""Who may ask: programs on this machine, who has a key, and the pages of sites that the person
named.

A browser sends the requests of every page that it shows, so an address on this machine protects
nobody by itself. The Host header must name this machine, also after DNS rebinding; the Origin
header must name this machine or a site of `--allow-origin`, whose pages also get the CORS headers
without which a browser hides the answer from them. Where other machines may ask, everybody needs a
key, and the server does not know by which names it is reached: there the Host header is not judged.
"""

from collections.abc import Sequence
from typing import Final

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance
from hakaru.serving.limits import MAX_BODY
from hakaru.serving.refusals import error_response, too_large

LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
OPEN: Final = frozenset({"/health"})
"""What is answered without a key. The list of models would tell strangers what is served."""
REMEMBERED_S: Final = 600
"""How long a browser may go without asking again whether a page may ask."""


class OpenRoute(Route):
    """A route that is answered without a key, as `OPEN` is: it tells nothing of this server but
    that it is hakaru, or judges the key by itself.
    """


def who_may_ask(
    origins: Sequence[str] = (),
    entrance: Entrance = ON_THIS_MACHINE,
    pages: Sequence[BaseRoute] = (),
) -> list[Middleware]:
    """The middleware that turns others away. `origins`: as `origins.origin_of` spells them. Of
    `pages` those are answered without a key that are an `OpenRoute`.
    """
    opened = OPEN | {page.path for page in pages if isinstance(page, OpenRoute)}
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        max_age=REMEMBERED_S,
    )
    callers = Middleware(OnlyCallers, origins=frozenset(origins), is_local=entrance.is_local)
    keys = Middleware(OnlyWithKey, entrance=entrance, opened=opened)
    # behind CORS, which a browser asks without a key
    return [callers, *([cors] if origins else []), *([keys] if entrance.digests else [])]


class OnlyCallers:
    """ASGI middleware: no route sees a request from another host, from the page of another site, or
    one that is too large or framed in two ways. Starlette's TrustedHostMiddleware answers in plain
    text; this answers as the API.
    """

    def __init__(self, app: ASGIApp, origins: frozenset[str], is_local: bool = True) -> None:
        self.app, self.origins, self.is_local = app, origins, is_local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (answer or self.app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        """The answer to a request that no route may see; None for the others."""
        headers, path = request.headers, request.scope["path"]
        if not path.isprintable():  # a route's pattern overlooks a line end behind a path
            return error_response(404, f"there is no {path!r}", code="not_found")
        host = headers.get("host", "")
        if self.is_local and not _is_local(host):
            return error_response(
                403,
                f"the Host header names '{host}'; this server answers on this machine only",
                code="forbidden_host",
            )
        origin = headers.get("origin")
        is_named = origin is not None and origin.lower() in self.origins
        page = origin.partition("://")[2] if origin else ""
        is_local = not origin or _is_local(page) or (not self.is_local and page == host)
        if not is_named and (not is_local or headers.get("sec-fetch-site") == "cross-site"):
            return error_response(
                403,
                f"pages from '{origin}' may not use this server; hakaru serve --allow-origin lets "
                "a site in",
                code="forbidden_origin",
            )
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers and "content-length" in headers:
            refused = error_response(
                400, "the request has both Content-Length and Transfer-Encoding", "bad_framing"
            )
            refused.headers["connection"] = "close"  # nobody knows where the next request begins
            return refused
        if not length.isdigit() or int(length) > MAX_BODY:
            return too_large(length, MAX_BODY)
        return None


class OnlyWithKey:
    """ASGI middleware: nothing but `opened` is answered to who has no key of `entrance`'s, as
    `Authorization: Bearer KEY` or, as Anthropic's clients send it, `x-api-key: KEY`.
    """

    def __init__(self, app: ASGIApp, entrance: Entrance, opened: frozenset[str] = OPEN) -> None:
        self.app, self.entrance, self.opened = app, entrance, opened

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asks = scope["type"] == "http" and scope["path"] not in self.opened
        is_refused = asks and not self.entrance.lets_in(key_in(Request(scope)))
        await (without_key() if is_refused else self.app)(scope, receive, send)


def without_key() -> Response:
    """The answer to who has no key, or a wrong one."""
    answer = error_response(
        401,
        "this server asks for a key: Authorization: Bearer KEY, or x-api-key: KEY; whoever runs it "
        "makes one with hakaru key add",
        "invalid_api_key",
    )
    answer.headers["www-authenticate"] = "Bearer"
    return answer


def key_in(request: Request) -> str | None:
    """The key of a request; None where it has none."""
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    return key.strip() if kind.lower() == "bearer" else request.headers.get("x-api-key")


def _is_local(host: str) -> bool:
    """Whether a host, with or without a port, is this machine. Names have no case, and may end with
    a dot; an IPv6 address keeps its brackets.
    """
    name, _, port = host.rpartition(":")
    name = name if name and port.isdigit() else host
    return name.lower().removesuffix(".") in LOCAL_HOSTS
