"""The events of a streamed answer, read from its bytes by the rules of the HTML standard
(server-sent events). Pure.

Unlike a client library, nothing is mended here: an event that is no JSON, one after the mark of the
end, and an end without a mark are all seen.
"""

import json
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, Final

from msgspec import Struct

DONE: Final = "[DONE]"
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class StreamEvent(Struct, frozen=True, kw_only=True):
    """One event: its name, its data, and when its last byte came."""

    name: str | None
    data: str
    at_s: float  # after the request

    @property
    def value(self) -> Any:
        """The data as JSON; None if it is none."""
        try:
            return json.loads(self.data)
        except ValueError:
            return None


def events_of(pieces: Iterable[tuple[float, bytes]]) -> Iterator[StreamEvent]:
    """The events in `pieces`, each with the second after which it came. An event that has no blank
    line behind it counts, too: clients take it.
    """
    name, data, at = None, list[str](), 0.0
    for at, line in _lines(pieces):
        if line:
            name = _field(line, name, data)
            continue
        if data:
            yield StreamEvent(name=name, data="\n".join(data), at_s=at)
        name, data = None, []
    if data:
        yield StreamEvent(name=name, data="\n".join(data), at_s=at)


def _lines(pieces: Iterable[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """The lines without their ends, each with the second after which it was whole."""
    rest, at = b"", 0.0
    for at, piece in pieces:
        rest += piece
        held = b"\r" if rest.endswith(b"\r") else b""  # a line feed that belongs to it may follow
        *lines, rest = _LINE_END.split(rest.removesuffix(b"\r"))
        rest += held
        yield from ((at, line) for line in lines)
    yield from ((at, line) for line in _LINE_END.split(rest))


def _field(line: bytes, name: str | None, data: list[str]) -> str | None:
    """Read one line: `data` grows, or the name of the event is returned."""
    text = line.decode("utf-8", "replace")
    field, _, value = text.partition(":")
    value = value.removeprefix(" ")
    if field == "data":
        data.append(value)
    return value if field == "event" else name


class ChatStream(Struct, frozen=True, dict=True):
    """A streamed answer of `/v1/chat/completions` or `/v1/completions`."""

    events: tuple[StreamEvent, ...]

    @cached_property
    def chunks(self) -> list[Any]:
        """What the events say, without the mark of the end."""
        return [event.value for event in self.events if event.data != DONE]

    @cached_property
    def choices(self) -> list[dict[str, Any]]:
        """The first choice of each chunk that has one."""
        lists = [c["choices"] for c in self.chunks if isinstance(c, dict) and c.get("choices")]
        return [found[0] for found in lists if isinstance(found, list) and _is_object(found[0])]

    @property
    def deltas(self) -> list[dict[str, Any]]:
        """What each chunk adds to the message."""
        return [c["delta"] for c in self.choices if isinstance(c.get("delta"), dict)]

    @property
    def text(self) -> str:
        """The answer, put together."""
        said = (d.get("content") for d in self.deltas)
        texts = said if self.deltas else (c.get("text") for c in self.choices)
        return "".join(part for part in texts if isinstance(part, str))

    @property
    def thoughts(self) -> str:
        """What the model wrote before its answer, where the server parts the two."""
        said = (d.get("reasoning_content") or d.get("reasoning") for d in self.deltas)
        return "".join(part for part in said if isinstance(part, str))

    @property
    def finish_reasons(self) -> list[str]:
        """Why the answer ended; one, if all is well."""
        return [c["finish_reason"] for c in self.choices if c.get("finish_reason")]

    @property
    def usages(self) -> list[dict[str, Any]]:
        """What chunks say about tokens."""
        found = (c.get("usage") for c in self.chunks if isinstance(c, dict))
        return [usage for usage in found if isinstance(usage, dict)]

    @property
    def error(self) -> Any:
        """The error that an event tells; None: none does."""
        found = (c.get("error") for c in self.chunks if isinstance(c, dict))
        return next((error for error in found if error), None)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)
