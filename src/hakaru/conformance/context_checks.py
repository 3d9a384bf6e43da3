"""Checks of a prompt that is longer than the context: refused, never cut in silence.

The prompt begins with a secret. A server that cuts prompts drops its beginning, answers 200, and
nobody learns that the model never saw the secret. Whether it was cut is told by the count of the
prompt: the same words at two lengths say how many tokens a word has, so the count of the long
prompt is known before it is sent. Where the context is not told, the prompt grows step by step.
"""

from functools import partial
from typing import Any, Final

from hakaru.conformance.peer import ENDPOINTS, Peer, error_text, user
from hakaru.conformance.replies import field_of, message_tokens, text_of, usage_of
from hakaru.conformance.verdicts import Check, Outcome, failed, passed, skipped, unknown
from hakaru.conformance.wire import Reply
from hakaru.language import say

SECRET: Final = "QX7431"
WORD: Final = " apple"
MOST_TOKENS: Final = 300_000
"""The longest prompt that is sent: 1.8 MB."""
STEPS: Final = (3_000, 6_000, 12_000, 24_000, 48_000)
"""Tokens of the prompts that are tried where the context is not told."""
SURELY: Final = 1.25
"""How many times the context a prompt has, so that no error of the estimate matters."""
WHOLE: Final = 0.95
"""The part of the foreseen count from which on a prompt was read whole."""
_ENDPOINT: Final = {name: name for name in ENDPOINTS} | {"stream": "chat"}


def context_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    expected = {
        "chat": say("a conversation beyond the context is refused, not cut in silence"),
        "stream": say("a streamed conversation beyond the context is refused, not cut in silence"),
        "completions": say("a prompt beyond the context is refused, not cut in silence"),
        "embeddings": say("a text beyond the context is refused, not cut in silence"),
        "rerank": say("a document beyond the context is refused, not cut in silence"),
        "responses": say("an input beyond the context is refused, not cut in silence"),
        "messages": say("a message beyond the context is refused, not cut in silence"),
    }
    told = say("the error has the code context_length_exceeded, or its message names the context")
    return (
        *(
            Check(f"context.{name}", "severe", text, partial(_overflow, name=name), _ENDPOINT[name])
            for name, text in expected.items()
        ),
        Check("context.code", "minor", told, _code),
    )


def prompt_of(n_words: int) -> str:
    """A text with the secret at its head."""
    return f"The secret is {SECRET}.{WORD * n_words}. What is the secret?"


async def _sent(peer: Peer, name: str, n_words: int) -> Reply:
    text = prompt_of(n_words)
    chat = peer.chat_body(messages=user(text), max_tokens=8)
    bodies: dict[str, dict[str, Any]] = {
        "chat": chat,
        "stream": chat | {"stream": True, "stream_options": {"include_usage": True}},
        "completions": peer.completion_body(prompt=text, max_tokens=8),
        "embeddings": {"model": peer.model, "input": text},
        "rerank": {"model": peer.model, "query": "What is the secret?", "documents": [text]},
        "responses": {"model": peer.model, "input": text, "max_output_tokens": 16},
        "messages": {"model": peer.model, "messages": user(text), "max_tokens": 8},
    }
    return await peer.post(_ENDPOINT[name], bodies[name])


def _n_read(reply: Reply) -> int | None:
    """The tokens of the prompt that an answer of any endpoint tells; None if it tells none."""
    streamed = reply.stream.usages[-1].get("prompt_tokens") if reply.stream.usages else None
    told = usage_of(reply, "prompt_tokens") or message_tokens(reply)
    return streamed or told or usage_of(reply, "total_tokens")


async def _overflow(peer: Peer, name: str) -> Outcome:
    short, longer = 20, 60
    counts = [_n_read(await _sent(peer, name, n)) for n in (short, longer)]
    if None in counts or counts[0] == counts[1]:
        around, per_word = 0.0, 1.0
        counted = False
    else:
        first, second = (float(n or 0) for n in counts)
        per_word = (second - first) / (longer - short)
        around, counted = first - short * per_word, True
    sizes = _sizes(peer)
    if sizes[0] > MOST_TOKENS:
        return skipped(
            say("the context of {n:,} tokens is too large to be exceeded here", n=peer.n_ctx)
        )
    for size in sizes:
        n_words = int((size - around) / per_word) + 1
        reply = await _sent(peer, name, n_words)
        foreseen = round(around + n_words * per_word) if counted else None
        peer.facts["tried"] = size
        if outcome := _judged(peer, reply, foreseen):
            return outcome
    return unknown(
        say("prompts up to {n:,} tokens were read whole; the context is larger", n=sizes[-1])
    )


def _sizes(peer: Peer) -> tuple[int, ...]:
    """The tokens of the prompts, the shortest first. Where no context is told, what an earlier
    check found need not be found again.
    """
    if peer.n_ctx is not None:
        return (int(SURELY * peer.n_ctx) + 64,)
    return (peer.facts["tried"],) if "tried" in peer.facts else STEPS


def _judged(peer: Peer, reply: Reply, foreseen: int | None) -> Outcome | None:
    """What an answer to a long prompt shows; None if it was read whole and a longer one may be
    tried.
    """
    if 400 <= reply.status < 500:
        peer.facts.setdefault("overflow", reply)
        return passed(say("{n}: {reason}", n=reply.status, reason=error_text(reply)))
    if reply.status != 200:
        return failed(say("it came with status {n}", n=reply.status), is_loud=True)
    if reply.stream.error:
        return passed(say("it came as an event of a stream with status 200"))
    read = _n_read(reply)
    if SECRET in (text_of(reply) or reply.stream.text) or (
        read and foreseen and read >= WHOLE * foreseen
    ):
        if peer.n_ctx is None:
            return None
        return passed(say("{n:,} tokens were read whole, more than it told", n=read or 0))
    if read is None or foreseen is None:
        return unknown(say("it was answered, and no usage tells how much of it was read"))
    return failed(
        say(
            "cut in silence: {found:,} tokens of {expected:,} were read, and the answer is a 200",
            found=read,
            expected=foreseen,
        )
    )


async def _code(peer: Peer) -> Outcome:
    reply: Reply | None = peer.facts.get("overflow")
    if reply is None:
        return skipped(say("no prompt was refused as too long"))
    error = field_of(reply, "error")
    code = error.get("code") if isinstance(error, dict) else None
    if code == "context_length_exceeded" or "context" in error_text(reply).lower():
        return passed()
    return failed(error_text(reply))
