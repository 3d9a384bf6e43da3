"""Requests in words that the engine follows."""

import json
from typing import Any

import pytest

from hakaru.serving.for_engine import for_engine
from hakaru.serving.request_schemas import Unreadable, decoded

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"
TURN = {"role": "user", "content": "Hello"}
SKY, SEA = ({"name": name, "parameters": {"type": "object"}} for name in ("sky", "sea"))
IN_CHAT = [{"type": "function", "function": tool} for tool in (SKY, SEA)]
IN_RESPONSES = [{"type": "function", **tool} for tool in (SKY, SEA)]
IN_MESSAGES = [{"name": "sky", "input_schema": {}}, {"name": "sea", "input_schema": {}}]


def sent(path: str, asked: dict[str, Any]) -> dict[str, Any]:
    """What the engine gets."""
    body = json.dumps(asked).encode()
    found: dict[str, Any] = json.loads(for_engine(decoded(path, body), body))
    return found


@pytest.mark.parametrize(
    ("path", "tools", "choice", "names", "told"),
    [
        (CHAT, IN_CHAT, {"type": "function", "function": {"name": "sea"}}, ["sea"], "required"),
        (RESPONSES, IN_RESPONSES, {"type": "function", "name": "sea"}, ["sea"], "required"),
        (MESSAGES, IN_MESSAGES, {"type": "tool", "name": "sea"}, ["sea"], {"type": "any"}),
        (MESSAGES, IN_MESSAGES, {"type": "any"}, ["sky", "sea"], {"type": "any"}),
        (MESSAGES, IN_MESSAGES, {"type": "none"}, [], None),
        (CHAT, IN_CHAT, "required", ["sky", "sea"], "required"),
        (
            CHAT, IN_CHAT,
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": IN_CHAT[:1]}},
            ["sky"], "auto",
        ),
        (
            RESPONSES, IN_RESPONSES,
            {"type": "allowed_tools", "mode": "required", "tools": IN_RESPONSES[1:]},
            ["sea"], "required",
        ),
    ],
)  # fmt: skip
def test_of_the_tools_only_those_that_were_chosen_are_shown(
    path: str, tools: list[Any], choice: Any, names: list[str], told: Any
) -> None:
    """And one of them must be called, where that was asked for."""
    text = {"input": "Hello"} if path == RESPONSES else {"messages": [TURN], "max_tokens": 1}
    found = sent(path, {**text, "tools": tools, "tool_choice": choice})
    shown = found.get("tools", [])
    assert [tool.get("name") or tool["function"]["name"] for tool in shown] == names
    assert found.get("tool_choice") == told


@pytest.mark.parametrize(
    "choice", [{"type": "function", "function": {"name": "moon"}}, {"type": "file_search"}, {}]
)
def test_a_tool_that_is_not_there_cannot_be_chosen(choice: dict[str, Any]) -> None:
    """The engine would let the model choose by itself."""
    with pytest.raises(Unreadable, match="tool_choice") as caught:
        sent(CHAT, {"messages": [TURN], "tools": IN_CHAT, "tool_choice": choice})
    assert caught.value.field == "tool_choice"


def test_the_form_of_a_response_is_one_that_the_engine_knows() -> None:
    """A JSON Schema, or any JSON; a text has none."""
    form = {"type": "json_schema", "name": "a", "schema": {"const": 1}}
    found = sent(RESPONSES, {"input": "x", "text": {"format": form}})
    assert found["response_format"]["json_schema"]["schema"] == {"const": 1}
    found = sent(RESPONSES, {"input": "x", "text": {"format": {"type": "json_object"}}})
    assert found["response_format"] == {"type": "json_object"}
    for text in ({"format": {"type": "text"}}, {"verbosity": "low"}, None):
        assert "response_format" not in sent(RESPONSES, {"input": "x", "text": text})


def test_turns_of_a_response_are_messages() -> None:
    """Also where nobody says so; what is something else stays."""
    turns = [TURN, {"role": "assistant", "content": "Yes"}]
    call = {"type": "function_call_output", "call_id": "1", "output": "x"}
    found = sent(RESPONSES, {"input": [*turns, call]})["input"]
    assert [item["type"] for item in found] == ["message", "message", "function_call_output"]
    assert found[1]["content"] == "Yes"


