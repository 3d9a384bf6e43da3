"""Checks of `/v1/completions`, the older endpoint, on which evaluation programs rely."""

from hakaru.conformance.chat_checks import LONG, judged_stop, judged_usage, stop_in
from hakaru.conformance.peer import Peer
from hakaru.conformance.replies import (
    choice_of,
    field_of,
    not_ok,
    refuses,
    shaped,
    text_of,
    usage_of,
)
from hakaru.conformance.shapes import COMPLETION
from hakaru.conformance.stream_checks import WITH_USAGE
from hakaru.conformance.stream_events import DONE
from hakaru.conformance.verdicts import Check, Outcome, failed, passed, skipped, unknown
from hakaru.language import say


def completion_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check(
            "completions.shape",
            "moderate",
            say("a text_completion in its shape"),
            _shape,
            "completions",
        ),
        Check(
            "completions.usage",
            "moderate",
            say("usage counts prompt, answer and both together"),
            _usage,
            "completions",
        ),
        Check(
            "completions.stream",
            "moderate",
            say("a stream of texts with one finish_reason, the usage and [DONE]"),
            _stream,
            "completions",
        ),
        Check(
            "completions.stop",
            "severe",
            say("the answer ends before the text in stop, with finish_reason stop"),
            _stop,
            "completions",
        ),
        Check(
            "completions.batch",
            "severe",
            say("two prompts in one request get two answers, in order"),
            _batch,
            "completions",
        ),
        Check(
            "completions.tokens",
            "moderate",
            say("a prompt of token numbers is read as so many tokens"),
            _tokens,
            "completions",
        ),
        Check(
            "completions.echo",
            "minor",
            say("echo gives the prompt back before the answer, or is refused"),
            _echo,
            "completions",
        ),
    )


async def _shape(peer: Peer) -> Outcome:
    return shaped(await peer.once("completions", peer.completion_body()), COMPLETION)


async def _usage(peer: Peer) -> Outcome:
    reply = await peer.once("completions", peer.completion_body())
    if bad := not_ok(reply):
        return bad
    return judged_usage(field_of(reply, "usage"))


async def _stream(peer: Peer) -> Outcome:
    reply = await peer.complete(stream=True, stream_options=WITH_USAGE)
    if bad := not_ok(reply):
        return bad
    stream = reply.stream
    if any(not isinstance(chunk, dict) for chunk in stream.chunks):
        return failed(say("an event is no JSON"))
    if len(stream.finish_reasons) != 1:
        return failed(say("chunks with a finish_reason: {n}", n=len(stream.finish_reasons)))
    if not reply.events or reply.events[-1].data != DONE:
        return failed(say("there is no [DONE]"))
    if not stream.usages:
        return failed(say("there is no usage"), "minor")
    return passed()


async def _stop(peer: Peer) -> Outcome:
    free = await peer.complete(max_tokens=LONG, seed=7)
    if bad := not_ok(free):
        return bad
    text = text_of(free)
    if (stop := stop_in(text)) is None:
        return unknown(say("the answer is too short to take a stop text from it"))
    reply = await peer.complete(max_tokens=LONG, seed=7, stop=[stop])
    if bad := not_ok(reply):
        return bad
    return judged_stop(text, stop, text_of(reply), choice_of(reply).get("finish_reason"))


async def _batch(peer: Peer) -> Outcome:
    reply = await peer.complete(prompt=["one, two, three,", "red, green,"])
    if reason := refuses(reply):
        return skipped(reason)
    if bad := not_ok(reply):
        return bad
    choices = reply.value["choices"]
    order = [choice.get("index") for choice in choices if isinstance(choice, dict)]
    return passed() if order == [0, 1] else failed(say("their numbers are {found}", found=order))


async def _tokens(peer: Peer) -> Outcome:
    reply = await peer.complete(prompt=[5, 6, 7, 8, 9])
    if reason := refuses(reply):
        return skipped(reason)
    if bad := not_ok(reply):
        return bad
    n = usage_of(reply, "prompt_tokens")
    if n is None:
        return unknown(say("there is no usage"))
    if n in {5, 6}:  # some servers set a first token before the prompt
        return passed()
    return failed(say("{found} tokens instead of {expected} were read", found=n, expected=5))


async def _echo(peer: Peer) -> Outcome:
    prompt = "one, two, three,"
    reply = await peer.complete(prompt=prompt, echo=True)
    if reason := refuses(reply):
        return passed(reason)
    if bad := not_ok(reply):
        return bad
    if prompt in text_of(reply):
        return passed()
    return failed(say("the answer came without it, and no error"))
