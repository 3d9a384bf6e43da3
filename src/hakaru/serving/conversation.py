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
    max_tokens: int | None = None  # of an answer; None: as many as the context holds
    turns: list[dict[str, str]] = field(default_factory=list)
    tokens_per_s: float | None = None  # of the last answer
    n_tokens: int = 0  # of the last answer
    is_cut: bool = False  # the last answer ended by `max_tokens` or by the context, not by itself
    goes_on: bool = False  # the last answer is cut and not empty: `more` can go on with it

    def ask(self, text: str) -> Generator[str, None, None]:
        """Stream the answer to `text`. If the caller stops early, the turn keeps what was streamed.
        Raises EngineRefused.
        """
        raw = text.encode("utf-8", "surrogateescape")  # a terminal may send any bytes
        readable = raw.decode("utf-8", "replace")
        self.turns.append({"role": "user", "content": readable})
        yield from self._answered("")

    def more(self) -> Generator[str, None, None]:
        """Stream what follows an answer that `goes_on`. Raises EngineRefused, also for a model
        whose template takes no half answer, such as one that thinks first.
        """
        begun = self.turns.pop()["content"]
        yield from self._answered(begun)

    def _answered(self, begun: str) -> Generator[str, None, None]:
        """Stream an answer, or the rest of one that has `begun`. The turns keep all of it."""
        answer = [begun]
        try:
            for piece in self._stream(begun):
                answer.append(piece)
                yield piece
        except httpx.TransportError as error:
            raise EngineRefused(
                "the model did not answer: {reason}",
                reason=f"{type(error).__name__} {error}".strip(),
            ) from error
        finally:
            self.goes_on = self.is_cut and any(answer)
            if text := "".join(answer):
                self.turns.append({"role": "assistant", "content": text})
            else:
                self.turns.pop()

    def _request(self, begun: str) -> dict[str, object]:
        opening = [{"role": "system", "content": self.system}] if self.system else []
        half = [{"role": "assistant", "content": begun}] if begun else []
        limit = {"max_tokens": self.max_tokens} if self.max_tokens else {}
        messages = opening + self.turns + half
        return {"model": self.model, "messages": messages, "stream": True, **limit}

    def _stream(self, begun: str) -> Iterator[str]:
        request = self._request(begun)
        self.n_tokens, self.tokens_per_s, self.is_cut, began = 0, None, False, 0.0
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
                choice = event["choices"][0] if event.get("choices") else {"delta": {}}
                self.is_cut = self.is_cut or choice.get("finish_reason") == "length"
                if piece := choice["delta"].get("content"):
                    self.n_tokens += 1
                    began = began or time.perf_counter()
                    yield piece
                if "timings" in event:
                    self.tokens_per_s = event["timings"].get("predicted_per_second")
                    self.n_tokens = event["timings"].get("predicted_n", self.n_tokens)
        if self.tokens_per_s is None and self.n_tokens > 1:
            self.tokens_per_s = (self.n_tokens - 1) / (time.perf_counter() - began)


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")[:300]