def test_a_thought_without_its_text() -> None:
    """Its summary stands for it; one that can only be read by whom it is from goes."""
    words = [{"type": "summary_text", "text": "I look."}]
    thoughts = [{"type": "reasoning", "summary": summary} for summary in (words, [])]
    found = sent(RESPONSES, {"input": [TURN, *thoughts]})["input"]
    assert [item["content"] for item in found] == ["Hello", words]


def test_no_thinking_is_what_templates_call_it() -> None:
    """Other ways of thinking are left to the engine."""
    asked = {"messages": [TURN], "max_tokens": 1}
    found = sent(MESSAGES, asked | {"thinking": {"type": "disabled"}})
    assert found["chat_template_kwargs"] == {"enable_thinking": False}
    assert "chat_template_kwargs" not in sent(MESSAGES, asked | {"thinking": {"type": "adaptive"}})


def test_tools_that_only_their_service_runs_are_not_shown() -> None:
    """The engine would show them as tools without arguments."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    own = IN_MESSAGES[0] | {"type": "custom"}
    asked = {"messages": [TURN], "max_tokens": 1, "tools": [search, own]}
    assert sent(MESSAGES, asked)["tools"] == [own]


def test_what_the_engine_follows_by_itself_is_not_written_anew() -> None:
    """Byte by byte."""
    body = b'{ "messages": [{"role": "user", "content": "x"}],  "max_tokens": 3}'
    assert for_engine(decoded(CHAT, body), body) is body


@pytest.mark.parametrize("more", [{"output_format": {}}, {"output_config": {"format": {}}}])
def test_a_form_of_messages_is_refused(more: dict[str, Any]) -> None:
    """The engine drops it in silence, and has no other word for it there."""
    with pytest.raises(Unreadable, match="/v1/responses"):
        sent(MESSAGES, {"messages": [TURN], "max_tokens": 1, **more})


def test_functions_of_a_group_are_shown_one_by_one() -> None:
    """With what the group says of itself before the first; earlier calls have the same names, and
    the call of a function by itself keeps its own.
    """
    group = {
        "type": "namespace",
        "name": "mcp__w",
        "description": "Weather.",
        "tools": IN_RESPONSES,
    }
    call = {"type": "function_call", "name": "sky", "arguments": "{}", "call_id": "1"}
    got = sent(
        RESPONSES,
        {"input": [TURN, call | {"namespace": "mcp__w"}, call], "tools": [IN_RESPONSES[0], group]},
    )
    told = {tool["name"]: tool.get("description") for tool in got["tools"]}
    assert told == {"sky": None, "mcp__w__sky": "Weather.", "mcp__w__sea": None}
    assert got["input"][1] == call | {"name": "mcp__w__sky"}
    assert got["input"][2] == call


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        ({"name": "w"}, r"tools\[1\].tools"),
        ({"name": "w", "tools": [5]}, r"tools\[1\].tools"),
        ({"tools": IN_RESPONSES}, r"tools\[1\].name"),
        ({"name": "w", "tools": IN_RESPONSES}, "'w__sky' is a function, and one of a group"),
    ],
)
def test_a_group_that_is_none_is_refused(group: dict[str, Any], reason: str) -> None:
    """And one with whose function another one would be confused."""
    tools = [{"type": "function", "name": "w__sky"}, {"type": "namespace", **group}]
    with pytest.raises(Unreadable, match=reason):
        sent(RESPONSES, {"input": "Hello", "tools": tools})


def test_results_of_tools_stand_before_the_text_of_their_turn() -> None:
    """So that nothing comes between a call and its result; a turn of one kind stays as it is."""
    text, seen = {"type": "text", "text": "Go on."}, {"type": "tool_result", "tool_use_id": "1"}
    mixed = {"role": "user", "content": [text, seen, text]}
    got = sent(MESSAGES, {"messages": [TURN, mixed], "max_tokens": 1})
    parts = [[seen], [text, text]]
    assert got["messages"] == [TURN, *(mixed | {"content": part} for part in parts)]
    alone = {"messages": [{"role": "user", "content": [seen]}], "max_tokens": 1}
    assert sent(MESSAGES, alone) == alone


def test_an_effort_goes_by_the_template_s_name() -> None:
    """Beside what else is for the template."""
    asked = {"messages": [TURN], "max_tokens": 1, "output_config": {"effort": "low"}}
    assert sent(MESSAGES, asked)["chat_template_kwargs"] == {"reasoning_effort": "low"}
    quick = sent(MESSAGES, asked | {"thinking": {"type": "disabled"}})
    assert quick["chat_template_kwargs"] == {"enable_thinking": False, "reasoning_effort": "low"}
