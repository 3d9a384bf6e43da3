"""Checks of several clients at once, and of clients that leave."""

import asyncio
import time
from typing import Any, Final

from hakaru.conformance.forced_checks import schema_format
from hakaru.conformance.peer import Peer, user
from hakaru.conformance.replies import usage_of
from hakaru.conformance.verdicts import Check, Outcome, failed, passed, unknown
from hakaru.conformance.wire import NoAnswer, Reply
from hakaru.language import say

CLIENTS: Final = 4
LEAVE_S: Final = 2.0
"""Seconds after which a server is surely free again, beside three times the first answer."""
ENDLESS: Final = 2000  # tokens that nobody waits for


def together_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check(
            "together.answers",
            "severe",
            say("clients at the same time each get their own answer, or a 429 or 503"),
            _answers,
            "chat",
        ),
        Check(
            "together.cancel",
            "severe",
            say("where a client leaves, its answer ends and the next one is served"),
            _cancel,
            "chat",
        ),
    )


async def _answers(peer: Peer) -> Outcome:
    """By the counts of the prompts, which are of different lengths."""
    prompts = [user("Count." + " apple" * 12 * (i + 1)) for i in range(CLIENTS)]
    asked = (peer.chat(messages=messages, max_tokens=i + 2) for i, messages in enumerate(prompts))
    replies = list(await asyncio.gather(*asked))
    served = [reply for reply in replies if reply.status == 200]
    bad = [reply for reply in replies if reply.status not in {200, 429, 503}]
    if bad:
        return failed(say("it came with status {n}", n=bad[0].status), is_loud=True)
    if not served:
        return failed(say("none of {n} clients was served", n=CLIENTS))
    return _own(served)


def _own(served: list[Reply]) -> Outcome:
    counts = [usage_of(reply, "prompt_tokens") for reply in served]
    ids = {reply.value.get("id") for reply in served if isinstance(reply.value, dict)}
    if len(ids) != len(served):
        return failed(say("answers of different clients have the same id"), "minor")
    if None in counts:
        return unknown(say("there is no usage"))
    told = [n or 0 for n in counts]
    if told != sorted(set(told)):
        return failed(say("the counts of their prompts are {found}", found=told))
    if len(served) < CLIENTS:
        return passed(say("served at once: {n} of {total}", n=len(served), total=CLIENTS))
    return passed()


async def _cancel(peer: Peer) -> Outcome:
    """As many clients leave as several slots could take; then a short question is asked."""
    body = peer.chat_body(
        messages=user("Count from one to ten thousand in words, without an end."),
        max_tokens=ENDLESS,
        stream=True,
    )
    if peer.facts.get("forces"):
        body["response_format"] = schema_format(_endless())
    left = await asyncio.gather(*(_leave(peer, body) for _ in range(CLIENTS)))
    if not any(left):
        return unknown(say("no answer was so long that a client could leave"))
    began = time.perf_counter()
    soon = LEAVE_S + 3 * peer.first_s
    endpoint, plain = peer.plainest()
    try:
        reply = await peer.post(endpoint, plain)
    except NoAnswer as error:
        if error.trouble != "slow":
            raise
        return failed(say("no answer came within {n:g} s of it", n=peer.wire.within_s))
    spent = time.perf_counter() - began
    if reply.status != 200:
        return failed(say("it came with status {n}", n=reply.status), is_loud=True)
    if spent > soon:
        return failed(
            say("the next answer took {s:.1f} s, expected at most {most:.1f}", s=spent, most=soon)
        )
    return passed()


async def _leave(peer: Peer, body: dict[str, Any]) -> bool:
    """Read the beginning of an answer and close the connection. False if the answer was over, or
    did not begin.
    """
    try:
        reply = await peer.post(
            "chat", body, until=lambda seen: seen.count(b"data:") > 2, within_s=peer.wire.within_s
        )
    except NoAnswer:
        return False
    return reply.status == 200 and b"[DONE]" not in reply.body


def _endless() -> dict[str, Any]:
    """A form that takes many tokens."""
    many = {"type": "array", "items": {"enum": ["zq-a", "zq-b"]}, "minItems": 300, "maxItems": 300}
    return {
        "type": "object",
        "properties": {"zq_list": many},
        "required": ["zq_list"],
        "additionalProperties": False,
    }
