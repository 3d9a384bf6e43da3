"""The beginning of a streamed answer to `/v1/messages`, where the engine leaves it out.

llama.cpp's server writes `message_start` with the first token, and writes nothing with a token that
is a part of a letter only. So an answer that begins with an emoji has no beginning, and Anthropic's
clients give up. Source: llama.cpp, tools/server/server-task.cpp, to_json_anthropic.
"""

import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

PATH: Final = "/v1/messages"
_FIRST: Final = b"event: message_start\n"


async def with_start(
    pieces: AsyncIterator[bytes], model: str, count: Callable[[], Awaitable[int]]
) -> AsyncIterator[bytes]:
    """The stream in `pieces`, of an answer of `model`, with its beginning. `count` tells how many
    tokens its prompt has.
    """
    head = b""
    async for piece in pieces:
        head += piece
        if b"\n" in head:
            break
    if head.startswith(b"event: ") and not head.startswith(_FIRST):
        yield _start(model, await count())
    yield head
    async for piece in pieces:
        yield piece


def _start(model: str, n_prompt: int) -> bytes:
    message: dict[str, Any] = {
        "id": f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "content": [],
        "model": model,
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": n_prompt, "output_tokens": 0},
    }
    data = json.dumps({"type": "message_start", "message": message})
    return _FIRST + f"data: {data}\n\n".encode()
