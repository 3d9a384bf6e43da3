"""The gateway: a small front on loopback, before llama.cpp's server on its Unix socket.

It lets through the endpoints that it names and nothing else, and only for `callers` that may ask;
`forwarding` takes them to the engine. Every error is `{"error": {message, type, param, code}}`.
Prompts are not logged.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.engine.mode import Gives
from hakaru.serving.callers import who_may_ask
from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance
from hakaru.serving.forwarding import Forwarding
from hakaru.serving.intake import Refused
from hakaru.serving.kept_engine import KeptEngine
from hakaru.serving.openapi import openapi
from hakaru.serving.refusals import error_response
from hakaru.serving.supervisor import Supervisor

TOLD: Final = ("/v1/models", "/metrics", "/props", "/slots")
"""What the engine of every model tells."""
COUNTED: Final = ("/tokenize", "/detokenize")
"""What is posted to the engine of every model."""
ANSWERED: Final[dict[Gives, tuple[str, ...]]] = {
    "text": (
        "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages",
        "/v1/chat/completions/input_tokens", "/v1/responses/input_tokens",
        "/v1/messages/count_tokens", "/apply-template",
    ),
    "embedding": ("/v1/embeddings",),
    "reranker": ("/v1/rerank",),
}  # fmt: skip
"""The endpoints of a model, by what it gives."""


def make_gateway(
    engine: Forwarding[KeptEngine],
    pages: Sequence[BaseRoute] = (),
    origins: Sequence[str] = (),
    entrance: Entrance = ON_THIS_MACHINE,
) -> Starlette:
    """The ASGI application in front of `engine`; `pages` are what a browser may see beside the API,
    `origins` the sites whose pages may use it, `entrance` says who needs a key.
    """

    return Starlette(
        routes=[*_Endpoints(engine).routes(), *pages],
        exception_handlers=HANDLERS,
        middleware=who_may_ask(origins, entrance, pages),
    )


class _Endpoints(Struct, frozen=True):
    """What a server answers by itself, and what its engine answers."""

    engine: Forwarding[KeptEngine]

    @property
    def supervisor(self) -> Supervisor:
        """Who keeps the engine alive."""
        return self.engine.upstream.supervisor

    @property
    def answered(self) -> tuple[str, ...]:
        """The endpoints that this model can answer."""
        return ANSWERED[self.supervisor.mode.gives]

    def routes(self) -> Iterator[Route]:
        yield from (Route(path, self.engine.forward, methods=["GET"]) for path in TOLD)
        yield from (Route(path, self.engine.forward, methods=["POST"]) for path in COUNTED)
        for path in (path for paths in ANSWERED.values() for path in paths):
            can = path in self.answered
            yield Route(path, self.engine.forward if can else self.no_answer, methods=["POST"])
        yield Route("/v1/models/{model:path}", self.model)
        yield Route("/openapi.json", self.description)
        yield Route("/health", self.health)

    async def health(self, request: Request) -> Response:
        state: str = self.supervisor.state
        if state == "ready" and not await self.engine.is_alive():
            state = "silent"
        told = {"status": state, "restarts": self.supervisor.restarts}
        told |= self.engine.in_flight.as_json()
        return JSONResponse(told, 200 if state == "ready" else 503)

    async def no_answer(self, request: Request) -> Response:
        return error_response(
            400,
            f"this model cannot answer {request.url.path}: it gives {self.supervisor.mode.gives}; "
            f"ask {' or '.join(self.answered)}",
            code="unsupported",
        )

    async def model(self, request: Request) -> Response:
        wanted = request.path_params["model"]
        try:
            models = await self.engine.models()
        except Refused as refusal:
            return refusal.answer
        for one in models:
            if wanted in (one["id"], *one.get("aliases", ())):
                return JSONResponse(one)
        return error_response(404, f"there is no model '{wanted}'", code="model_not_found")

    async def description(self, request: Request) -> Response:
        return JSONResponse(openapi((*TOLD, "/health"), (*self.answered, *COUNTED)))


HANDLERS: Final[Any] = {
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
