"""Fetching a model from the page: what the page posts, and what it is told.

Only a page of this very server may begin or stop it, only where no other machine reaches the
server, and only for models of the catalogue and the places where they are published: the server is
nobody's way into other addresses.
"""

import time
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.errors import HakaruError
from hakaru.language import say, use_language
from hakaru.pulling.whereabouts import entry_named
from hakaru.serving.refusals import error_response
from hakaru.units import format_bytes, time_left
from hakaru.web.fetching import Fetching, Stand
from hakaru.web.lineup import Lineup
from hakaru.web.pasted import shell_path
from hakaru.web.shared import PIECE, language_of, own_pages_only, posted


def fetching_routes(
    lineup: Lineup, fetching: Fetching, runnable: Callable[[str], str]
) -> list[BaseRoute]:
    """The routes: GET tells, POST begins, POST …/stop stops, and POST …/serve serves it, too."""

    def told(request: Request) -> Response:
        use_language(language_of(request))
        return JSONResponse(as_told(fetching.now, lineup, runnable), headers=PIECE)

    async def begin(request: Request, body: dict[str, Any]) -> Response:
        use_language(language_of(request))
        model = body.get("model")
        if not isinstance(model, str) or not _may_be_fetched(model, fetching.now):
            return error_response(
                400, "model: expected a model of the catalogue with a type", "invalid_value"
            )
        if not fetching.start(model):
            return error_response(
                409, f"{fetching.now.model} is being fetched; one at a time", "busy"
            )
        return told(request)

    async def stop(request: Request, body: dict[str, Any]) -> Response:
        fetching.stop()
        return told(request)

    async def serve(request: Request, body: dict[str, Any]) -> Response:
        use_language(language_of(request))
        pulled = fetching.now.pulled
        if lineup.adopt is None or pulled is None:
            return error_response(409, "there is nothing to serve", "nothing_fetched")
        try:
            name = await lineup.adopt(pulled.path)
        except HakaruError as error:
            return error_response(409, str(error), "not_served")
        return JSONResponse({"name": name}, headers=PIECE)

    return [
        Route("/fetching", own_pages_only(told)),
        Route("/fetching", posted(begin), methods=["POST"]),
        Route("/fetching/stop", posted(stop), methods=["POST"]),
        Route("/fetching/serve", posted(serve), methods=["POST"]),
    ]


def fetching_part() -> dict[str, str]:
    """The words of the panel, in the language in use."""
    return {
        "title": say("Fetching"),
        "stop": say("Stop"),
        "again": say("Try again"),
        "go_on": say("Go on"),
        "serve": say("Serve it here, too"),
        "served": say("{model} is served here, too: the first request that names it loads it."),
        "to_serve": say("To serve it:"),
    }


def _may_be_fetched(model: str, now: Stand) -> bool:
    name, _, type_ = model.partition(":")
    is_known = entry_named(name) is not None and type_.isascii() and bool(type_)
    return is_known or model in now.places


def as_told(now: Stand, lineup: Lineup, runnable: Callable[[str], str]) -> dict[str, Any]:
    """What the page shows, in the language in use."""
    told: dict[str, Any] = {"state": now.state, "model": now.model, "sentences": _sentences(now)}
    if now.state in {"fetching", "stopping"}:
        told["share"] = now.done / now.total if now.total else None
    if now.state == "asks":
        told["places"] = now.places
    if now.state == "done" and now.pulled:
        told["serves"] = lineup.are_several
        if model := now.pulled.model:
            told["command"] = runnable(f"hakaru serve {shell_path(model)}")
    return told


def _sentences(now: Stand) -> list[str]:
    """The first one is said to screen readers."""
    match now.state:
        case "none":
            return []
        case "fetching":
            return [say("Fetching {model} …", model=now.model), *_progress(now)]
        case "stopping":
            return [say("Stopping; the server that sends is waited for.")]
        case "asks":
            return [say("{word} is published at {n} places:", word=now.model, n=len(now.places))]
        case "stopped":
            return [
                say(
                    "Stopped. What came of {model} is kept: fetching it again goes on there.",
                    model=now.model,
                )
            ]
        case "failed":
            broken = say("It broke off; the reason stands in the server's terminal.")
            return [str(now.error) if now.error else broken]
        case "done":
            return _done(now)


def _progress(now: Stand) -> list[str]:
    told = []
    if now.step:
        told.append(say("{done} of {total} {step}", done=now.done, total=now.total, step=now.step))
    if now.ends_at is not None:
        left = max(0.0, now.ends_at - time.monotonic())
        told.append(time_left(left, left))
    return told + ([now.note] if now.note else [])


def _done(now: Stand) -> list[str]:
    pulled = now.pulled
    assert pulled
    told = [say("{model} is on this disk.", model=now.model)]
    if pulled.fetched:
        told.append(say("Fetched {bytes}.", bytes=format_bytes(pulled.fetched.bytes)))
    if pulled.download and all(file.sha256 for file in pulled.download.files):
        told.append(say("Its SHA-256 is the one that the Hub announces."))
    return [*told, say("It lies at {path}", path=pulled.path)]
