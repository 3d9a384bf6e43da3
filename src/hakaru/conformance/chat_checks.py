"""Checks of `/v1/chat/completions` in one piece: its shape, its counts, and the limits that a
client sets.

No check judges how good an answer is: a model of 100 million parameters must pass as well as a
large one. What is judged is forced: counts, limits, a stop text that the same request is known to
write.
"""

from typing import Any, Final

from hakaru.conformance.peer import OMIT, Peer, user
from hakaru.conformance.replies import (
    choice_of,
    field_of,
    message_of,
    not_ok,
    refuses,
    shaped,
    text_of,
    usage_of,
)
from hakaru.conformance.shapes import CHAT, LOGPROBS, USAGE, misshapen
from hakaru.conformance.verdicts import Check, Outcome, failed, passed, skipped, unknown
from hakaru.conformance.wire import Reply
from hakaru.language import say

LONG: Final = 24  # tokens of the answer from which a stop text is taken


def chat_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check("chat.shape", "moderate", say("a chat.completion in its shape"), _shape, "chat"),
        Check(
            "chat.usage",
            "moderate",
            say("usage counts prompt, answer and both together"),
            _usage,
            "chat",
        ),
        Check(
            "chat.max_tokens",
            "severe",
            say("max_tokens 2 ends the answer after at most 2 tokens, with finish_reason length"),
            _max_tokens,
            "chat",
        ),
        Check(
            "chat.max_completion_tokens",
            "moderate",
            say("max_completion_tokens, the newer name, limits the answer, too"),
            _newer_name,
            "chat",
        ),
        Check(
            "chat.stop",
            "severe",
            say("the answer ends before the text in stop, with finish_reason stop"),
            _stop,
            "chat",
        ),
        Check("chat.n", "moderate", say("n 2 gives two answers, or is refused"), _n, "chat"),
        Check(
            "chat.logprobs",
            "moderate",
            say("logprobs has an entry for each token, with two alternatives"),
            _logprobs,
            "chat",
        ),
        Check(
            "chat.parts",
            "severe",
            say("a message in parts is read as the same message in one text"),
            _parts,
            "chat",
        ),
        Check(
            "chat.greedy",
            "minor",
            say("temperature 0 twice gives the same answer"),
            _greedy,
            "chat",
        ),
        Check(
            "chat.seed", "minor", say("the same seed twice gives the same answer"), _seed, "chat"
        ),
    )


async def _shape(peer: Peer) -> Outcome:
    return shaped(await peer.once("chat", peer.chat_body()), CHAT)


async def _usage(peer: Peer) -> Outcome:
    reply = await peer.once("chat", peer.chat_body())
    if bad := not_ok(reply):
        return bad
    usage = field_of(reply, "usage")
    return judged_usage(usage)


def judged_usage(usage: Any) -> Outcome:
    """Whether a usage is whole and adds up."""
    if usage is None:
        return failed(say("there is no usage"))
    if wrong := misshapen(usage, USAGE):
        return failed(f"usage{wrong[1:]}")
    prompt, answer = usage["prompt_tokens"], usage["completion_tokens"]
    total = usage["total_tokens"]
    if prompt + answer != total:
        return failed(
            say(
                "usage does not add up: {prompt} and {answer} are not {total}",
                prompt=prompt,
                answer=answer,
                total=total,
            )
        )
    return passed()


async def _max_tokens(peer: Peer) -> Outcome:
    reply = await peer.chat(max_tokens=2)
    if bad := not_ok(reply):
        return bad
    n, reason = usage_of(reply, "completion_tokens"), choice_of(reply).get("finish_reason")
    if n is None:
        n = len(text_of(reply).split())
    if n > 2:
        return failed(say("the answer has {n} tokens", n=n))
    if reason == "length" or (n < 2 and reason == "stop"):
        return passed()
    return unknown(say("finish_reason is {found}", found=repr(reason)))


async def _newer_name(peer: Peer) -> Outcome:
    """Streamed, so that an answer without a limit is left soon."""
    body = peer.chat_body(max_tokens=OMIT, max_completion_tokens=2, stream=True)
    reply = await peer.post("chat", body, until=lambda seen: seen.count(b"data:") > 24)
    if reason := refuses(reply):
        return failed(reason)
    if bad := not_ok(reply):
        return bad
    n = len(reply.events)
    return passed() if n <= 24 else failed(say("the answer went on past it"))


