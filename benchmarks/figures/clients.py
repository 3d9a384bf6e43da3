"""Clients of a server of chat completions, in a process of their own: as many as are asked for, and
in a storm also such as leave, read slowly, or ask for nonsense.

`python -m figures.clients TARGET JSON` prints one JSON object. TARGET is the path of a Unix socket
or a port of 127.0.0.1. The client is a bare socket: on two cores a whole HTTP library would take
more from the engine than the gateway that is to be measured.
"""

import asyncio
import json
import random
import re
import sys
import time
from collections import Counter
from typing import Any, Final

from msgspec import Struct

N_PREDICT: Final = 32
SLOW_BYTES, SLOW_S = 256, 0.05
LARGE_BYTES: Final = 3 * 2**20
WAYS: Final = {
    "whole": 10, "leaves in the answer": 3, "leaves before it": 2, "reads slowly": 2,
    "large body": 1, "no JSON": 1, "too long": 1,
}  # fmt: skip
"""What clients of a storm do, and how often."""
PIECE: Final = re.compile(rb'"content":"[^"]')
USAGE: Final = re.compile(rb'"completion_tokens":(\d+)')
ERROR_FIELDS: Final = {"message", "type", "param", "code"}


class Answer(Struct, frozen=True):
    """What came."""

    raw: bytes
    first_s: float | None  # to the first piece of text

    @property
    def status(self) -> int:
        """The HTTP status; 0 if there was no answer."""
        return int(self.raw[9:12]) if self.raw.startswith(b"HTTP/1.1 ") else 0

    @property
    def n_tokens(self) -> int:
        """Tokens of the answer, as the server counts them."""
        return int(found[-1]) if (found := USAGE.findall(self.raw)) else 0

    @property
    def kind(self) -> str:
        """`answered` to the end, `refused` in the form of errors, or else `broken`."""
        if self.status == 200 and b"data: [DONE]" in self.raw:
            return "answered"
        for line in self.raw.splitlines():
            try:
                told = json.loads(line.removeprefix(b"data: "))
            except ValueError:
                continue
            if isinstance(told, dict) and told.get("error", {}).keys() >= ERROR_FIELDS:
                return "refused"
        return "broken"


def body_of(way: str = "whole") -> bytes:
    """A request that no cache has seen."""
    text = f"Write a few words about the number {random.randrange(10**9)}."
    if way == "no JSON":
        return b'{"messages": ['
    if way == "large body":
        text *= LARGE_BYTES // len(text)
    if way == "too long":
        text *= 2000
    asked = {
        "messages": [{"role": "user", "content": text}], "max_tokens": N_PREDICT, "stream": True,
        "ignore_eos": True, "stream_options": {"include_usage": True},
    }  # fmt: skip
    return json.dumps(asked).encode()


async def ask(target: str, way: str = "whole") -> Answer | None:
    """Ask once; None where the client left."""
    opened = (
        asyncio.open_connection("127.0.0.1", int(target))
        if target.isdigit()
        else asyncio.open_unix_connection(target)
    )
    reader, writer = await opened
    began, raw, first = time.monotonic(), bytearray(), None
    try:
        body = body_of(way)
        head = (
            "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        writer.write(head.encode() + body)
        if way == "leaves before it":
            await asyncio.sleep(random.random())
            return None
        while piece := await reader.read(SLOW_BYTES if way == "reads slowly" else 65536):
            raw += piece
            if first is None and PIECE.search(raw):
                first = time.monotonic() - began
                if way == "leaves in the answer":
                    return None
            if way == "reads slowly":
                await asyncio.sleep(SLOW_S)
    except OSError:
        pass  # what came before is judged
    finally:
        writer.close()
    return Answer(bytes(raw), first)


async def crowd(target: str, n_clients: int, n_requests: int) -> dict[str, Any]:
    """So many requests, by clients that ask one after another."""
    left = iter(range(n_requests))

    async def client() -> list[Answer | None]:
        return [await ask(target) for _ in left]

    began = time.monotonic()
    answers = await asyncio.gather(*(client() for _ in range(n_clients)))
    seconds, came = time.monotonic() - began, [one for some in answers for one in some if one]
    return {
        "tokens_per_s": sum(answer.n_tokens for answer in came) / seconds,
        "first_s": sorted(answer.first_s for answer in came if answer.first_s),
        "kinds": Counter(answer.kind for answer in came),
    }


async def storm(target: str, n_clients: int, seconds: float) -> dict[str, Any]:
    """Clients of all kinds, for so long."""
    until, kinds = time.monotonic() + seconds, Counter[str]()
    examples: dict[str, str] = {}

    async def client() -> None:
        while time.monotonic() < until:
            (way,) = random.choices(list(WAYS), list(WAYS.values()))
            try:
                answer = await ask(target, way)
            except OSError as error:
                kinds[f"{way}: no connection"] += 1
                examples.setdefault("no connection", str(error))
                continue
            kind = f"{answer.kind} {answer.status}" if answer else "left"
            kinds[f"{way}: {kind}"] += 1
            if answer and answer.kind == "broken":
                examples.setdefault(kind, answer.raw[-300:].decode(errors="replace"))

    await asyncio.gather(*(client() for _ in range(n_clients)))
    return {"kinds": kinds, "examples": examples}


if __name__ == "__main__":
    asked = json.loads(sys.argv[2])
    work = storm if "seconds" in asked else crowd
    print(json.dumps(asyncio.run(work(sys.argv[1], **asked))))
