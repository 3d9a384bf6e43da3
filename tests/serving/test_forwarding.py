"""A request's way to the engine, where there is none any more."""

import asyncio
import json
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.types import Message

from hakaru.memory.settings import ContextSettings
from hakaru.serving import forwarding
from hakaru.serving.engine_client import EngineClient, UnixSocket
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


class Answers:
    """An engine that answers at these paths, and never at others."""

    state, n_slots, llama_cpp_model = "ready", 1, "model"

    def __init__(self, socket: Path, *paths: str) -> None:
        self._socket, self._paths = socket, paths
        self.connections = list[asyncio.Task[None] | None]()

    def client(self) -> EngineClient:
        """Who asks it."""
        return EngineClient(UnixSocket(str(self._socket)))

    def broken_off(self, how: str) -> tuple[str, str]:
        """Not asked here."""
        raise NotImplementedError

    async def answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections.append(asyncio.current_task())
        if (await reader.readline()).split()[1].decode() in self._paths:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
        else:
            await reader.read()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    ("is_asked", "paths", "is_alive"),
    [
        (False, ("/health", "/slots"), True),
        (False, ("/health",), False),  # a loop that is stuck, behind threads that still answer
        (True, ("/health",), True),  # it reads a long prompt
        (True, (), False),
    ],
)
def test_an_idle_engine_is_alive_only_if_its_loop_answers(
    is_asked: bool,
    paths: tuple[str, ...],
    is_alive: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its `/health` comes from other threads, and is there while no token ever is."""
    monkeypatch.setattr(forwarding, "ALIVE_WITHIN_S", 0.2)
    engine = Answers(tmp_path / "s", *paths)
    limits = Limits(n_ctx=512, longest=None, max_body=2**20, at_once=2**20)

    async def looked() -> bool:
        async with await asyncio.start_unix_server(engine.answered, tmp_path / "s"):
            forwards = Forwarding(engine, limits)
            if is_asked:
                forwards.in_flight.enter()
            answer = await forwards.is_alive()
            await asyncio.wait([task for task in engine.connections if task])
        return answer

    assert asyncio.run(looked()) is is_alive
