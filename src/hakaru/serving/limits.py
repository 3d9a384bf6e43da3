"""What a request may weigh. A server that tokenizes whatever it is sent takes gigabytes for one
body of 30 MB.

llama.cpp's server takes 40 to 150 bytes for every byte of text that it tokenizes (measured, see
docs/serving.md). So three things are bounded here: how long a body may be at all, how many tokens
its prompt has *at least*, and how many bytes are read, and tokenized, at the same time. The memory
for it stands in the plan (`memory.growth.requests_bytes`).

A prompt of n bytes has at least n / m tokens, where m is the bytes of the vocabulary's longest
token: a token's text in the header is never shorter than the text that it stands for (GPT-2 spells
one byte with one or two, SentencePiece a space with three). That does not hold where a tokenizer
drops text (WordPiece, unigram, and models that strip white space behind special tokens); their
prompts are only counted. Nothing that could fit is refused.
"""

import asyncio
import re
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

from msgspec import Struct

from hakaru.formats.header_values import Array
from hakaru.memory.growth import requests_bytes
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model

SMALL: Final = 4096
"""Bytes of a body up to which its tokens are not counted, and it does not wait."""
AROUND: Final = 2**20
"""Bytes of a body around its prompt: tools, schemas, earlier turns that a template leaves out."""
ESCAPED: Final = 6
"""Bytes in JSON for one byte of text: \\u0020."""
MAX_BODY: Final = 32 * 2**20
MAX_VALUES: Final = 2**20
"""Values in one body. A Python object for each takes about a hundred bytes."""
LONGEST_ASSUMED: Final = 256
"""Bytes of a long token, for a vocabulary whose longest token says nothing about texts."""
TOKENIZING: Final = 160
"""Bytes that the engine takes for one byte of text: 37 (words) to 146 (spaces) were seen with
SmolLM2's vocabulary.
"""
KEEPS_ALL: Final = frozenset({"llama", "gpt2", "rwkv", "plamo2"})
"""Tokenizers (`tokenizer.ggml.model`) that give every byte of a text to some token. llama.cpp,
src/llama-vocab.cpp.
"""
STRIPS: Final = re.compile(r"phi-?3|jina|modern-?bert", re.IGNORECASE)
"""Names of models whose special tokens swallow white space around them. llama.cpp,
src/llama-vocab.cpp.
"""
_STRINGS: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of one server."""

    n_ctx: int | None  # tokens of context of one conversation; None: others know, and check it
    longest: int | None  # bytes of the longest token; None if that proves nothing about a prompt
    max_body: int  # bytes of a request's body
    at_once: int  # bytes of text that are tokenized at the same time

    @property
    def surely_short(self) -> int:
        """Bytes of a body up to which nothing is counted: its text could fit, and is cheap."""
        if self.n_ctx is None:
            return self.at_once
        return min(self.n_ctx * (self.longest or LONGEST_ASSUMED), self.at_once)

    def least_tokens(self, prompt: Any) -> int:
        """How many tokens `prompt` (a text, token ids, or both mixed) has at least."""
        parts = prompt if isinstance(prompt, list) else [prompt]
        texts = [
            len(part.encode(errors="surrogatepass")) for part in parts if isinstance(part, str)
        ]
        tokens = sum(type(part) is int for part in parts)
        return tokens + (sum(-(-n // self.longest) for n in texts) if self.longest else 0)


ELSEWHERE: Final = Limits(n_ctx=None, longest=None, max_body=MAX_BODY, at_once=MAX_BODY)
"""Of a model that another server has: nothing is tokenized here."""


def limits_of(model: Model, settings: ContextSettings, *, sees: bool = False) -> Limits:
    """The limits of a server of `model`. One that `sees` takes pictures, which a body holds beside
    its text.
    """
    tokens = model.metadata.get("tokenizer.ggml.tokens")
    kind, name = model.meta.text("tokenizer.ggml.model"), f"{model.name} {model.shape.architecture}"
    proves = (
        kind in KEEPS_ALL
        and isinstance(tokens, Array)
        and tokens.longest
        and not STRIPS.search(name)
    )
    longest = max(4, tokens.longest) if proves and isinstance(tokens, Array) else None
    n_ctx = settings.n_ctx if settings.kv_unified else settings.n_ctx // settings.n_parallel
    body = AROUND + ESCAPED * n_ctx * (longest or LONGEST_ASSUMED)
    return Limits(
        n_ctx=n_ctx,
        longest=longest,
        max_body=MAX_BODY if sees else min(body, MAX_BODY),
        at_once=requests_bytes(settings) // TOKENIZING,
    )


def holds_too_many(body: bytes) -> bool:
    """Whether the JSON in `body` has so many values that it would take a hundred times its size."""
    return _marks(body) > MAX_VALUES and _marks(_STRINGS.sub(b"", body)) > MAX_VALUES


def _marks(body: bytes) -> int:
    return body.count(b",") + body.count(b"[") + body.count(b"{")


def pieces(text: str, size: int = 2**16) -> Iterator[str]:
    """`text` in pieces of `size` characters."""
    for begin in range(0, len(text), size):
        yield text[begin : begin + size]


class Turnstile:
    """Lets requests in while their bytes together are at most `n_bytes`. Later requests wait, in
    order. A request of more than `n_bytes` goes in alone.
    """

    def __init__(self, n_bytes: int) -> None:
        self._total = self._free = n_bytes
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def entered(self, n_bytes: int, *, within_s: float) -> Callable[[], None]:
        """Wait for `n_bytes`, and return a function that gives them back: once, however often it is
        called. Raises TimeoutError.
        """
        n_bytes = min(n_bytes, self._total)
        if not self._waiting and n_bytes <= self._free:
            self._free -= n_bytes
        else:
            await self._turn_of(n_bytes, within_s)
        held = [n_bytes]
        return lambda: self._left(held.pop()) if held else None

    async def _turn_of(self, n_bytes: int, within_s: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((n_bytes, turn))
        try:
            await asyncio.wait_for(asyncio.shield(turn), within_s)
        except BaseException:
            if turn.done():
                self._left(n_bytes)  # the turn came at the last moment
            else:
                self._waiting.remove((n_bytes, turn))
                turn.cancel()
                self._left(0)  # the next request may be smaller
            raise

    def _left(self, n_bytes: int) -> None:
        self._free += n_bytes
        while self._waiting and self._waiting[0][0] <= self._free:
            taken, turn = self._waiting.popleft()
            self._free -= taken
            turn.set_result(None)
