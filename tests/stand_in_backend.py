"""A server elsewhere as a gateway meets it: it answers, hangs, fails or breaks off as a test says,
and counts what it was asked. Its tokens are words, each in an event of its own.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, Literal

Way = Literal["answers", "hangs", "fails", "full", "breaks", "hangs in a stream", "fails at once"]
WORDS: Final = ("one", "two", "three", "four")


class StandIn:
    """The server. `way` is what it does with a request that is for tokens."""

    def __init__(self, model: str, owned_by: str) -> None:
        self.way: Way = "answers"
        self.model, self.owned_by = model, owned_by
        self.pause_s = 0.0  # before each word
        self.n_slots: Any = 2  # what llama.cpp's server tells
        self.n_ctx: Any = 512
        self.port = 0
        self.asked: list[dict[str, Any]] = []  # bodies that were for tokens, but for probes
        self.heads: list[str] = []
        self.n_open = 0
        self._server: asyncio.Server | None = None
        self._writers = set[asyncio.StreamWriter]()
        self._runs, self._ends = threading.Event(), asyncio.Event()
        self._thread = threading.Thread(target=asyncio.run, args=[self._run()], daemon=True)
        self._thread.start()
        self._runs.wait()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._runs.set()
        await self._ends.wait()
        await asyncio.sleep(0.05)  # connections end in the loop

    def end(self) -> None:
        """End, with the thread."""
        self.kill()
        self._loop.call_soon_threadsafe(self._ends.set)
        self._thread.join(5)

    @property
    def url(self) -> str:
        """The base URL of its API."""
        return f"http://127.0.0.1:{self.port}/v1"

    def start(self) -> None:
        """Listen, at the port where it listened before."""

        async def started() -> None:
            self._server = await asyncio.start_server(self._heard, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

        asyncio.run_coroutine_threadsafe(started(), self._loop).result(5)

    def kill(self) -> None:
        """End as a process does that is killed: no port, and every connection is reset."""

        async def killed() -> None:
            if self._server:
                self._server.close()
                self._server = None
            for writer in list(self._writers):
                writer.transport.abort()

        asyncio.run_coroutine_threadsafe(killed(), self._loop).result(5)

    async def _heard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        self.n_open += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await self._served(reader, writer)
        finally:
            writer.close()
            self._writers.discard(writer)
            self.n_open -= 1

    async def _served(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = int(head.lower().partition("content-length: ")[2].partition("\r")[0])
        body = await reader.readexactly(length)
        left = asyncio.ensure_future(reader.read())
        answer = asyncio.ensure_future(self._answer(head, body, writer))
        await asyncio.wait({left, answer}, return_when=asyncio.FIRST_COMPLETED)
        for task in (left, answer):
            task.cancel()
        await asyncio.gather(left, answer, return_exceptions=True)  # a client may have left
        await writer.drain()

    async def _answer(self, head: str, raw: bytes, writer: asyncio.StreamWriter) -> None:
        method, path, _ = head.split(" ", 2)
        if method == "GET":
            entry: dict[str, Any] = {"id": self.model, "object": "model", "owned_by": self.owned_by}
            entry |= {"max_model_len": 512} if self.owned_by == "vllm" else {}
            told: dict[str, Any] = {"/v1/models": {"object": "list", "data": [entry]}}
            if self.owned_by == "llamacpp":
                settings = {"n_ctx": self.n_ctx}
                told["/props"] = {
                    "total_slots": self.n_slots,
                    "default_generation_settings": settings,
                }
                told["/slots"] = [{"id": 0}, {"id": 1}]
            return self._send(writer, 200 if path in told else 404, told.get(path, {}))
        body, way = json.loads(raw), self.way
        if body.get("prompt") != "1" and path != "/tokenize":
            self.asked.append(body)
            self.heads.append(head)
        if way == "hangs":
            await asyncio.sleep(60)
        if way in ("fails", "full"):
            error = {"message": "EngineCore died", "type": "InternalServerError", "code": 500}
            return self._send(writer, 500 if way == "fails" else 429, {"error": error})
        if not body.get("stream"):
            await asyncio.sleep(self.pause_s)
            choice = {"text": " ".join(WORDS), "message": {"content": self.url}}
            return self._send(writer, 200, {"model": self.model, "choices": [choice]})
        await self._stream(writer, way, counts="stream_options" in body)
        return None

    async def _stream(self, writer: asyncio.StreamWriter, way: Way, *, counts: bool) -> None:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        await writer.drain()
        if way == "fails at once":
            error = {"message": "EngineCore died", "type": "InternalServerError", "code": 500}
            self._event(writer, json.dumps({"error": error}))
            self._event(writer, "[DONE]")
        else:
            for i, word in enumerate(WORDS):
                await asyncio.sleep(self.pause_s)
                if way == "breaks" and i == 2:
                    writer.transport.abort()
                    return
                if way == "hangs in a stream" and i == 2:
                    await asyncio.sleep(60)
                choice = {"text": word, "delta": {"content": word}}
                self._event(writer, json.dumps({"choices": [choice]}))
                await writer.drain()
            if counts:
                usage = {"prompt_tokens": 30, "completion_tokens": len(WORDS)}
                self._event(writer, json.dumps({"choices": [], "usage": usage}))
            self._event(writer, "[DONE]")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    def _event(self, writer: asyncio.StreamWriter, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        writer.write(b"%x\r\n%s\r\n" % (len(event), event))

    def _send(self, writer: asyncio.StreamWriter, status: int, value: Any) -> None:
        raw = json.dumps(value).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)


@contextmanager
def stand_in(model: str = "smol", owned_by: str = "vllm") -> Iterator[StandIn]:
    """A server at a free port of 127.0.0.1, until the block ends."""
    server = StandIn(model, owned_by)
    server.start()
    try:
        yield server
    finally:
        server.end()
