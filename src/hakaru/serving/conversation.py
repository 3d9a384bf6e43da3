"""A conversation with a served model over the OpenAI API: one turn at a time, streamed."""

import json
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

import httpx

from hakaru.engine.events import events
from hakaru.errors import EngineRefused


@dataclass(slots=True)
class Conversation:
    """The turns so far, and who answers the next one."""

    client: httpx.Client  # with the base URL of the API, http://…/v1
    model: str
    system: str | None = None  # the instruction before the first turn
    turns: list[dict[str, str]] = field(default_factory=list)
    tokens_per_s: float | None = None  # of the last answer
    n_tokens: int = 0  # of the last answer

    def ask(self, text: str) -> Generator[str, None, None]:
        """Stream the answer to `text`. If the caller stops early, the turn keeps what was streamed.
        Raises EngineRefused.
        """
        raw = text.encode("utf-8", "surrogateescape")  # a terminal may send any bytes
        readable = raw.decode("utf-8", "replace")
        self.turns.append({"role": "user", "content": readable})
        answer: list[str] = []
        try:
            for piece in self._stream():
                answer.append(piece)
                yield piece
        except httpx.TransportError as error:
            raise EngineRefused(
                "the model did not answer: {reason}",
                reason=f"{type(error).__name__} {error}".strip(),
            ) from error
        finally:
            if answer:
                self.turns.append({"role": "assistant", "content": "".join(answer)})
            else:
                self.turns.pop()

    def _stream(self) -> Iterator[str]:
        opening = [{"role": "system", "content": self.system}] if self.system else []
        request = {"model": self.model, "messages": opening + self.turns, "stream": True}
        self.n_tokens, self.tokens_per_s, began = 0, None, 0.0
        with self.client.stream("POST", "chat/completions", json=request) as response:
            if response.status_code != 200:
                raise EngineRefused(
                    "the model did not answer: {reason}", reason=_reason(response.read())
                )
            for event in events(response):
                if "error" in event:
                    raise EngineRefused(
                        "the answer broke off: {reason}", reason=event["error"].get("message", "?")
                    )
                piece = (
                    event["choices"][0]["delta"].get("content") if event.get("choices") else None
                )
                if piece:
                    self.n_tokens += 1
                    began = began or time.perf_counter()
                    yield piece
                if "timings" in event:
                    self.tokens_per_s = event["timings"].get("predicted_per_second")
        if self.tokens_per_s is None and self.n_tokens > 1:
            self.tokens_per_s = (self.n_tokens - 1) / (time.perf_counter() - began)


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:300]
