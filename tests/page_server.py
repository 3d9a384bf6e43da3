"""The page of a server as the gateway has it, before a scripted engine: no model is loaded."""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import uvicorn
from msgspec import Struct, field
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from hakaru.engine.lab import Lab
from hakaru.engine.mode import Mode
from hakaru.hardware.machine import Memory
from hakaru.hardware.probe import probe_machine
from hakaru.memory.context import settings_for
from hakaru.memory.footprint import Footprint
from hakaru.models.model import read_model
from hakaru.planning.fit_at import fit_at
from hakaru.servers import HOST
from hakaru.serving.callers import who_may_ask
from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance
from hakaru.serving.port import bound_socket
from hakaru.serving.serve_at import Loaded
from hakaru.testing import tiny_shape, write_header_only
from hakaru.web.page import page_routes

DECISION: Final = Path(__file__).parent / "choosing" / "evidence-of-0.1.json"
FREE: Final = 6 * 2**30
CONTEXT: Final = 2048


class PageServer(Struct):
    """The page at `url`. `asked` are the bodies of the questions to the model, `answer` is what it
    says, piece by piece, and `pause_s` how long it waits between two pieces.
    """

    url: str
    loaded: Loaded
    asked: list[dict[str, Any]] = field(default_factory=list)
    answer: list[str] = field(default_factory=lambda: ["Hel", "lo."])
    pause_s: float = 0.0
    sees: bool = False  # whether the model takes pictures
    refuses: bool = False  # whether every conversation is too long


def loaded_model(folder: Path, entrance: Entrance = ON_THIS_MACHINE) -> Loaded:
    """A model of a billion parameters, as if it were served on a machine with FREE memory."""
    shape = tiny_shape(n_layer=16, n_embd=2048, n_ff=8192, n_head=32, n_vocab=32000)
    model = read_model(write_header_only(folder / "<b> モデル-1b.gguf", shape))
    memory = Memory(total_bytes=2 * FREE, available_bytes=FREE)
    machine = replace(probe_machine(), memory=memory, devices=())
    fit = fit_at(
        model,
        settings_for(model, n_ctx=CONTEXT),
        machine=machine,
        ledger=None,
        engine=Lab(),
        source="computed",
    )
    taken = replace(fit.best, overhead_bytes=0, source="measured")
    return Loaded(
        supervisor=_supervisor(fit.settings, model.path, taken),
        fit=fit,
        machine=machine,
        entrance=entrance,
    )


def _supervisor(settings: Any, path: Path, taken: Footprint) -> Any:
    """What the page reads of a supervisor: this very process is the engine."""
    server = SimpleNamespace(
        log=SimpleNamespace(footprint=lambda: taken),
        engine_pid=os.getpid(),
        peak_rss_bytes=lambda: 2**30,
    )
    return SimpleNamespace(
        path=path, settings=settings, mode=Mode(), state="ready", restarts=0, server=server
    )


def _engine(server: PageServer) -> list[Route]:
    """The endpoints of the API that the page asks."""

    async def props(request: Request) -> Response:
        return JSONResponse({"modalities": {"vision": server.sees}})

    async def chat(request: Request) -> Response:
        server.asked.append(await request.json())
        if server.refuses:
            error = {"message": "too long", "code": "context_length_exceeded"}
            return JSONResponse({"error": error}, 400)
        return StreamingResponse(_pieces(server), media_type="text/event-stream")

    return [Route("/props", props), Route("/v1/chat/completions", chat, methods=["POST"])]


async def _pieces(server: PageServer) -> AsyncIterator[str]:
    for text in server.answer:
        yield _event({"choices": [{"index": 0, "delta": {"content": text}}]})
        await asyncio.sleep(server.pause_s)
    yield _event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 30, "completion_tokens": 12}
    yield _event({"choices": [], "usage": usage, "timings": {"predicted_per_second": 12.3}})
    yield "data: [DONE]\n\n"


def _event(content: dict[str, Any]) -> str:
    return f"data: {json.dumps(content)}\n\n"


def _runnable(command: str) -> str:
    return f"./{command}" if command.startswith("hakaru ") else command


@contextmanager
def page_server(folder: Path, entrance: Entrance = ON_THIS_MACHINE) -> Iterator[PageServer]:
    """The page at a free port, until the block ends."""
    loaded = loaded_model(folder, entrance)
    evidence = json.loads(DECISION.read_text(encoding="utf-8"))
    with (
        patch("hakaru.web.candidates_tab.decision_of", lambda model: evidence),
        bound_socket(None) as listener,
    ):
        server = PageServer(f"http://{HOST}:{listener.getsockname()[1]}", loaded)
        pages = page_routes(loaded, runnable=_runnable)
        app = Starlette(
            routes=[*_engine(server), *pages], middleware=who_may_ask((), entrance, pages)
        )
        config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1)
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            running.should_exit = True
            thread.join(5)