async def _stop(peer: Peer) -> Outcome:
    free = await peer.chat(max_tokens=LONG, seed=7)
    if bad := not_ok(free):
        return bad
    text = text_of(free)
    if (stop := stop_in(text)) is None:
        return unknown(say("the answer is too short to take a stop text from it"))
    reply = await peer.chat(max_tokens=LONG, seed=7, stop=stop)
    if bad := not_ok(reply):
        return bad
    return judged_stop(text, stop, text_of(reply), choice_of(reply).get("finish_reason"))


def stop_in(text: str) -> str | None:
    """A piece of `text` from its middle on that does not stand at its beginning; None if there is
    none. A sign for damaged text says nothing of what the model wrote.
    """
    middle = len(text) // 2
    for start in (*range(middle, len(text) - 2), *range(1, middle)):
        stop = text[start : start + 3]
        is_text = len(stop) == 3 and stop.isprintable() and "\N{REPLACEMENT CHARACTER}" not in stop
        if is_text and stop.strip() and text.find(stop) > 0:
            return stop
    return None


def judged_stop(free: str, stop: str, text: str, reason: Any) -> Outcome:
    """Whether `text` ends before `stop`; `free` is the same answer without a stop."""
    if stop in text:
        return failed(say("{text} stands in the answer", text=repr(stop)))
    if text.strip() != free[: free.find(stop)].strip():
        if reason == "stop":
            return passed()
        return unknown(say("the second answer was another one, without {text}", text=repr(stop)))
    if reason != "stop":
        return failed(say("finish_reason is {found}", found=repr(reason)), "moderate")
    return passed()


async def _n(peer: Peer) -> Outcome:
    reply = await peer.chat(n=2, temperature=1)
    if reason := refuses(reply):
        return passed(reason)
    if bad := not_ok(reply):
        return bad
    choices = field_of(reply, "choices")
    n = len(choices) if isinstance(choices, list) else 0
    return passed() if n == 2 else failed(say("answers that came: {n}", n=n))


async def _logprobs(peer: Peer) -> Outcome:
    reply = await peer.chat(logprobs=True, top_logprobs=2)
    if reason := refuses(reply):
        return skipped(reason)
    if bad := not_ok(reply):
        return bad
    logprobs = choice_of(reply).get("logprobs")
    if not logprobs:
        return failed(say("there are none, and no error"))
    if wrong := misshapen(logprobs, LOGPROBS):
        return failed(f"logprobs{wrong[1:]}")
    entries = logprobs["content"]
    if any(len(entry["top_logprobs"]) != 2 for entry in entries):
        return failed(say("there are not two alternatives for each token"))
    told = b"".join(bytes(e.get("bytes") or e["token"].encode()) for e in entries)
    text = (message_of(reply).get("reasoning_content") or "") + text_of(reply)
    if text.strip() and text.strip() not in told.decode("utf-8", "replace"):
        return failed(say("the tokens are not those of the answer"))
    return passed()


async def _parts(peer: Peer) -> Outcome:
    """By the count of the prompt: parts that are dropped would make it shorter."""
    sentence = "Please count the apples and the pears in both of these baskets. "
    plain = await peer.chat(messages=user(sentence * 2))
    parts = await peer.chat(messages=user([{"type": "text", "text": sentence}] * 2))
    if bad := not_ok(plain) or not_ok(parts):
        return bad
    expected, found = (usage_of(reply, "prompt_tokens") for reply in (plain, parts))
    if expected is None or found is None:
        return unknown(say("there is no usage"))
    if abs(expected - found) > 4:  # a template may put a line break between parts
        return failed(
            say("{found} tokens instead of {expected} were read", found=found, expected=expected)
        )
    return passed()


async def _greedy(peer: Peer) -> Outcome:
    return _same([await peer.chat(max_tokens=12) for _ in range(2)])


async def _seed(peer: Peer) -> Outcome:
    return _same([await peer.chat(max_tokens=12, temperature=1, seed=7) for _ in range(2)])


def _same(replies: list[Reply]) -> Outcome:
    for reply in replies:
        if reason := refuses(reply):
            return skipped(reason)
        if bad := not_ok(reply):
            return bad
    first, second = (text_of(reply) for reply in replies)
    if first == second:
        return passed()
    return failed(say("{first}, then {second}", first=repr(first[:60]), second=repr(second[:60])))
