"""Conversations for chat templates that take one system turn, at the beginning, and no two user
turns in a row, as those of Qwen3.5, Gemma and Mistral: the engine refuses any other with a 400.

Coding agents send others: Codex begins with two developer turns and two user turns, and Claude Code
has a system turn behind the first question. So where the template refuses such turns, the system
turns at the beginning become one, later ones become the user's, and the user's that follow each
other become one. Nothing is left out. A template that takes all turns gets them as they are.
"""

import json
from itertools import pairwise
from typing import Any, Final

import msgspec

from hakaru.serving import request_schemas as schemas
from hakaru.serving.request_schemas import JsonObject

SYSTEM: Final = frozenset({"system", "developer"})
PROBE: Final = json.dumps(
    {"messages": [{"role": r, "content": "a"} for r in ("system", "user", "system", "user")]}
).encode()
PROBE_OF_USERS: Final = json.dumps({"messages": [{"role": "user", "content": "a"}] * 2}).encode()
"""Conversations that such a template refuses, for `/apply-template`."""


def has_odd_turns(request: schemas.Request) -> bool:
    """Whether `request` has turns that such a template may refuse."""
    roles = [role for role in _roles_of(request) if role]
    later = roles[1:] if isinstance(request, schemas.ChatCompletion) else roles
    return not SYSTEM.isdisjoint(later) or ("user", "user") in pairwise(roles)


def _roles_of(request: schemas.Request) -> list[str | None]:
    match request:
        case schemas.ChatCompletion(messages=turns) | schemas.CountTokens(messages=turns):
            return [turn.role for turn in turns]
        case schemas.Responses(input=list(items)):
            return [item.role or item.type for item in items]
    return []


def with_strict_turns(request: schemas.Request, body: bytes) -> bytes:
    """`body`, which holds `request`, with the turns that every template takes. Raises
    Unreadable.
    """
    asked = schemas.whole(body)
    field, kind = "messages", "text"
    if isinstance(request, schemas.Responses):
        field, kind = "input", "input_text"
        if instructions := asked.pop("instructions", None):
            first = {"type": "message", "role": "system", "content": instructions}
            asked[field] = [first, *asked[field]]
    has_head = isinstance(request, schemas.CountTokens)
    turns = list[JsonObject]()
    for turn in asked[field]:
        role, last = turn.get("role"), turns[-1] if turns else {}
        if role in SYSTEM:
            is_first = not has_head and (not turns or last.get("role") == "system")
            role = "system" if is_first else "user"
            turn["role"] = role
        if role == last.get("role") and role in {"system", "user"} and _is_said(turn, last):
            last["content"] = [*_parts(last, kind), *_parts(turn, kind)]
        else:
            turns.append(turn)
    asked[field] = turns
    return msgspec.json.encode(asked)


def _is_said(*turns: JsonObject) -> bool:
    """Whether none holds the results of tools, which become turns of their own."""
    parts = [part for turn in turns for part in turn["content"] if isinstance(part, dict)]
    return all(part["type"] != "tool_result" for part in parts)


def _parts(turn: JsonObject, kind: str) -> list[Any]:
    content = turn["content"]
    return [{"type": kind, "text": content}] if isinstance(content, str) else content
