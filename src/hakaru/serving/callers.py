"""Who may ask: programs on this machine, and the pages of sites that the person named.

A browser sends the requests of every page that it shows, so an address on this machine protects
nobody by itself. The Host header must name this machine, also after DNS rebinding; the Origin
header must name this machine or a site of `--allow-origin`, whose pages also get the CORS headers
without which a browser hides the answer from them.
"""

from collections.abc import Sequence
from typing import Final

from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from hakaru.serving.limits import MAX_BODY
from hakaru.serving.refusals import error_response, too_large

LOCAL_HOSTS: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
REMEMBERED_S: Final = 600
"""How long a browser may go without asking again whether a page may ask."""


def who_may_ask(origins: Sequence[str] = ()) -> list[Middleware]:
    """The middleware that turns others away. `origins`: as `origins.origin_of` spells them."""
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["GET", "POST"],
        allow_headers=["*"],
        max_age=REMEMBERED_S,
    )
    return [Middleware(OnlyCallers, origins=frozenset(origins)), *([cors] if origins else [])]


class OnlyCallers:
    """ASGI middleware: no route sees a request from another host, from the page of another site, or
    one that is too large or framed in two ways. Starlette's TrustedHostMiddleware answers in plain
    text; this answers as the API.
    """

    def __init__(self, app: ASGIApp, origins: frozenset[str]) -> None:
        self.app, self.origins = app, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        answer = self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (answer or self.app)(scope, receive, send)

    def _refusal(self, request: Request) -> Response | None:
        """The answer to a request that no route may see; None for the others."""
        headers = request.headers
        host = headers.get("host", "")
        if not _is_local(host):
            return error_response(
                403,
                f"the Host header names '{host}'; this server answers on this machine only",
                code="forbidden_host",
            )
        origin = headers.get("origin")
        is_named = origin is not None and origin.lower() in self.origins
        is_local = origin is None or _is_local(origin.partition("://")[2])
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


def _is_local(host: str) -> bool:
    """Whether a host, with or without a port, is this machine. Names have no case, and may end with
    a dot; an IPv6 address keeps its brackets.
    """
    name, _, port = host.rpartition(":")
    name = name if name and port.isdigit() else host
    return name.lower().removesuffix(".") in LOCAL_HOSTS
