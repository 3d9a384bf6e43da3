"""Answers of an engine, piece by piece. A small server on a Unix socket stands for the engine."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from hakaru.serving.engine_client import AHEAD, EngineClient, EngineLost, NobodyListens, UnixSocket

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
Engine = Callable[[asyncio.StreamWriter], Awaitable[None]]
T = TypeVar("T")


def asked(folder: Path, engine: Engine, ask: Callable[[EngineClient], Awaitable[T]]) -> T:
    """What `ask` finds while `engine` answers."""

    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            await engine(writer)
            writer.close()
            await writer.wait_closed()
        ended.set()

    async def found() -> T:
        socket = str(folder / "e.sock")
        async with await asyncio.start_unix_server(answer, socket):
            try:
                return await asyncio.wait_for(ask(EngineClient(UnixSocket(socket))), 10)
            finally:
                await ended.wait()  # an engine hears who leaves

    return asyncio.run(found())


def saying(*pieces: bytes) -> Engine:
    """An engine that writes `pieces` one after another, and closes."""

    async def engine(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.01)

    return engine


async def body_of(client: EngineClient) -> bytes:
    answer = await client.ask("POST", "/v1/completions", b"{}")
    assert answer.headers["content-type"] == "text/event-stream"
    return await answer.body()


def test_pieces_are_put_together_however_they_are_cut(tmp_path: Path) -> None:
    """A chunk may come in parts, and two chunks as one."""
    pieces = (HEAD[:20], HEAD[20:] + b"3\r\na", b"bc\r\n2\r\nde\r\n1", b"\r\nf\r\n0\r\n\r\n")
    assert asked(tmp_path, saying(*pieces), body_of) == b"abcdef"


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        (HEAD[:30],),
        (HEAD, b"3\r\nabc\r\n"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: 9\r\n\r\n",
            b"abc",
        ),
        (b"no HTTP\r\n\r\n",),
    ],
)
def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(
    pieces: tuple[bytes, ...], tmp_path: Path
) -> None:
    """Before its head, in it, and before its end."""
    with pytest.raises(EngineLost):
        asked(tmp_path, saying(*pieces), body_of)


def test_where_nobody_listens_the_question_was_not_heard(tmp_path: Path) -> None:
    """So it may be asked again."""
    with pytest.raises(NobodyListens):
        asyncio.run(EngineClient(UnixSocket(str(tmp_path / "e.sock"))).ask("GET", "/health"))


def test_what_the_engine_refuses_is_none(tmp_path: Path) -> None:
    """And what it tells is read."""
    refusal = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\n{}"
    told = b'HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{"a":1}'
    for answer, found in ((refusal, None), (told, {"a": 1})):
        assert asked(tmp_path, saying(answer), lambda client: client.told("/props")) == found


def test_the_engine_waits_for_who_reads_slowly_and_hears_who_leaves(tmp_path: Path) -> None:
    """However long the answer is: what has come is bounded, and then the engine cannot write."""
    stuck = asyncio.Event()
    chunk = b"1000\r\n" + b"x" * 0x1000 + b"\r\n"

    async def engine(writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        while True:
            writer.write(chunk)
            try:
                await asyncio.wait_for(writer.drain(), 0.2)
            except TimeoutError:
                stuck.set()
                await writer.drain()

    async def ask(client: EngineClient) -> int:
        answer = await client.ask("POST", "/v1/completions", b"{}")
        pieces = answer.pieces()
        n_first = len(await anext(pieces))
        await stuck.wait()
        n_waiting = len(await anext(pieces))
        while n_first < 20 * AHEAD:  # it goes on as soon as somebody reads
            n_first += len(await anext(pieces))
        answer.close()
        return n_waiting

    assert asked(tmp_path, engine, ask) < 6 * AHEAD
