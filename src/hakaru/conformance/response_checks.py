"""Checks of `/v1/responses`, OpenAI's newer endpoint."""

from typing import Any

from hakaru.conformance.forced_checks import FORM, POEM, ROOM, judged_json
from hakaru.conformance.peer import OMIT, Peer
from hakaru.conformance.replies import is_refusal, not_ok, refuses, shaped
from hakaru.conformance.shapes import RESPONSE
from hakaru.conformance.verdicts import Check, Outcome, failed, passed, skipped, unknown
from hakaru.conformance.wire import Reply
from hakaru.language import say


def response_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check(
            "responses.shape",
            "moderate",
            say("a response in its shape, with a text and usage"),
            _shape,
            "responses",
        ),
        Check(
            "responses.limit",
            "moderate",
            say("max_output_tokens ends it, with the status incomplete"),
            _limit,
            "responses",
        ),
        Check(
            "responses.turns",
            "moderate",
            say("a conversation goes on, with its turns as roles and texts"),
            _turns,
            "responses",
        ),
        Check(
            "responses.schema",
            "severe",
            say("the text has the form of the JSON schema"),
            _schema,
            "responses",
        ),
        Check(
            "responses.stream",
            "moderate",
            say("events from response.created to the end, named as their type says"),
            _stream,
            "responses",
        ),
        Check(
            "responses.sequence",
            "minor",
            say("the events of a stream are numbered"),
            _sequence,
            "responses",
        ),
        Check(
            "responses.wrong",
            "moderate",
            say("a request without input, or with a number for it, is refused with a 4xx status"),
            _wrong,
            "responses",
        ),
    )


def _body(peer: Peer, **fields: Any) -> dict[str, Any]:
    text = "Write the numbers from one to one hundred as words."
    body = {"model": peer.model, "input": text, "max_output_tokens": 16, "temperature": 0}
    return body | fields


async def _shape(peer: Peer) -> Outcome:
    reply = await peer.once("responses", _body(peer))
    outcome = shaped(reply, RESPONSE)
    if outcome.verdict != "pass":
        return outcome
    parts = [part for item in reply.value["output"] for part in item.get("content") or []]
    if not any(isinstance(part.get("text"), str) for part in parts):
        return failed(say("the output holds no text"))
    return passed()


async def _limit(peer: Peer) -> Outcome:
    reply = await peer.once("responses", _body(peer))
    if bad := not_ok(reply):
        return bad
    usage, status = reply.value.get("usage") or {}, reply.value.get("status")
    n = usage.get("output_tokens")
    if type(n) is not int:
        return unknown(say("there is no usage"))
    if n > 16:
        return failed(say("the answer has {n} tokens", n=n))
    if n < 16 or status == "incomplete":
        return passed()
    return failed(say("its status is {found}", found=repr(status)), "minor")


async def _turns(peer: Peer) -> Outcome:
    said = ("user", "Hello"), ("assistant", "Hello, how are you?"), ("user", "Fine. And you?")
    turns = [{"role": role, "content": text} for role, text in said]
    return shaped(await peer.once("responses", _body(peer, input=turns)), RESPONSE)


async def _schema(peer: Peer) -> Outcome:
    form = {"type": "json_schema", "name": "zq_form", "strict": True, "schema": FORM}
    reply = await peer.once(
        "responses", _body(peer, input=POEM, text={"format": form}, max_output_tokens=ROOM)
    )
    if reason := refuses(reply):
        return skipped(reason)
    if bad := not_ok(reply):
        return bad
    parts = [part for item in reply.value["output"] for part in item.get("content") or []]
    text = "".join(part.get("text") or "" for part in parts if part.get("type") == "output_text")
    n = (reply.value.get("usage") or {}).get("output_tokens")
    return judged_json(text, FORM, is_cut=n == ROOM)


async def _streamed(peer: Peer) -> Reply:
    return await peer.once("responses", _body(peer, stream=True))


async def _stream(peer: Peer) -> Outcome:
    reply = await _streamed(peer)
    if bad := not_ok(reply):
        return bad
    values = [event.value for event in reply.events if event.data != "[DONE]"]
    if not values or not all(isinstance(value, dict) for value in values):
        return failed(say("an event is no JSON"))
    types = [value.get("type") for value in values]
    named = [event.name for event in reply.events if event.data != "[DONE]"]
    if types[0] != "response.created":
        return failed(say("the first event is {found}", found=repr(types[0])))
    if types[-1] not in {"response.completed", "response.incomplete"}:
        return failed(say("the last event is {found}", found=repr(types[-1])))
    if named != types:
        return failed(say("an event is not named as its type says"))
    return _same_text(values)


def _same_text(values: list[dict[str, Any]]) -> Outcome:
    """Whether the pieces are those of the whole at the end."""
    pieces = [v.get("delta") for v in values if v.get("type") == "response.output_text.delta"]
    joined = "".join(piece for piece in pieces if isinstance(piece, str))
    output = (values[-1].get("response") or {}).get("output") or []
    parts = [part for item in output for part in item.get("content") or []]
    whole = "".join(p.get("text") or "" for p in parts if p.get("type") == "output_text")
    if joined != whole:
        return failed(say("the pieces make another text than the end tells"))
    return passed()


async def _sequence(peer: Peer) -> Outcome:
    reply = await _streamed(peer)
    if bad := not_ok(reply):
        return bad
    values = [event.value for event in reply.events if isinstance(event.value, dict)]
    found = [value.get("sequence_number") for value in values]
    numbers = [n for n in found if type(n) is int]
    if len(numbers) == len(found) and numbers == sorted(set(numbers)):
        return passed()
    return failed(say("their numbers are {found}", found=found[:4]))


async def _wrong(peer: Peer) -> Outcome:
    for value in (OMIT, 5):
        reply = await peer.post("responses", _body(peer, input=value))
        if not is_refusal(reply):
            return failed(say("it came with status {n}", n=reply.status))
    return passed()
