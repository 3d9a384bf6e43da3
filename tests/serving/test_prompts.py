"""The prompts of a request, of whatever interface it is."""

import asyncio
import json
from typing import Any

import pytest

from hakaru.serving.engine_client import EngineClient, UnixSocket
from hakaru.serving.prompts import joined, prompts_in, prompts_of, turns_of
from hakaru.serving.request_schemas import decoded


@pytest.mark.parametrize(
    ("value", "prompts"),
    [
        ("a", ["a"]),
        (["a", "b"], ["a", "b"]),
        ([1, 2], [[1, 2]]),
        ([1, "a"], [[1, "a"]]),
        ([[1], [2]], [[1], [2]]),
        (None, []),
        (5, []),
    ],
)
def test_each_prompt_of_a_request_has_the_whole_context(value: Any, prompts: list[Any]) -> None:
    """A list of texts, or of lists, is several prompts; a list of tokens, mixed with texts or not,
    is one.
    """
    assert prompts_in(value) == prompts


CONVERSATION = {
    "system": [{"type": "text", "text": "Be short."}],
    "messages": [
        {"role": "user", "content": "Is it raining?"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "1", "name": "sky", "input": {"city": "Kyoto"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "1",
                    "content": [{"type": "text", "text": "It rains."}],
                }
            ],
        },
    ],
}
ITEMS = {
    "instructions": "Be short.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Is it raining?"}]},
        {"type": "message", "role": "assistant", "content": "I look."},
        {"type": "function_call", "call_id": "1", "name": "sky", "arguments": '{"city": "Kyoto"}'},
        {"type": "function_call_output", "call_id": "1", "output": "It rains."},
    ],
}


@pytest.mark.parametrize(
    ("path", "written"), [("/v1/messages/count_tokens", CONVERSATION), ("/v1/responses", ITEMS)]
)
def test_a_conversation_is_the_same_in_both_interfaces(path: str, written: Any) -> None:
    """Every text counts: what a tool was called with, and what it gave."""
    request: Any = decoded(path, json.dumps(written).encode())
    assert joined(turns_of(request)) == [
        ("system", "Be short."),
        ("user", "Is it raining?"),
        ("assistant", 'I look.\n{"city": "Kyoto"}'),
        ("user", "It rains."),
    ]


TURN = {"role": "user", "content": "a"}


@pytest.mark.parametrize(
    ("path", "written", "prompts"),
    [
        ("/v1/completions", {"prompt": ["a", "b"]}, ["a", "b"]),
        ("/v1/embeddings", {"input": "a"}, ["a"]),
        ("/v1/rerank", {"query": "a", "documents": ["b", "c"]}, ["ab", "ac"]),
        ("/tokenize", {"content": ["a", 5]}, [["a", 5]]),
        ("/detokenize", {"tokens": [5]}, []),
        ("/v1/chat/completions", {"messages": [TURN]}, ["<a>"]),
        ("/v1/responses", {"input": "a"}, ["<a>"]),
        ("/v1/messages", {"max_tokens": 1, "messages": [TURN]}, ["<a>"]),
        ("/v1/responses", {"input": "refused"}, []),
    ],
)
def test_every_interface_has_its_prompts(path: str, written: Any, prompts: list[Any]) -> None:
    """Of a conversation what the template makes of it; nothing where it refuses."""

    class Template(EngineClient):
        async def told(self, path: str, body: bytes | None = None) -> Any:
            (turn,) = json.loads(body or b"")["messages"]
            return None if turn["content"] == "refused" else {"prompt": f"<{turn['content']}>"}

    body = json.dumps(written).encode()
    assert asyncio.run(prompts_of(Template(UnixSocket("")), decoded(path, body), body)) == prompts
