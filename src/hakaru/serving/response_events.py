"""What OpenAI's clients need of `/v1/responses` and the engine leaves out: the events of a stream
are numbered and name the item that they belong to, an answer that was cut says so, and a call names
the group of its function.

llama.cpp's server says `completed` of every answer, and does not tell why it ended. An answer that
used up its tokens, or the context, is called `incomplete` here; that is wrong for one that ended by
itself with the very last token. Source: llama.cpp, tools/server/server-task.cpp; OpenAI's reference
of the events.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from hakaru.serving.grouped_tools import origins, regroup

PATH: Final = "/v1/responses"
_DATA: Final = b"data: "
_OF_CONTENT: Final = ("response.content_part.", "response.output_text.", "response.reasoning_text.")
_encoder, _decoder = msgspec.json.Encoder(), msgspec.json.Decoder()


class ResponseEvents:
    """Rewrites one answer to a request with this `body`, as the client sent it, where a
    conversation has `n_ctx` tokens of context (None: that is not known). What stands there already
    is left as it is; the calls of functions whose groups were taken apart (`is_ungrouped`) are put
    together again.
    """

    def __init__(self, body: bytes, n_ctx: int | None, *, is_ungrouped: bool = False) -> None:
        asked: dict[str, Any] = _decoder.decode(body)
        self._origins = origins(asked.get("tools") or []) if is_ungrouped else {}
        self._limit, self._n_ctx = asked.get("max_output_tokens"), n_ctx
        self._n_events = 0
        self._items: dict[str, int] = {}  # where each item stands in the output, by its id

    async def rewritten(
        self, pieces: AsyncIterator[bytes], *, is_stream: bool
    ) -> AsyncIterator[bytes]:
        """The answer in `pieces`, rewritten as soon as an event of it is whole."""
        rest = b""
        async for piece in pieces:
            *whole, rest = (rest + piece).split(b"\n\n") if is_stream else (rest + piece,)
            if whole:
                yield b"".join(self._block(block) + b"\n\n" for block in whole)
        if rest:
            yield rest if is_stream else self._answer(rest)

    def _answer(self, body: bytes) -> bytes:
        """An answer that is no stream."""
        try:
            response = _decoder.decode(body)
        except msgspec.DecodeError:
            return body
        return _encoder.encode(self._ended(response)) if isinstance(response, dict) else body

    def _block(self, block: bytes) -> bytes:
        """One event: the line of its name, and that of its data."""
        _, mark, data = block.partition(_DATA)
        try:
            event = _decoder.decode(data) if mark else None
        except msgspec.DecodeError:  # such as [DONE]
            return block
        if not isinstance(event, dict) or not str(event.get("type")).startswith("response."):
            return block
        self._complete(event)
        return f"event: {event['type']}\n".encode() + _DATA + _encoder.encode(event)

    def _complete(self, event: dict[str, Any]) -> None:
        """Add what is left out of `event`."""
        kind: str = event["type"]
        event.setdefault("sequence_number", self._n_events)
        self._n_events += 1
        if item := event.get("item_id") or event.get("item", {}).get("id"):
            event.setdefault("output_index", self._items.setdefault(item, len(self._items)))
        if isinstance(called := event.get("item"), dict):
            regroup(called, self._origins)
        if kind.startswith(_OF_CONTENT):
            event.setdefault("content_index", 0)
        if kind.startswith("response.output_text."):
            event.setdefault("logprobs", [])
        if response := event.get("response"):
            response.setdefault("output", [])
            if kind == "response.completed" and self._ended(response)["status"] == "incomplete":
                event["type"] = "response.incomplete"

    def _ended(self, response: dict[str, Any]) -> dict[str, Any]:
        """`response`, which says that it was cut where it was."""
        usage = response.get("usage") or {}
        for item in response.get("output", ()):
            regroup(item, self._origins)
        n, total = usage.get("output_tokens", 0), usage.get("total_tokens", 0)
        is_full = self._n_ctx is not None and total >= self._n_ctx
        is_cut = (self._limit is not None and n >= self._limit) or is_full
        if is_cut and response.get("status") == "completed":
            response["status"] = "incomplete"
            response["incomplete_details"] = {"reason": "max_output_tokens"}
            for item in response.get("output", [])[-1:]:
                item["status"] = "incomplete"
        return response
