"""Checks of what a request may hold beside the prompt: it is read, or refused, but not dropped.

By the count of the prompt, as for tools: with it more tokens are read than without. The number of
an earlier answer that nobody gave must be refused, or else the model answers without the
conversation.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from msgspec import Struct

from hakaru.conformance.peer import Peer, user
from hakaru.conformance.replies import message_tokens, not_ok, refuses, usage_of
from hakaru.conformance.verdicts import Check, Outcome, Severity, failed, passed, skipped
from hakaru.conformance.wire import Reply
from hakaru.language import say


class Dropped(Struct, frozen=True):
    """A request with something that a server may drop."""

    name: str
    endpoint: str
    fields: Mapping[str, Any]  # beside those of a plain request
    told: str
    severity: Severity = "severe"


_FUNCTION: Final = {"name": "zq_sky", "description": "What the sky looks like in a city now."}
_DOCUMENT: Final = {
    "type": "document",
    "source": {"type": "text", "media_type": "text/plain", "data": "The secret is QX7431."},
}
DROPPED: Final = (
    Dropped("chat.functions", "chat", {"functions": [_FUNCTION]}, '"functions": […]'),
    Dropped("completions.suffix", "completions", {"suffix": "And so it ends."}, '"suffix": "…"'),
    Dropped(
        "responses.previous", "responses", {"previous_response_id": "resp_zq7431"},
        '"previous_response_id": "resp_zq7431"',
    ),
    Dropped(
        "responses.built_in", "responses", {"tools": [{"type": "web_search"}]},
        '"tools": [{"type": "web_search"}]', "moderate",
    ),
    Dropped(
        "messages.document", "messages",
        {"messages": user([_DOCUMENT, {"type": "text", "text": "Hello"}])}, '"type": "document"',
    ),
)  # fmt: skip


def dropped_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return tuple(
        Check(
            one.name,
            one.severity,
            say("{fault} is read, or refused; it is not dropped", fault=one.told),
            partial(_read_or_refused, one=one),
            one.endpoint,
        )
        for one in DROPPED
    )


async def _read_or_refused(peer: Peer, one: Dropped) -> Outcome:
    plain = {
        "chat": peer.chat_body(messages=user("Hello")),
        "completions": peer.completion_body(),
        "responses": {"model": peer.model, "input": "Hello", "max_output_tokens": 16},
        "messages": {"model": peer.model, "messages": user("Hello"), "max_tokens": 4},
    }[one.endpoint]
    reply = await peer.post(one.endpoint, {**plain, **one.fields})
    if reason := refuses(reply):
        return passed(reason)
    if bad := not_ok(reply):
        return bad
    with_it, without = _n_read(reply), _n_read(await peer.post(one.endpoint, plain))
    if not with_it:
        return skipped(say("there is no usage"))
    if with_it > without:
        return passed()
    return failed(say("dropped: {n} tokens were read with it and without", n=with_it))


def _n_read(reply: Reply) -> int:
    """Tokens of the prompt, in whatever interface; 0 where the server tells none."""
    return usage_of(reply, "prompt_tokens") or message_tokens(reply)
