"""All checks, in the order in which they are asked: what is right first, then what is wrong, then
what may leave a server busy, and last what all errors had in common.
"""

from hakaru.conformance.chat_checks import chat_checks
from hakaru.conformance.completion_checks import completion_checks
from hakaru.conformance.connection_checks import connection_checks
from hakaru.conformance.context_checks import context_checks
from hakaru.conformance.dropped_checks import dropped_checks
from hakaru.conformance.forced_checks import forced_checks
from hakaru.conformance.key_checks import key_checks
from hakaru.conformance.message_checks import message_checks
from hakaru.conformance.model_checks import model_checks
from hakaru.conformance.refusal_checks import form_checks, refusal_checks
from hakaru.conformance.response_checks import response_checks
from hakaru.conformance.stream_checks import stream_checks
from hakaru.conformance.together_checks import together_checks
from hakaru.conformance.tool_checks import tool_checks
from hakaru.conformance.vector_checks import vector_checks
from hakaru.conformance.verdicts import Check


def every_check() -> tuple[Check, ...]:
    """The checks, with their sentences in the language in use."""
    return (
        *model_checks(),
        *key_checks(),
        *chat_checks(),
        *stream_checks(),
        *forced_checks(),
        *tool_checks(),
        *completion_checks(),
        *vector_checks(),
        *response_checks(),
        *message_checks(),
        *dropped_checks(),
        *refusal_checks(),
        *connection_checks(),
        *context_checks(),
        *together_checks(),
        *form_checks(),
    )
