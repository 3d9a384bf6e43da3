"""The gateway before several models: a request goes to the model that its field `model` names, a
question about an engine to the one of `?model=`, as llama.cpp's router has it.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec
from msgspec import Struct
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from hakaru.serving.callers import who_may_ask
from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance
from hakaru.serving.gateway import ANSWERED, COUNTED, HANDLERS, TOLD
from hakaru.serving.intake import Intake, Refused
from hakaru.serving.limits import Limits
from hakaru.serving.on_demand import OnDemand, watching
from hakaru.serving.openapi import openapi
from hakaru.serving.refusals import error_response
from hakaru.serving.resident import Resident

LISTED: Final = "/v1/models"
UNLOAD: Final = "/models/unload"
"""As llama.cpp's router has it."""
ASKED: Final = (*COUNTED, *(path for paths in ANSWERED.values() for path in paths))


class Named(msgspec.Struct):
    """A request, as far as it says for which model it is."""

    model: str | None = None


def make_gateway_of_several(
    models: OnDemand,
    pages: Sequence[BaseRoute] = (),
    origins: Sequence[str] = (),
    entrance: Entrance = ON_THIS_MACHINE,
) -> Starlette:
    """The ASGI application in front of `models`; `pages` are what a browser may see beside the API,
    `origins` the sites whose pages may use it, `entrance` says who needs a key.
    """

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with watching(models):
            yield

    return Starlette(
        routes=[*_Endpoints(models, Intake(_widest(models))).routes(), *pages],
        lifespan=lifespan,
        exception_handlers=HANDLERS,
        middleware=who_may_ask(origins, entrance, pages),
    )


class _Endpoints(Struct, frozen=True):
    models: OnDemand
    intake: Intake

    def routes(self) -> Iterator[Route]:
        yield Route(LISTED, self.listed)
        yield Route(f"{LISTED}/{{model:path}}", self.model)
        yield from (Route(path, self.told) for path in TOLD if path != LISTED)
        yield from (Route(path, self.answered, methods=["POST"]) for path in ASKED)
        yield Route(UNLOAD, self.unload, methods=["POST"])
        yield Route("/openapi.json", self.description)
        yield Route("/health", self.health)

    async def answered(self, request: Request) -> Response:
        """The answer of the model that the request names; it is loaded if need be."""
        self.intake.limits = _widest(self.models)  # models may have come
        try:
            body = await self.intake.body(request)
            resident = self._named(model_in(body))
            gives = resident.what.mode.gives
            if request.url.path not in (*COUNTED, *ANSWERED[gives]):
                return _unsupported(request.url.path, resident)
            async with self.models.engine(resident, request) as found:
                if found is None:
                    return Response(status_code=499)  # nobody reads it
                engine, change = found
                return change.told_by(await engine.forward(request, body))
        except Refused as refusal:
            return refusal.answer

    async def told(self, request: Request) -> Response:
        """What an engine tells of itself. No model is loaded for that."""
        try:
            resident = self._named(request.query_params.get("model"))
        except Refused as refusal:
            return refusal.answer
        if resident.engine is None:
            return error_response(503, f"{resident.name} is not loaded", code="model_unloaded")
        return await resident.engine.forward(request)

    async def unload(self, request: Request) -> Response:
        """Free the memory of the model that the request names, unless it answers now."""
        try:
            resident = self._named(model_in(await self.intake.body(request)))
        except Refused as refusal:
            return refusal.answer
        await self.models.unload_idle(lambda r: r is resident, "somebody asked for that")
        if resident.engine:
            return error_response(409, f"{resident.name} answers now; try again", "busy")
        return JSONResponse({"model": resident.name, "status": {"value": "unloaded"}})

    async def listed(self, request: Request) -> Response:
        data = [_as_model(resident) for resident in self.models.residents]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, request: Request) -> Response:
        try:
            return JSONResponse(_as_model(self._named(request.path_params["model"])))
        except Refused as refusal:
            return refusal.answer

    async def health(self, request: Request) -> Response:
        """Each model by its name. The server is ready: what is not loaded comes when asked."""
        models = {resident.name: resident.as_json() for resident in self.models.residents}
        return JSONResponse({"status": "ready", "models": models})

    async def description(self, request: Request) -> Response:
        given = {resident.what.mode.gives for resident in self.models.residents}
        paths = [path for gives in sorted(given) for path in ANSWERED[gives]]
        return JSONResponse(openapi((*TOLD, "/health"), (*paths, *COUNTED)))

    def _named(self, name: str | None) -> Resident:
        """The model of this name. Raises Refused."""
        names = ", ".join(self.models.by_name)
        if name is None:
            raise Refused(
                error_response(
                    400, f"model: is missing; name one of {names}", "missing_model", param="model"
                )
            )
        if (resident := self.models.by_name.get(name)) is None:
            raise Refused(
                error_response(
                    404,
                    f"there is no model '{name}'; there are {names}",
                    "model_not_found",
                    param="model",
                )
            )
        return resident


def _widest(models: OnDemand) -> Limits:
    """The limits of the model that takes the longest bodies."""
    return max((r.limits for r in models.residents), key=lambda limits: limits.max_body)


def model_in(body: bytes) -> str | None:
    """The name in a request. Raises Refused for a body that is none."""
    try:
        return msgspec.json.decode(body, type=Named).model
    except msgspec.ValidationError as error:
        raise Refused(
            error_response(400, f"model: {error}", "invalid_value", param="model")
        ) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise Refused(
            error_response(400, f"the body is no JSON: {error}", "invalid_json")
        ) from error


def _unsupported(path: str, resident: Resident) -> Response:
    gives = resident.what.mode.gives
    return error_response(
        400,
        f"{resident.name} cannot answer {path}: it gives {gives}; ask "
        f"{' or '.join(ANSWERED[gives])}",
        code="unsupported",
    )


def _as_model(resident: Resident) -> dict[str, Any]:
    """An entry of `/v1/models`, with its state as llama.cpp's router spells it."""
    state = resident.as_json()["status"]
    return {
        "id": resident.name,
        "object": "model",
        "created": round(resident.deployment.started),
        "owned_by": "hakaru",
        "status": {"value": "loaded" if state == "ready" else state},
        "gives": resident.what.mode.gives,
        "context_length": resident.limits.n_ctx,
    }
