"""Forms with so many alternatives that the engine would answer nobody for minutes."""

import json
from typing import Any

import pytest

from hakaru.serving.request_schemas import Unreadable, decoded
from hakaru.serving.wide_forms import MOST, refuse_wide_forms

CHAT, COMPLETIONS, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
TURNS = [{"role": "user", "content": "Hello"}]


def asked(path: str, form: Any) -> dict[str, Any]:
    """Every way in which a request to `path` may have a schema: by the field that is told."""
    function = {"name": "f", "parameters": form}
    by_path: dict[str, dict[str, Any]] = {
        CHAT: {
            "response_format": {
                "messages": TURNS,
                "response_format": {"type": "json_schema", "json_schema": {"schema": form}},
            },
            "json_schema": {"messages": TURNS, "json_schema": form},
            "tools[0]": {"messages": TURNS, "tools": [{"type": "function", "function": function}]},
        },
        COMPLETIONS: {"json_schema": {"prompt": "Hello", "json_schema": form}},
        RESPONSES: {
            "text.format": {
                "input": "Hello",
                "text": {"format": {"type": "json_schema", "schema": form}},
            },
            "tools[0]": {"input": "Hello", "tools": [{"type": "function", **function}]},
        },
        "/v1/messages": {
            "tools[0]": {
                "messages": TURNS,
                "max_tokens": 1,
                "tools": [{"name": "f", "input_schema": form}],
            }
        },
    }
    return by_path[path]


def values(n: int) -> dict[str, Any]:
    """A schema with that many values, deep inside."""
    half = [f"value {i}" for i in range(n // 2)]
    rest = [{"const": i} for i in range(n - n // 2)]
    return {
        "type": "object",
        "properties": {"enum": {"items": {"enum": half}}, "other": {"anyOf": rest}},
    }


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS, RESPONSES, "/v1/messages"])
def test_a_form_is_followed_up_to_a_bound(path: str) -> None:
    """With one alternative more the request is refused by its field, in every interface."""
    for body in asked(path, values(MOST)).values():
        refuse_wide_forms(decoded(path, json.dumps(body).encode()))
    for field, body in asked(path, values(MOST + 1)).items():
        with pytest.raises(Unreadable, match=f"{MOST + 1} alternatives") as refused:
            refuse_wide_forms(decoded(path, json.dumps(body).encode()))
        assert refused.value.field == field


def test_a_grammar_is_followed_up_to_a_bound() -> None:
    """Its alternatives are counted as they are written."""
    for n, is_right in ((MOST, True), (MOST + 1, False)):
        grammar = "root ::= " + "|".join('"a"' for _ in range(n + 1))
        request = decoded(COMPLETIONS, json.dumps({"prompt": "x", "grammar": grammar}).encode())
        if is_right:
            refuse_wide_forms(request)
        else:
            with pytest.raises(Unreadable, match="grammar"):
                refuse_wide_forms(request)
