"""What a request holds. What the engine would take in silence, fail on or never end on is refused,
by the name of its field.
"""

import json
from typing import Any

import pytest

from hakaru.serving.request_schemas import SCHEMAS, Unreadable, decoded, has_tools

CHAT = "/v1/chat/completions"
TURN = {"role": "user", "content": "Hello"}
CALL = {"id": "1", "type": "function", "function": {"name": "sky", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "sky", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    "chat",
    [
        {},
        {"stop": None, "tools": None, "response_format": None, "stream": None, "logit_bias": None},
        {"stop": "a"},
        {"stop": ["a", "b"]},
        {"tools": [TOOL], "tool_choice": "auto"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "sky"}}},
        {"logit_bias": {"15": -100}},
        {"logit_bias": [[15, False], ["word", 1.5]]},
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}, "name": "x"}}},
        {"response_format": {"type": "json_object", "schema": {"type": "object"}}},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
        {"messages": [TURN, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                      {"role": "tool", "tool_call_id": "1", "content": "It rains."}]},
        {"chat_template_kwargs": {"enable_thinking": False}, "some_field_of_the_future": 5},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"logprobs": True, "top_logprobs": 3, "n": 1, "seed": 1, "user": "me"},
    ],
)  # fmt: skip
def test_what_clients_send_is_taken(chat: dict[str, Any]) -> None:
    """Also with fields that nobody here knows, and with null in the place of nothing."""
    decoded(CHAT, json.dumps({"messages": [TURN], **chat}).encode())


@pytest.mark.parametrize(
    ("chat", "field"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [TURN, {"content": "Hello"}]}, "messages[1]"),
        ({"messages": [{"role": 5, "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "smell"}]}]},
         "messages[0].content[0].type"),
        ({"messages": [{"role": "assistant", "tool_calls": 5}]}, "messages[0].tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"type": "function"}]}]},
         "messages[0].tool_calls[0]"),
        ({"tools": 5}, "tools"),
        ({"tools": [{}]}, "tools[0]"),
        ({"tools": [{"type": "function", "function": {"name": 5}}]}, "tools[0].function.name"),
        ({"tools": [{"type": "function", "function": {"name": "a", "parameters": 5}}]},
         "tools[0].function.parameters"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"response_format": 5}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": 5}}},
         "response_format.json_schema.schema"),
        ({"json_schema": 5}, "json_schema"),
        ({"logit_bias": 5}, "logit_bias"),
        ({"logit_bias": {"15": "much"}}, "logit_bias[...]"),
        ({"chat_template_kwargs": 5}, "chat_template_kwargs"),
        ({"reasoning_format": "nonsense"}, "reasoning_format"),
        ({"model": 5}, "model"),
        ({"stream_options": 5}, "stream_options"),
    ],
)  # fmt: skip
def test_what_is_no_such_request_is_refused_by_its_field(chat: dict[str, Any], field: str) -> None:
    """With what was expected."""
    with pytest.raises(Unreadable, match=r"expected|missing|invalid") as caught:
        decoded(CHAT, json.dumps({"messages": [TURN], **chat}).encode())
    assert caught.value.field == field


@pytest.mark.parametrize("path", SCHEMAS)
@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"{}", b"[" * 10**5, b'{"a":' * 10**5,
        b'{"messages":"\xff"}', b'{"messages":[{"role":"user","content":"\\ud800"}]}',
    ],
    ids=[
        "empty", "half", "list", "null", "text", "no fields", "deep list", "deep object",
        "no UTF-8", "half a letter",
    ],
)  # fmt: skip
def test_no_interface_takes_what_is_no_request(path: str, body: bytes) -> None:
    """Whatever it is, there is one sentence, and no crash."""
    with pytest.raises(Unreadable, match=r"\w"):
        decoded(path, body)


@pytest.mark.parametrize(
    ("path", "choice", "shows"),
    [
        (CHAT, None, True), (CHAT, "auto", True), (CHAT, "none", False),
        ("/v1/responses", "none", False), ("/v1/messages", {"type": "auto"}, True),
        ("/v1/messages", {"type": "none"}, False),
    ],
)  # fmt: skip
def test_tools_that_are_not_to_be_used_are_no_tools(path: str, choice: Any, shows: bool) -> None:
    """In OpenAI's spelling and in Anthropic's: a template without a place for tools then serves."""
    tool = TOOL | {"name": "sky"}
    chat = {"messages": [TURN], "input": "Hello", "max_tokens": 1, "tools": [tool]}
    body = json.dumps(chat | ({"tool_choice": choice} if choice else {})).encode()
    assert has_tools(decoded(path, body)) == shows


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens", "n_predict"])
def test_a_number_of_tokens_stays_what_it_is(field: str) -> None:
    """The engine keeps 32 bits: it would write one token for 2**63, with a 200."""
    for n in (-1, 0, 5.0, 2**31 - 1, None):
        decoded(CHAT, json.dumps({"messages": [TURN], field: n}).encode())
    for n in (2**31, 2**63, 2**70):
        with pytest.raises(Unreadable) as refused:
            decoded(CHAT, json.dumps({"messages": [TURN], field: n}).encode())
        assert refused.value.field == field
