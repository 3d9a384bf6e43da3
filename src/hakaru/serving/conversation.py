"""A conversation with a served model over the OpenAI API: one turn at a time, streamed."""

import json
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Final

import httpx
from msgspec import Struct, field

from hakaru.engine.events import events
from hakaru.errors import EngineRefused
from hakaru.serving.turns import Turn, n_letters, question, without_oldest

ROOM: Final = 3 / 4
"""What a conversation takes of the context, at most, after its oldest turns were left out: each
time that they go, all that is left is read anew.
"""


class ContextFull(EngineRefused):
    """The conversation is longer than the context; `n_tokens` of it, where the server told."""

    n_tokens: int | None = None
    n_ctx: int | None = None


class Conversation(Struct):
    """The turns so far, and who answers the next one."""

    client: httpx.Client  # with the base URL of the API, http://…/v1
    model: str
    system: str | None = None  # the instruction before the first turn
    max_tokens: int | None = None  # of an answer; None: as many as the context holds
    sampling: Mapping[str, float] = field(default_factory=dict)  # as in a request
    turns: list[Turn] = field(default_factory=list)
    tokens_per_s: float | None = None  # of the last answer
    n_tokens: int = 0  # of the last answer
    n_used: int | None = None  # tokens of the context after the last answer; None: not told
    n_left_out: int = 0  # turns that had to go before the last answer
    is_cut: bool = False  # the last answer ended by `max_tokens` or by the context, not by itself
    goes_on: bool = False  # the last answer is cut and not empty: `more` can go on with it

    def ask(self, text: str, pictures: tuple[str, ...] = ()) -> Generator[str, None, None]:
        """Stream the answer to `text` about `pictures`, which are data URLs. If the caller stops
        early, the turn keeps what was streamed. Where the context is full, the oldest turns go.
        Raises EngineRefused.
        """
        self.turns.append(question(text, pictures))
        yield from self._answered("")

    def more(self) -> Generator[str, None, None]:
        """Stream what follows an answer that `goes_on`. Raises EngineRefused, also for a model
        whose template takes no half answer, such as one that thinks first.
        """
        begun = self.turns.pop()["content"]
        assert isinstance(begun, str)
        yield from self._answered(begun)

    def again(self) -> Generator[str, None, None]:
        """Stream another answer to the last question, in the place of the one that is there. That
        one stays where no other comes. Raises EngineRefused.
        """
        before, went_on = list(self.turns), self.goes_on
        if self.turns[-1]["role"] == "assistant":
            self.turns.pop()
        asked, is_refused = self.turns[-1], False
        try:
            yield from self._answered("")
        except EngineRefused:
            is_refused = True
            raise
        finally:
            if is_refused or not any(turn is asked for turn in self.turns):
                self.turns[:], self.goes_on = before, went_on

    def clear(self) -> None:
        """Begin anew, with the same instruction."""
        self.turns.clear()
        self.is_cut = self.goes_on = False
        self.n_used = None

    def _answered(self, begun: str) -> Generator[str, None, None]:
        """Stream an answer, or the rest of one that has `begun`. The turns keep all of it."""
        answer = [begun]
        try:
            for piece in self._with_room(begun):
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

    def _with_room(self, begun: str) -> Iterator[str]:
        """The pieces of the answer; the oldest turns are left out until the rest has room. Raises
        ContextFull where nothing is left that could go.
        """
        self.n_left_out = 0
        while True:
            try:
                yield from self._stream(begun)
                return
            except ContextFull as full:
                shorter = self._shorter(full)
                if len(shorter) == len(self.turns):
                    raise
                self.n_left_out += len(self.turns) - len(shorter)
                self.turns[:] = shorter

    def _shorter(self, full: ContextFull) -> list[Turn]:
        """The turns without the oldest: as many go as should make room, and at least one pair."""
        turns = without_oldest(self.turns)
        if full.n_tokens and full.n_ctx:
            per_letter = full.n_tokens / max(1, n_letters(self.turns))
            while len(turns) > 1 and n_letters(turns) * per_letter > ROOM * full.n_ctx:
                turns = without_oldest(turns)
        return turns

    def _request(self, begun: str) -> dict[str, object]:
        opening = [{"role": "system", "content": self.system}] if self.system else []
        half = [{"role": "assistant", "content": begun}] if begun else []
        limit = {"max_tokens": self.max_tokens} if self.max_tokens else {}
        return {
            "model": self.model, "messages": [*opening, *self.turns, *half], "stream": True,
            "stream_options": {"include_usage": True}, **self.sampling, **limit,
        }  # fmt: skip

    def _stream(self, begun: str) -> Iterator[str]:
        request = self._request(begun)
        self.n_tokens, self.tokens_per_s, self.is_cut, began = 0, None, False, 0.0
        with self.client.stream("POST", "chat/completions", json=request) as response:
            if response.status_code != 200:
                raise _refusal(response.read())
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
                self._note(event)
        if self.tokens_per_s is None and self.n_tokens > 1:
            self.tokens_per_s = (self.n_tokens - 1) / (time.perf_counter() - began)

    def _note(self, event: Mapping[str, Any]) -> None:
        """Keep what an event tells of speed and length."""
        if timings := event.get("timings"):
            self.tokens_per_s = timings.get("predicted_per_second")
            self.n_tokens = timings.get("predicted_n", self.n_tokens)
        if usage := event.get("usage"):
            self.n_used = usage.get("total_tokens", self.n_used)


def _refusal(body: bytes) -> EngineRefused:
    """The error for an answer that is none."""
    try:
        error = json.loads(body)["error"]
        reason, code = str(error["message"]), error.get("code")
    except (ValueError, KeyError, TypeError):
        return EngineRefused(
            "the model did not answer: {reason}", reason=body.decode(errors="replace")[:300]
        )
    if code != "context_length_exceeded":
        return EngineRefused("the model did not answer: {reason}", reason=reason)
    full = ContextFull("the model did not answer: {reason}", reason=reason)
    full.n_tokens, full.n_ctx = error.get("n_prompt_tokens"), error.get("n_ctx")
    return full
