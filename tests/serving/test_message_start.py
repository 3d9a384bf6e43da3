"""The beginning of a streamed answer to `/v1/messages`."""

import asyncio
import json
from collections.abc import AsyncIterator

from hakaru.serving.message_start import with_start

START = b'event: message_start\ndata: {"type":"message_start"}\n\n'
TEXT = b'event: content_block_start\ndata: {"type":"content_block_start","index":0}\n\n'


def with_its_start(stream: bytes, at_a_time: int = 5) -> bytes:
    """What a client gets of `stream`, which comes in pieces of so many bytes."""

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(stream), at_a_time):
            yield stream[at : at + at_a_time]

    async def count() -> int:
        return 32

    async def joined() -> bytes:
        return b"".join([piece async for piece in with_start(pieces(), "our/model", count)])

    return asyncio.run(joined())


def test_a_beginning_that_the_engine_left_out_is_written() -> None:
    """With the length of the prompt, and before all that the engine says."""
    name, data, rest = with_its_start(TEXT).split(b"\n", 2)
    message = json.loads(data.removeprefix(b"data: "))["message"]
    assert (name, rest) == (b"event: message_start", b"\n" + TEXT)
    assert (message["model"], message["usage"]["input_tokens"]) == ("our/model", 32)


def test_a_stream_with_a_beginning_and_an_error_stay_as_they_are() -> None:
    """However they are cut into pieces."""
    for stream in (START + TEXT, b'data: {"error": {}}\n\n', b"", b"half a line"):
        for at_a_time in (1, 5, 1000):
            assert with_its_start(stream, at_a_time) == stream
