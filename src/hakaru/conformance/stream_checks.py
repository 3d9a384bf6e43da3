"""Checks of a streamed chat: the events as they are on the wire, their order, and their end."""

from typing import Any, Final

from hakaru.conformance.chat_checks import LONG, judged_stop, judged_usage, stop_in
from hakaru.conformance.peer import Peer
from hakaru.conformance.replies import not_ok
from hakaru.conformance.shapes import CHUNK, misshapen
from hakaru.conformance.stream_events import DONE
from hakaru.conformance.verdicts import Check, Outcome, failed, passed, unknown
from hakaru.conformance.wire import Reply
from hakaru.language import say

WITH_USAGE: Final = {"include_usage": True}
BRIEF_S: Final = 0.3
"""Seconds of a stream in which events that come together may have been held back by chance."""
FLOWED: Final = 0.5
"""The part of so brief a stream's time over which its events come if none was held back."""
AT_ONCE: Final = 0.1
"""The part of a stream's time in which all its events come if they were held back."""


def stream_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check(
            "stream.events",
            "moderate",
            say("text/event-stream, in which each event is one chat.completion.chunk"),
            _events,
            "chat",
        ),
        Check("stream.role", "minor", say("the first delta has the role assistant"), _role, "chat"),
        Check(
            "stream.finish",
            "moderate",
            say("one chunk has a finish_reason, and no text comes after it"),
            _finish,
            "chat",
        ),
        Check("stream.done", "moderate", say("the last event is [DONE]"), _done, "chat"),
        Check(
            "stream.usage",
            "moderate",
            say("include_usage gives the usage in the last chunk, which has no choice"),
            _usage,
            "chat",
        ),
        Check(
            "stream.no_usage",
            "minor",
            say("without include_usage every chunk has a choice"),
            _no_usage,
            "chat",
        ),
        Check("stream.flows", "minor", say("text comes as it is written"), _flows, "chat"),
        Check(
            "stream.stop",
            "severe",
            say("no delta has the text in stop, nor the beginning of it"),
            _stop,
            "chat",
        ),
        Check(
            "stream.error",
            "moderate",
            say("a wrong request is refused with a 4xx status, not with a stream"),
            _error,
            "chat",
        ),
    )


async def _streamed(peer: Peer, **fields: Any) -> Reply:
    return await peer.once("chat", peer.chat_body(stream=True, **{"max_tokens": 12, **fields}))


async def _events(peer: Peer) -> Outcome:
    reply = await _streamed(peer)
    if bad := not_ok(reply):
        return bad
    if reply.media != "text/event-stream":
        return failed(
            say("the content type is '{found}', expected text/event-stream", found=reply.media)
        )
    stream = reply.stream
    if not stream.chunks:
        return failed(say("there are no events"))
    for chunk in stream.chunks:
        if chunk is None:
            return failed(say("an event is no JSON"))
        if wrong := misshapen(chunk, CHUNK):
            return failed(wrong)
    if len({chunk["id"] for chunk in stream.chunks}) != 1:
        return failed(say("the chunks of one answer have different ids"), "minor")
    if not (stream.text or stream.thoughts):
        return failed(say("the deltas hold no text"))
    return passed()


async def _role(peer: Peer) -> Outcome:
    reply = await _streamed(peer)
    if bad := not_ok(reply):
        return bad
    first = next(iter(reply.stream.deltas), {})
    if first.get("role") == "assistant":
        return passed()
    return failed(say("its role is {found}", found=repr(first.get("role"))))


async def _finish(peer: Peer) -> Outcome:
    reply = await _streamed(peer)
    if bad := not_ok(reply):
        return bad
    stream = reply.stream
    if len(stream.finish_reasons) != 1:
        return failed(say("chunks with a finish_reason: {n}", n=len(stream.finish_reasons)))
    last = next(i for i, choice in enumerate(stream.choices) if choice.get("finish_reason"))
    late = [choice.get("delta") or {} for choice in stream.choices[last + 1 :]]
    if any(delta.get("content") for delta in late):
        return failed(say("text came after it"))
    return passed()


async def _done(peer: Peer) -> Outcome:
    reply = await _streamed(peer)
    if bad := not_ok(reply):
        return bad
    ends = [event.data == DONE for event in reply.events]
    if not any(ends):
        return failed(say("there is no [DONE]"))
    if not ends[-1] or sum(ends) != 1:
        return failed(say("events came after [DONE]"))
    return passed()


async def _usage(peer: Peer) -> Outcome:
    reply = await _streamed(peer, stream_options=WITH_USAGE)
    if bad := not_ok(reply):
        return bad
    usages = reply.stream.usages
    if not usages:
        return failed(say("there is no usage"))
    last = reply.stream.chunks[-1]
    if not (isinstance(last, dict) and last.get("usage")):
        return failed(say("the usage is not in the last chunk"), "minor")
    if last.get("choices") != []:
        return failed(say("the chunk with the usage has choices"), "minor")
    return judged_usage(usages[-1])


async def _no_usage(peer: Peer) -> Outcome:
    reply = await _streamed(peer)
    if bad := not_ok(reply):
        return bad
    without = [c for c in reply.stream.chunks if isinstance(c, dict) and not c.get("choices")]
    return failed(say("chunks without a choice: {n}", n=len(without))) if without else passed()


async def _flows(peer: Peer) -> Outcome:
    reply = await _streamed(peer, max_tokens=LONG)
    if bad := not_ok(reply):
        return bad
    times = [event.at_s for event in reply.events]
    took_s = times[-1] - times[0]
    if len(reply.stream.deltas) < 3 or (
        reply.seconds < BRIEF_S and took_s < FLOWED * reply.seconds
    ):
        return unknown(say("the answer was too short to tell"))
    if took_s < AT_ONCE * reply.seconds and times[0] > BRIEF_S:
        return _held_back(times, reply.seconds, peer.first_s)
    return passed()


def _held_back(times: list[float], seconds: float, first_s: float) -> Outcome:
    """All events came together; where even a short answer takes that long, nothing follows."""
    if times[0] < 2 * first_s:
        return unknown(say("the answer was too short to tell"))
    return failed(say("nothing came for {s:.1f} s, and then all at once", s=times[0]))


async def _stop(peer: Peer) -> Outcome:
    free = await _streamed(peer, max_tokens=LONG, seed=7)
    if bad := not_ok(free):
        return bad
    text = free.stream.text
    if (stop := stop_in(text)) is None:
        return unknown(say("the answer is too short to take a stop text from it"))
    reply = await _streamed(peer, max_tokens=LONG, seed=7, stop=[stop])
    if bad := not_ok(reply):
        return bad
    stream = reply.stream
    free_end, end = text[: text.find(stop)], stream.text
    if end.strip().startswith(free_end.strip()) and end.strip() != free_end.strip():
        return failed(say("the beginning of {text} was sent", text=repr(stop)))
    return judged_stop(text, stop, end, next(iter(stream.finish_reasons), None))


async def _error(peer: Peer) -> Outcome:
    reply = await _streamed(peer, messages="no list")
    if 400 <= reply.status < 500:
        return passed()
    if reply.status == 200 and reply.stream.error:
        return failed(say("it came as an event of a stream with status 200"), "minor")
    return failed(say("it came with status {n}", n=reply.status))
