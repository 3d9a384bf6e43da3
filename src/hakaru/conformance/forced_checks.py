"""Checks of answers in a form that a client demands: JSON, and a JSON schema.

The prompts ask for something else than the form, so that no obedient model passes in the place of a
server that does nothing. All values are of short lists, so that a small model comes to an end.
"""

import json
from typing import Any, Final

from hakaru.conformance.peer import Peer, user
from hakaru.conformance.replies import choice_of, not_ok, refuses, text_of
from hakaru.conformance.shapes import misshapen
from hakaru.conformance.verdicts import Check, Outcome, failed, passed, skipped, unknown
from hakaru.conformance.wire import Reply
from hakaru.language import say

ROOM: Final = 128
"""Tokens for an answer in a form; what does not end within them is not judged."""
POEM: Final = "Write a poem about the rain."
FORM: Final = {
    "type": "object",
    "properties": {"zq_open": {"type": "boolean"}, "zq_colour": {"enum": ["zq-red", "zq-green"]}},
    "required": ["zq_open", "zq_colour"],
    "additionalProperties": False,
}
_LETTERS: Final = "雨ä🙂"
_SPELLED: Final = {
    "type": "object",
    "properties": {"zq_word": {"enum": [_LETTERS]}},
    "required": ["zq_word"],
    "additionalProperties": False,
}


def forced_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check(
            "json.schema",
            "severe",
            say("the answer has the form of the JSON schema"),
            _schema,
            "chat",
        ),
        Check("json.object", "severe", say("the answer is a JSON object"), _json_object, "chat"),
        Check(
            "json.letters",
            "severe",
            say("no delta cuts a letter of several bytes"),
            _letters,
            "chat",
        ),
    )


def schema_format(schema: dict[str, Any]) -> dict[str, Any]:
    """The `response_format` that demands `schema`."""
    form = {"name": "zq_form", "strict": True, "schema": schema}
    return {"type": "json_schema", "json_schema": form}


async def _schema(peer: Peer) -> Outcome:
    reply = await peer.chat(
        messages=user(POEM), response_format=schema_format(FORM), max_tokens=ROOM
    )
    outcome = _judged(reply, FORM)
    peer.facts["forces"] = outcome.verdict == "pass"
    return outcome


async def _json_object(peer: Peer) -> Outcome:
    reply = await peer.chat(
        messages=user(POEM + ' Then write the JSON {"a": 1}.'),
        response_format={"type": "json_object"},
        max_tokens=ROOM,
    )
    return _judged(reply, {"type": "object"})


def _judged(reply: Reply, schema: dict[str, Any]) -> Outcome:
    if reason := refuses(reply):
        return skipped(reason)
    if bad := not_ok(reply):
        return bad
    is_cut = choice_of(reply).get("finish_reason") == "length"
    return judged_json(text_of(reply), schema, is_cut=is_cut)


def judged_json(text: str, schema: dict[str, Any], *, is_cut: bool) -> Outcome:
    """Whether the text of an answer has the form of `schema`; one that `is_cut` may be on its way
    there.
    """
    try:
        value = json.loads(text)
    except ValueError:
        if is_cut and _may_become_json(text):
            return unknown(say("the answer did not end within {n} tokens", n=ROOM))
        return failed(say("the answer is no JSON: {text}", text=repr(text[:80])))
    wrong = misshapen(value, schema)
    return failed(wrong) if wrong else passed()


def _may_become_json(text: str) -> bool:
    return not text.strip() or text.lstrip().startswith("{")


async def _letters(peer: Peer) -> Outcome:
    if not peer.facts.get("forces"):
        return skipped(say("only an answer in the form of a schema could force them"))
    reply = await peer.chat(
        messages=user(POEM), response_format=schema_format(_SPELLED), max_tokens=ROOM, stream=True
    )
    if bad := not_ok(reply):
        return bad
    stream = reply.stream
    if "\N{REPLACEMENT CHARACTER}" in stream.text:
        return failed(say("a letter came as the sign for damaged text"))
    if stream.finish_reasons == ["length"]:
        return unknown(say("the answer did not end within {n} tokens", n=ROOM))
    try:
        word = json.loads(stream.text)["zq_word"]
    except (ValueError, TypeError, KeyError):
        return failed(say("the answer is no JSON: {text}", text=repr(stream.text[:80])))
    return passed() if word == _LETTERS else failed(repr(word))
