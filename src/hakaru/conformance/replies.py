"""What checks look at in an answer. Pure."""

from typing import Any, Final

from hakaru.conformance.peer import error_text
from hakaru.conformance.shapes import misshapen
from hakaru.conformance.verdicts import Outcome, failed, passed
from hakaru.conformance.wire import Reply
from hakaru.language import say

NOT_ABOUT_THE_REQUEST: Final = frozenset({401, 403, 404, 405, 408, 429})
"""Statuses of 4xx that say nothing about what a request's fields hold."""


def not_ok(reply: Reply) -> Outcome | None:
    """The failure of a right question that was not answered with 200; None if it was."""
    if reply.is_ok:
        return None
    return failed(_told(reply), is_loud=True)


def refuses(reply: Reply) -> str:
    """What the server says where it refuses a request that it need not answer; empty if it does
    not refuse.
    """
    return _told(reply) if 400 <= reply.status < 500 or reply.status == 501 else ""


def _told(reply: Reply) -> str:
    return say("{n}: {reason}", n=reply.status, reason=error_text(reply))


def is_refusal(reply: Reply) -> bool:
    """Whether a wrong request was refused as one."""
    return 400 <= reply.status < 500 and reply.status not in NOT_ABOUT_THE_REQUEST


def shaped(reply: Reply, shape: dict[str, Any]) -> Outcome:
    """Whether an answer came, as JSON, in its shape."""
    if bad := not_ok(reply):
        return bad
    if reply.media != "application/json":
        return failed(
            say("the content type is '{found}', expected application/json", found=reply.media)
        )
    if reply.value is None:
        return failed(say("the body is no JSON"))
    wrong = misshapen(reply.value, shape)
    return failed(wrong) if wrong else passed()


def field_of(reply: Reply, name: str) -> Any:
    """A field of the answer; None if it is no object, or has none."""
    return reply.value.get(name) if isinstance(reply.value, dict) else None


def choice_of(reply: Reply) -> dict[str, Any]:
    """The first choice of a chat or a completion; empty if there is none."""
    choices = field_of(reply, "choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else {}


def message_of(reply: Reply) -> dict[str, Any]:
    """The message of a chat; empty if there is none."""
    message = choice_of(reply).get("message")
    return message if isinstance(message, dict) else {}


def text_of(reply: Reply) -> str:
    """The answer's text, of a chat or a completion."""
    text = message_of(reply).get("content", choice_of(reply).get("text"))
    return text if isinstance(text, str) else ""


def usage_of(reply: Reply, field: str) -> int | None:
    """A count of the answer's usage; None if it has none."""
    usage = field_of(reply, "usage")
    value = usage.get(field) if isinstance(usage, dict) else None
    return value if type(value) is int else None


def message_tokens(reply: Reply) -> int:
    """The tokens of the prompt that a message of Anthropic's tells: read, and found in a cache."""
    parts = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(usage_of(reply, part) or 0 for part in parts)
