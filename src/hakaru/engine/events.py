"""The events of a streamed answer of the server: one JSON object a line, after `data: `.

Lines end at line feeds alone: the server writes U+2028 and U+0085 into a line, where httpx's
`iter_lines` would end it.
"""

import json
from collections.abc import Iterator
from typing import Any

import httpx


def events(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Each event as it arrives, without the mark of the end."""
    rest = b""
    for piece in response.iter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])
