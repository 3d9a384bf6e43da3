"""Checks of tools: whether the model sees them, and whether a call that is demanded comes.

As in `forced_checks`, the prompt asks for something else than a call.
"""

import json
from collections.abc import Collection
from typing import Any, Final

from hakaru.conformance.forced_checks import POEM, ROOM
from hakaru.conformance.peer import Peer, user
from hakaru.conformance.replies import choice_of, message_of, not_ok, refuses, text_of, usage_of
from hakaru.conformance.shapes import TOOL_CALL, misshapen
from hakaru.conformance.verdicts import Check, Outcome, failed, passed, skipped, unknown
from hakaru.conformance.wire import Reply
from hakaru.language import say

_DIRECTION: Final = {
    "type": "object",
    "properties": {"zq_way": {"enum": ["zq-north", "zq-south"]}},
    "required": ["zq_way"],
    "additionalProperties": False,
}


def tool_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check(
            "tools.shown",
            "severe",
            say("tools are shown to the model, or refused; they are not dropped"),
            _shown,
            "chat",
        ),
        Check(
            "tools.required",
            "severe",
            say("tool_choice required gives a call of the tool, with arguments of its form"),
            _required,
            "chat",
        ),
        Check(
            "tools.named",
            "severe",
            say("tool_choice with a name gives a call of that tool"),
            _named,
            "chat",
        ),
        Check(
            "tools.stream",
            "moderate",
            say("a streamed call has index, id and name, and arguments that can be joined"),
            _streamed,
            "chat",
        ),
        Check(
            "tools.none", "moderate", say("tool_choice none gives a text, no call"), _none, "chat"
        ),
        Check(
            "tools.result",
            "moderate",
            say("a conversation with a call and its result is answered"),
            _result,
            "chat",
        ),
    )


def tool(name: str) -> dict[str, Any]:
    """A tool with one argument."""
    return {
        "type": "function",
        "function": {"name": name, "description": "Turn the camera.", "parameters": _DIRECTION},
    }


CALLED: Final = frozenset({"tool_calls"})
"""Why an answer with a call ends. Where the request names the tool, OpenAI's own says `stop`."""
TOOLS: Final = [tool("zq_turn")]
CALLS: Final[dict[str, Any]] = {
    "messages": user(POEM),
    "tools": TOOLS,
    "tool_choice": "required",
    "max_tokens": ROOM,
}


async def _shown(peer: Peer) -> Outcome:
    """By the count of the prompt: tools that the model sees make it longer."""
    plain = await peer.chat(messages=user(POEM))
    with_tools = await peer.chat(messages=user(POEM), tools=TOOLS)
    if reason := refuses(with_tools):
        return passed(reason)
    if bad := not_ok(plain) or not_ok(with_tools):
        return bad
    without, read = (usage_of(reply, "prompt_tokens") for reply in (plain, with_tools))
    if without is None or read is None:
        return unknown(say("there is no usage"))
    if read > without:
        return passed()
    return failed(say("they were dropped: {n} tokens were read with them and without", n=read))


async def _required(peer: Peer) -> Outcome:
    return _judged_call(await peer.chat(**CALLS), "zq_turn", CALLED)


async def _named(peer: Peer) -> Outcome:
    choice = {"type": "function", "function": {"name": "zq_look"}}
    fields = {**CALLS, "tools": [tool("zq_turn"), tool("zq_look")], "tool_choice": choice}
    return _judged_call(await peer.chat(**fields), "zq_look", {*CALLED, "stop"})


def _judged_call(reply: Reply, name: str, reasons: Collection[str]) -> Outcome:
    if reason := refuses(reply):
        return skipped(reason)
    if bad := not_ok(reply):
        return bad
    calls, ended = message_of(reply).get("tool_calls"), choice_of(reply).get("finish_reason")
    if ended == "length" and (calls or _may_become_call(text_of(reply))):
        return unknown(say("the answer did not end within {n} tokens", n=ROOM))
    if not calls:
        return failed(say("there is no call, and no error"))
    if wrong := misshapen(calls[0], TOOL_CALL):
        return failed(f"tool_calls[0]{wrong[1:]}")
    return _judged_function(calls[0]["function"], name, ended, reasons)


def _judged_function(
    function: dict[str, Any], name: str, reason: Any, reasons: Collection[str]
) -> Outcome:
    """Whether a call is one of the tool `name`, with arguments of its form, and ended for one of
    the `reasons`.
    """
    if function["name"] != name:
        return failed(say("the call is of {found}", found=repr(function["name"])))
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        return failed(say("the arguments are no JSON: {text}", text=repr(function["arguments"])))
    if wrong := misshapen(arguments, _DIRECTION):
        return failed(f"arguments{wrong[1:]}")
    if reason not in reasons:
        return failed(say("finish_reason is {found}", found=repr(reason)), "moderate")
    return passed()


async def _streamed(peer: Peer) -> Outcome:
    reply = await peer.chat(**CALLS, stream=True)
    if reason := refuses(reply):
        return skipped(reason)
    if bad := not_ok(reply):
        return bad
    stream = reply.stream
    pieces = [call for delta in stream.deltas for call in delta.get("tool_calls") or []]
    if stream.finish_reasons == ["length"] and (pieces or _may_become_call(stream.text)):
        return unknown(say("the answer did not end within {n} tokens", n=ROOM))
    if not pieces:
        return failed(say("there is no call, and no error"))
    if any(type(piece.get("index")) is not int for piece in pieces):
        return failed(say("a piece of the call has no index"))
    first = [piece for piece in pieces if piece["index"] == 0]
    if not (first and first[0].get("id")):
        return failed(say("the first piece of the call has no id"))
    functions = [piece.get("function") or {} for piece in first]
    joined = {
        "name": "".join(f.get("name") or "" for f in functions),
        "arguments": "".join(f.get("arguments") or "" for f in functions),
    }
    ended = next(iter(stream.finish_reasons), None)
    return _judged_function(joined, "zq_turn", ended, CALLED)


async def _none(peer: Peer) -> Outcome:
    reply = await peer.chat(**{**CALLS, "tool_choice": "none", "max_tokens": 8})
    if reason := refuses(reply):
        return skipped(reason)
    if bad := not_ok(reply):
        return bad
    return failed(say("there is a call")) if message_of(reply).get("tool_calls") else passed()


async def _result(peer: Peer) -> Outcome:
    call = {
        "id": "call_zq1",
        "type": "function",
        "function": {"name": "zq_turn", "arguments": '{"zq_way": "zq-north"}'},
    }
    messages = [
        *user("Turn the camera to the north."),
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_zq1", "content": "done"},
    ]
    reply = await peer.chat(messages=messages, tools=TOOLS, max_tokens=8)
    if reason := refuses(reply):
        return skipped(reason)
    return not_ok(reply) or passed()


def _may_become_call(text: str) -> bool:
    """Whether an answer that was cut off may be the beginning of a call: models mark one by a
    bracket.
    """
    return not text.strip() or text.lstrip()[0] in "{[<"
