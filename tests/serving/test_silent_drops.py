"""What a request asks for and the engine would leave out."""

import json
from typing import Any

import httpx
import pytest
from test_backends import Serve, StandIns, serve, stand_ins  # noqa: F401 - fixtures

from hakaru.serving.intake import Refused
from hakaru.serving.silent_drops import HEADER, effort_in, left_out

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
TURN = {"role": "user", "content": "Hello"}
RIGHT: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [TURN]},
    COMPLETIONS: {"prompt": "Hello"},
    RESPONSES: {"input": "Hello"},
    "/v1/responses/input_tokens": {"input": "Hello"},
    "/v1/embeddings": {"input": "Hello"},
    MESSAGES: {"messages": [TURN], "max_tokens": 1},
    COUNT: {"messages": [TURN]},
}
SKY = {"type": "function", "name": "sky", "parameters": {"type": "object"}}
AGENTS = {"type": "namespace", "name": "agents", "tools": [SKY]}
SEARCH, PATCH = {"type": "web_search"}, {"type": "custom", "name": "patch"}


def out(path: str, **more: Any) -> tuple[str, ...]:
    """What is left out of a request with these fields."""
    return left_out(path, json.dumps(RIGHT[path] | more).encode())


@pytest.mark.parametrize(
    ("path", "field", "value"),
    [
        (RESPONSES, "previous_response_id", "resp_1"),
        (RESPONSES, "conversation", {"id": "conv_1"}),
        ("/v1/responses/input_tokens", "previous_response_id", "resp_1"),
        (RESPONSES, "background", True),
        (RESPONSES, "prompt", {"id": "pmpt_1"}),
        (RESPONSES, "tools", [SEARCH]),
        (CHAT, "functions", [SKY]),
        (CHAT, "function_call", {"name": "sky"}),
        (CHAT, "web_search_options", {}),
        (CHAT, "modalities", ["text", "audio"]),
        (COMPLETIONS, "suffix", "the end"),
        (COMPLETIONS, "best_of", 2),
        ("/v1/embeddings", "dimensions", 64),
        (MESSAGES, "mcp_servers", [{"url": "http://localhost"}]),
        (COUNT, "tools", [{"type": "bash_20250124", "name": "bash"}]),
    ],
)
def test_what_would_change_the_answer_is_refused(path: str, field: str, value: Any) -> None:
    """In a sentence that begins with the field."""
    with pytest.raises(Refused) as caught:
        out(path, **{field: value})
    error = json.loads(bytes(caught.value.answer.body))["error"]
    assert (caught.value.answer.status_code, error["param"]) == (400, field)
    assert error["message"].startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("path", "more"),
    [
        (RESPONSES, {"previous_response_id": None, "background": False, "store": True}),
        (RESPONSES, {"truncation": "auto", "metadata": {"a": "b"}, "prompt_cache_key": "x"}),
        (CHAT, {"modalities": ["text"], "function_call": "none", "functions": [], "user": "x"}),
        (COMPLETIONS, {"best_of": 1, "suffix": ""}),
        (MESSAGES, {"thinking": {"type": "adaptive"}, "context_management": {"edits": []}}),
        (MESSAGES, {"tools": [{"name": "sky", "type": "custom", "input_schema": {}}]}),
    ],
)
def test_what_changes_nothing_goes_through(path: str, more: dict[str, Any]) -> None:
    """Agents send much of it with every request."""
    assert out(path, **more) == ()


def test_built_in_tools_beside_functions_are_told() -> None:
    """Codex sends such a list by default; without the functions nothing would be left of it. The
    functions of a group are shown.
    """
    assert out(RESPONSES, tools=[SKY, SEARCH, SEARCH, PATCH]) == ("web_search", "custom")
    assert out(RESPONSES, tools=[AGENTS, SEARCH]) == ("web_search",)
    assert out(RESPONSES, tools=[AGENTS | {"tools": [SKY, PATCH]}]) == ("custom",)
    search = {"type": "web_search_20250305", "name": "web_search"}
    own = {"name": "sky", "input_schema": {}}
    assert out(MESSAGES, tools=[own, search]) == ("web_search_20250305",)


@pytest.mark.parametrize("is_result", [False, True])
def test_a_document_is_refused_and_not_dropped(is_result: bool) -> None:
    """Also where a tool gave it."""
    content: list[Any] = [
        {"type": "text", "text": "Sum it up."},
        {"type": "document", "source": {"type": "text", "data": "The secret is 7431."}},
    ]
    if is_result:
        content = [{"type": "tool_result", "tool_use_id": "1", "content": content}]
    with pytest.raises(Refused) as caught:
        out(MESSAGES, messages=[{"role": "user", "content": content}])
    assert b"document is not shown" in caught.value.answer.body


def test_an_answer_says_which_tools_were_left_out(
    stand_ins: StandIns,  # noqa: F811
    serve: Serve,  # noqa: F811
) -> None:
    """In a header. A server that is not llama.cpp may have such tools, and is not spoken for."""
    for owner, told in {"llamacpp": "web_search", "vllm": None}.items():
        serving = serve(stand_ins("smol", owner))
        asked = {"model": "smol", "input": "Hello", "tools": [SKY, SEARCH]}
        answer = httpx.post(f"{serving.url}/responses", json=asked, timeout=20)
        assert (answer.status_code, answer.headers.get(HEADER)) == (200, told)
        asked = {"model": "smol", "input": "Hello", "previous_response_id": "resp_1"}
        answer = httpx.post(f"{serving.url}/responses", json=asked, timeout=20)
        assert answer.status_code == (400 if told else 200)


@pytest.mark.parametrize(
    ("path", "asked", "field"),
    [
        (CHAT, {"reasoning_effort": "low"}, "reasoning_effort"),
        (CHAT, {"reasoning_effort": "none"}, None),
        (RESPONSES, {"reasoning": {"effort": "high"}}, "reasoning.effort"),
        (RESPONSES, {"reasoning": {"effort": None}}, None),
        (MESSAGES, {"output_config": {"effort": "max"}}, "output_config.effort"),
        (MESSAGES, {}, None),
        (COMPLETIONS, {"reasoning_effort": "low"}, None),
    ],
)
def test_where_an_effort_is_asked_for(path: str, asked: dict[str, Any], field: str | None) -> None:
    """It is told where the template does not read it."""
    assert effort_in(path, json.dumps(RIGHT[path] | asked).encode()) == field
