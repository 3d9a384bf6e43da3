"""Turns for templates that take one system turn and no two users' in a row."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from hakaru.serving.request_schemas import decoded
from hakaru.serving.serve import serve
from hakaru.serving.strict_turns import has_odd_turns, with_strict_turns
from hakaru.testing import write_tiny_llama

CHAT, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/responses", "/v1/messages"


def turn(role: str, *texts: str, kind: str = "text") -> dict[str, Any]:
    """A turn with a part for each text; with one text, the text itself."""
    parts = [{"type": kind, "text": text} for text in texts]
    return {"role": role, "content": parts if len(texts) > 1 else texts[0]}


def written(path: str, **asked: Any) -> dict[str, Any]:
    """What the engine gets of a request with odd turns."""
    body = json.dumps(asked).encode()
    request = decoded(path, body)
    assert has_odd_turns(request)
    found: dict[str, Any] = json.loads(with_strict_turns(request, body))
    return found


def test_the_turns_of_codex() -> None:
    """Two of the developer, two of the user, a call and its result."""
    of = {"type": "message"}
    parts = {"content": [{"type": "input_text", "text": "b"}]}
    call = {"type": "function_call", "call_id": "1", "name": "sh", "arguments": "{}"}
    result = {"type": "function_call_output", "call_id": "1", "output": "x"}
    turns = [
        of | turn("developer", "a"), of | turn("developer", "") | parts,
        of | turn("user", "c"), of | turn("user", "d"), call, result,
    ]  # fmt: skip
    found = written(RESPONSES, input=turns, instructions="Be short.")
    assert "instructions" not in found
    assert found["input"] == [
        of | turn("system", "Be short.", "a", "b", kind="input_text"),
        of | turn("user", "c", "d", kind="input_text"), call, result,
    ]  # fmt: skip


def test_the_turns_of_claude_code() -> None:
    """A system turn behind the first question: it is the user's then, and none is lost. The results
    of tools stay apart, since they become turns of their own.
    """
    result = {"type": "tool_result", "tool_use_id": "1", "content": "x"}
    call = {"type": "tool_use", "id": "1", "name": "sh", "input": {}}
    turns = [
        turn("user", "a", "b"), turn("system", "c"), {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]}, turn("system", "d"),
    ]  # fmt: skip
    found = written(MESSAGES, system="Be short.", messages=turns, max_tokens=1)
    assert found["system"] == "Be short."
    assert found["messages"] == [turn("user", "a", "b", "c"), *turns[2:4], turn("user", "d")]


def test_the_turns_of_a_chat() -> None:
    """A system turn in the middle."""
    turns = [turn("system", "a"), turn("user", "b"), turn("system", "c"), turn("assistant", "d")]
    found = written(CHAT, messages=turns)["messages"]
    assert found == [turns[0], turn("user", "b", "c"), turns[3]]


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        (CHAT, {"messages": [turn("system", "a"), turn("user", "b"), turn("assistant", "c")]}),
        (CHAT, {"messages": [turn("developer", "a"), turn("user", "b")]}),
        (RESPONSES, {"input": "a"}),
        (RESPONSES, {"input": [turn("user", "a"), {"type": "function_call", "arguments": ""}]}),
        (MESSAGES, {"system": "a", "messages": [turn("user", "b")], "max_tokens": 1}),
    ],
)
def test_turns_that_every_template_takes_are_not_odd(path: str, asked: dict[str, Any]) -> None:
    """So the template is not asked about them."""
    assert not has_odd_turns(decoded(path, json.dumps(asked).encode()))


TEMPLATE = """\
{%- for message in messages %}
{%- if message.role == 'system' and not loop.first %}{{ raise_exception('one system turn') }}
{%- endif %}<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


@pytest.mark.engine
def test_a_template_that_takes_one_system_turn_is_given_one(tmp_path: Path) -> None:
    """The engine by itself refuses the first request of two of the coding agents."""
    (tmp_path / "one.jinja").write_text(TEMPLATE)
    model = write_tiny_llama(tmp_path / "tiny.gguf")
    with serve(model, n_ctx=512, chat_template=str(tmp_path / "one.jinja")) as serving:
        turns = [turn("developer", "a"), turn("developer", "b"), turn("user", "c")]
        asked: dict[str, Any] = {"input": turns, "max_output_tokens": 1}
        answer = httpx.post(f"{serving.url}/responses", json=asked, timeout=20)
        assert answer.status_code == 200, answer.text
        turns = [turn("user", "a"), turn("system", "b")]
        asked = {"system": "c", "messages": turns, "max_tokens": 1}
        answer = httpx.post(f"{serving.url}/messages", json=asked, timeout=20)
        assert answer.status_code == 200, answer.text
