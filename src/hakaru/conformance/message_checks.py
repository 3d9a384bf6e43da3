"""Checks of `/v1/messages`, Anthropic's endpoint, which coding agents use."""

from typing import Any, Final

from hakaru.conformance.peer import OMIT, Peer, user
from hakaru.conformance.replies import (
    field_of,
    is_refusal,
    message_tokens,
    not_ok,
    refuses,
    shaped,
    usage_of,
)
from hakaru.conformance.shapes import ANTHROPIC, ANTHROPIC_ERROR, misshapen
from hakaru.conformance.verdicts import Check, Outcome, failed, passed, skipped, unknown
from hakaru.language import say

_ORDER: Final = (
    "message_start", "content_block_start", "content_block_delta", "content_block_stop",
    "message_delta", "message_stop",
)  # fmt: skip
"""The kinds of events of a stream, in the order in which each comes first."""


def message_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check(
            "messages.shape",
            "moderate",
            say("a message in Anthropic's shape, with usage"),
            _shape,
            "messages",
        ),
        Check(
            "messages.limit",
            "moderate",
            say("max_tokens ends it, with the stop_reason max_tokens"),
            _limit,
            "messages",
        ),
        Check(
            "messages.stream",
            "moderate",
            say("events from message_start to message_stop, named as their type says"),
            _stream,
            "messages",
        ),
        Check(
            "messages.count",
            "moderate",
            say("count_tokens tells as many tokens as are then read"),
            _count,
            "messages",
        ),
        Check(
            "messages.wrong",
            "moderate",
            say("messages that are missing, or a number, are refused with a 4xx status"),
            _wrong,
            "messages",
        ),
        Check(
            "messages.error",
            "minor",
            say("an error has Anthropic's form: type error, and an error with type and message"),
            _error,
            "messages",
        ),
    )


def _body(peer: Peer, **fields: Any) -> dict[str, Any]:
    messages = user("Write the numbers from one to one hundred as words.")
    body = {"model": peer.model, "messages": messages, "max_tokens": 4, "temperature": 0}
    return body | fields


async def _shape(peer: Peer) -> Outcome:
    return shaped(await peer.once("messages", _body(peer)), ANTHROPIC)


async def _limit(peer: Peer) -> Outcome:
    reply = await peer.once("messages", _body(peer))
    if bad := not_ok(reply):
        return bad
    n = usage_of(reply, "output_tokens")
    if n is None:
        return unknown(say("there is no usage"))
    if n > 4:
        return failed(say("the answer has {n} tokens", n=n))
    reason = reply.value.get("stop_reason")
    if n < 4 or reason == "max_tokens":
        return passed()
    return failed(say("its stop_reason is {found}", found=repr(reason)), "minor")


async def _stream(peer: Peer) -> Outcome:
    reply = await peer.post("messages", _body(peer, stream=True))
    if bad := not_ok(reply):
        return bad
    events = [event for event in reply.events if event.name != "ping"]
    types = [event.value.get("type") for event in events if isinstance(event.value, dict)]
    if len(types) != len(events):
        return failed(say("an event is no JSON"))
    if [event.name for event in events] != types:
        return failed(say("an event is not named as its type says"))
    order = list(dict.fromkeys(types))
    if order != list(_ORDER):
        return failed(say("the kinds of events are {found}", found=", ".join(map(str, order))))
    return passed()


async def _count(peer: Peer) -> Outcome:
    body = {name: value for name, value in _body(peer).items() if name != "max_tokens"}
    counted = await peer.post("/messages/count_tokens", body)
    if reason := refuses(counted):
        return skipped(reason)
    if bad := not_ok(counted):
        return bad
    told = field_of(counted, "input_tokens")
    if type(told) is not int:
        return failed(say("there is no input_tokens"))
    reply = await peer.once("messages", _body(peer))
    if bad := not_ok(reply):
        return bad
    read = message_tokens(reply)
    if told == read:
        return passed()
    return failed(say("{told} tokens were told, {found} read", told=told, found=read))


async def _wrong(peer: Peer) -> Outcome:
    for value in (OMIT, 5):
        reply = await peer.post("messages", _body(peer, messages=value))
        if not is_refusal(reply):
            return failed(say("it came with status {n}", n=reply.status))
    return passed()


async def _error(peer: Peer) -> Outcome:
    reply = await peer.post("messages", _body(peer, messages=OMIT))
    if reply.status < 400:
        return skipped(say("no error came"))
    wrong = misshapen(reply.value, ANTHROPIC_ERROR)
    return failed(wrong) if wrong else passed()
