"""A request's way to the engine, where there is none any more."""

import asyncio
import json
from pathlib import Path

from starlette.requests import Request
from starlette.types import Message

from hakaru.memory.settings import ContextSettings
from hakaru.serving.forwarding import Forwarding
from hakaru.serving.kept_engine import KeptEngine
from hakaru.serving.limits import Limits
from hakaru.serving.supervisor import Supervisor


def test_an_engine_that_fails_for_good_while_a_body_comes_is_a_503() -> None:
    """Not a fault of the gateway's: the client may ask again."""
    supervisor = Supervisor(Path("model.gguf"), ContextSettings(n_ctx=512))
    supervisor.state = "ready"
    limits = Limits(n_ctx=512, longest=None, max_body=2**20, at_once=2**20)

    async def body() -> Message:
        supervisor.state = "failed"
        return {"type": "http.request", "body": b"{}", "more_body": False}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/tokenize",
        "headers": [(b"content-length", b"2")],
    }
    answer = asyncio.run(Forwarding(KeptEngine(supervisor), limits).forward(Request(scope, body)))
    assert answer.status_code == 503
    assert json.loads(bytes(answer.body))["error"]["code"] == "loading"
