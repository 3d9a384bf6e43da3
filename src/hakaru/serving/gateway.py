"""The gateway: a small front on loopback, before llama.cpp's server on its Unix socket.

It lets through the endpoints that it names and nothing else, and only for `callers` that may ask;
`forwarding` takes them to the engine. Every error is `{"error": {message, type, param, code}}`.
Prompts are not logged.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.engine.mode import Gives
from hakaru.serving.callers import who_may_ask
from hakaru.serving.forwarding import Forwarding
from hakaru.serving.intake import Refused
from hakaru.serving.limits import Limits
from hakaru.serving.refusals import error_response
from hakaru.serving.supervisor import Supervisor

FORWARDED: Final = {
    "/v1/models": "GET", "/metrics": "GET", "/props": "GET", "/slots": "GET",
    "/tokenize": "POST", "/detokenize": "POST",
}  # fmt: skip
ANSWERED: Final[dict[Gives, tuple[str, ...]]] = {
    "text": (
        "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages",
        "/v1/messages/count_tokens", "/apply-template",
    ),
    "embedding": ("/v1/embeddings",),
    "reranker": ("/v1/rerank",),
}  # fmt: skip
"""The endpoints of a model, by what it gives."""


def make_gateway(
    supervisor: Supervisor,
    limits: Limits,
    pages: Sequence[BaseRoute] = (),
    origins: Sequence[str] = (),
) -> Starlette:
    """The ASGI application in front of `supervisor`'s engine; `pages` are what a browser may see
    beside the API, `origins` the sites whose pages may use it.
    """
    engine = Forwarding(supervisor, limits)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        yield
        await engine.close()

    async def health(request: Request) -> Response:
        state: str = supervisor.state
        if state == "ready" and not await engine.is_alive():
            state = "silent"
        return JSONResponse(
            {"status": state, "restarts": supervisor.restarts}, 200 if state == "ready" else 503
        )

    async def no_answer(request: Request) -> Response:
        return error_response(
            400,
            f"this model cannot answer {request.url.path}: it gives {supervisor.mode.gives}; ask "
            f"{' or '.join(answered)}",
            code="unsupported",
        )

    async def model(request: Request) -> Response:
        wanted = request.path_params["model"]
        try:
            models = await engine.models()
        except Refused as refusal:
            return refusal.answer
        for one in models:
            if wanted in (one["id"], *one.get("aliases", ())):
                return JSONResponse(one)
        return error_response(404, f"there is no model '{wanted}'", code="model_not_found")

    answered = ANSWERED[supervisor.mode.gives]
    routes = [Route(path, engine.forward, methods=[method]) for path, method in FORWARDED.items()]
    routes.append(Route("/v1/models/{model:path}", model))
    routes += [
        Route(path, engine.forward if path in answered else no_answer, methods=["POST"])
        for paths in ANSWERED.values()
        for path in paths
    ]
    handlers: Any = {
        Exception: lambda request, error: error_response(
            500, "hakaru's gateway failed; this is a fault of hakaru", code="gateway_error"
        ),
        404: lambda request, error: error_response(
            404, f"there is no {request.url.path}", code="not_found"
        ),
        405: lambda request, error: error_response(
            405, f"{request.method} is not for {request.url.path}", code="method_not_allowed"
        ),
    }
    return Starlette(
        routes=[*routes, Route("/health", health), *pages],
        lifespan=lifespan,
        exception_handlers=handlers,
        middleware=who_may_ask(origins),
    )
