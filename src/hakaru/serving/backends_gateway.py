"""The gateway before backends elsewhere: a request goes to one that has the model of its field
`model`. What the gateway before an engine checks of a request is checked here, too; what only who
has the model can check (the length of a prompt, its template) is left to the backend.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.serving.backend import Backend
from hakaru.serving.backend_pool import BackendPool
from hakaru.serving.backend_questions import aliases_of
from hakaru.serving.callers import who_may_ask
from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance
from hakaru.serving.forwarding import COUNTING
from hakaru.serving.gateway import HANDLERS
from hakaru.serving.intake import Intake, Refused
from hakaru.serving.limits import ELSEWHERE
from hakaru.serving.openapi import openapi
from hakaru.serving.refusals import error_response
from hakaru.serving.several_gateway import ASKED, LISTED, model_in

STATUS: Final = "/status"
DRAIN: Final = "/backends/drain"
OF_AN_ENGINE: Final = ("/props", "/slots")
"""What llama.cpp's server tells, of the backend that `?backend=` names."""
LLAMA_CPP_ONLY: Final = COUNTING - {"/v1/messages/count_tokens"}
"""What only llama.cpp's server answers in this form."""


def make_gateway_of_backends(
    backends: BackendPool,
    pages: Sequence[BaseRoute] = (),
    origins: Sequence[str] = (),
    entrance: Entrance = ON_THIS_MACHINE,
) -> Starlette:
    """The ASGI application in front of `backends`; `pages` are what a browser may see beside the
    API, `origins` the sites whose pages may use it, `entrance` says who needs a key.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with backends.watched():
            yield

    return Starlette(
        routes=[*_Endpoints(backends, Intake(ELSEWHERE)).routes(), *pages],
        lifespan=lifespan,
        exception_handlers=HANDLERS,
        middleware=who_may_ask(origins, entrance, pages),
    )


class _Drained(msgspec.Struct):
    """What is posted to DRAIN."""

    backend: str
    draining: bool = True


class _Endpoints(Struct, frozen=True):
    backends: BackendPool
    intake: Intake

    def routes(self) -> Iterator[Route]:
        yield Route(LISTED, self.listed)
        yield Route(f"{LISTED}/{{model:path}}", self.model)
        yield from (Route(path, self.answered, methods=["POST"]) for path in ASKED)
        yield from (Route(path, self.told) for path in OF_AN_ENGINE)
        yield Route(DRAIN, self.drain, methods=["POST"])
        yield Route("/metrics", self.metrics)
        yield Route("/openapi.json", self.description)
        yield Route("/health", self.health)
        yield Route(STATUS, self.status)

    async def answered(self, request: Request) -> Response:
        """The answer of a backend that has the model which the request names."""
        path = request.url.path
        try:
            body = await self.intake.body(request)
            model = self._model(model_in(body))
        except Refused as refusal:
            return refusal.answer
        only_llama_cpp = path in LLAMA_CPP_ONLY
        if only_llama_cpp and not any(b.told.is_llama_cpp for b in self.backends.having(model)):
            return error_response(
                400,
                f"{path} is llama.cpp's, and no backend with this model is a llama.cpp server",
                "unsupported",
            )
        return await self.backends.forward(request, body, model, only_llama_cpp=only_llama_cpp)

    async def told(self, request: Request) -> Response:
        """What one llama.cpp server tells of itself."""
        able = [one for one in self.backends.all if one.told.is_llama_cpp]
        named = request.query_params.get("backend")
        if named is not None:
            able = [one for one in able if one.name == named]
        if len(able) != 1:
            return error_response(
                400,
                "name one llama.cpp server as ?backend=URL; /status lists the backends",
                "missing_backend",
                param="backend",
            )
        return await able[0].engine.forward(request, b"")

    async def drain(self, request: Request) -> Response:
        """Send a backend nothing more, or something again; its answers go on to their ends."""
        try:
            wanted = msgspec.json.decode(await self.intake.body(request), type=_Drained)
        except Refused as refusal:
            return refusal.answer
        except (msgspec.MsgspecError, RecursionError) as error:
            return error_response(400, f"the body is no such request: {error}", "invalid_value")
        if (backend := self.backends.named(wanted.backend)) is None:
            names = ", ".join(one.name for one in self.backends.all)
            return error_response(
                404, f"there is no backend '{wanted.backend}'; there are {names}", "not_found"
            )
        backend.is_draining = wanted.draining
        return JSONResponse(backend.as_json())

    async def listed(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": list(self._entries().values())})

    async def model(self, request: Request) -> Response:
        wanted = request.path_params["model"]
        for name, entry in self._entries().items():
            if wanted in (name, *aliases_of(entry)):
                return JSONResponse(entry)
        return error_response(404, f"there is no model '{wanted}'", code="model_not_found")

    def _entries(self) -> dict[str, dict[str, Any]]:
        """The models of all backends: each as the first one tells of it, with the context that
        every one of them has.
        """
        entries = dict[str, dict[str, Any]]()
        for name in dict.fromkeys(name for one in self.backends.all for name in one.told.models):
            having = [one for one in self.backends.all if name in one.told.models]
            contexts = [one.told.n_ctx for one in having if one.told.n_ctx is not None]
            context = {"context_length": min(contexts)} if contexts else {}
            entries[name] = having[0].told.models[name] | context
        return entries

    async def health(self, request: Request) -> Response:
        """Whether anybody can answer, which is told to everybody; STATUS says more."""
        ready = [one for one in self.backends.all if one.state == "ready"]
        counts = [one.engine.in_flight.as_json() for one in self.backends.all]
        idle = [count["idle_s"] for count in counts]
        told = {
            "status": "ready" if ready else "lost",
            "backends": {"ready": len(ready), "all": len(counts)},
            "answering": sum(count["answering"] for count in counts),
            "waiting": sum(count["waiting"] for count in counts),
            "idle_s": None if None in idle else min(idle),
        }
        return JSONResponse(told, 200 if ready else 503)

    async def status(self, request: Request) -> Response:
        """Each backend, and whether prompts leave this machine."""
        leave = any(not one.address.is_local for one in self.backends.all)
        told = [one.as_json() for one in self.backends.all]
        return JSONResponse({"prompts_leave_this_machine": leave, "backends": told})

    async def metrics(self, request: Request) -> Response:
        return PlainTextResponse("".join(metrics_of(self.backends.all)), media_type=PROMETHEUS)

    async def description(self, request: Request) -> Response:
        told = (LISTED, "/metrics", "/health", STATUS)
        return JSONResponse(openapi(told, ASKED))

    def _model(self, name: str | None) -> str | None:
        """The model of this name; None where any backend will do, since all have one and the same.
        Raises Refused.
        """
        names = list(dict.fromkeys(name for one in self.backends.all for name in one.told.models))
        if name is None and len(names) > 1:
            raise Refused(
                error_response(
                    400,
                    f"model: is missing; name one of {', '.join(names)}",
                    "missing_model",
                    param="model",
                )
            )
        if name is not None and not self.backends.having(name):
            raise Refused(
                error_response(
                    404,
                    f"there is no model '{name}'; there are {', '.join(names)}",
                    "model_not_found",
                    param="model",
                )
            )
        return name


PROMETHEUS: Final = "text/plain; version=0.0.4"
_METRICS: Final[tuple[tuple[str, str, str, Callable[[dict[str, Any]], int]], ...]] = (
    ("ready", "gauge", "1 while the backend gives tokens.", lambda told: told["status"] == "ready"),
    ("answering", "gauge", "Requests that it answers now.", lambda told: told["answering"]),
    ("waiting", "gauge", "Requests that wait for their turn.", lambda told: told["waiting"]),
    ("answered_total", "counter", "Answers that came whole.", lambda told: told["answered"]),
    ("errors_total", "counter", "Answers that failed or broke off.", lambda told: told["errors"]),
)


def metrics_of(backends: Sequence[Backend]) -> Iterator[str]:
    """The counts of each backend, as Prometheus reads them."""
    told = [one.as_json() for one in backends]
    for name, kind, text, value in _METRICS:
        yield f"# HELP hakaru_backend_{name} {text}\n# TYPE hakaru_backend_{name} {kind}\n"
        for one in told:
            yield f'hakaru_backend_{name}{{backend="{one["url"]}"}} {int(value(one))}\n'
