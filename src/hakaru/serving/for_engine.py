"""What a request asks for and llama.cpp's server drops in silence, in words that it follows.

- A choice of one tool, or of some: only these are shown, and one of them must be called. The engine
  takes such a choice for "auto".
- `"tool_choice": {"type": "none"}` of Anthropic's: no tool is shown. The engine shows them all.
- The form of an answer to `/v1/responses` (`text.format`): the engine has it as `response_format`.
- Groups of functions in a request to `/v1/responses` (`grouped_tools`).
- A turn of `/v1/responses` without `type`, which OpenAI's reference allows: it is a message.
- A thought that comes back to `/v1/responses` without its text: its summary stands for it, and
  without one it goes. The engine refuses the whole request.
- `"thinking": {"type": "disabled"}` of Anthropic's, by the name that templates have for it.
- `output_config.effort` of Anthropic's, by the name that templates have for it.
- Text in a turn of Anthropic's with the results of tools: it comes behind them, as Anthropic
  demands; the engine puts it before them, between a call and its result.
- A tool that only Anthropic's own service can run: it goes. The engine shows it to the model as one
  that takes nothing, and no client can run the call.

Source: llama.cpp, tools/server/server-chat.cpp and server-common.cpp.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from hakaru.serving import request_schemas as schemas
from hakaru.serving.grouped_tools import ungroup
from hakaru.serving.request_schemas import JsonObject, Unreadable


def for_engine(request: schemas.Request, body: bytes) -> bytes:
    """`body`, which holds `request`, as the engine reads it. Raises Unreadable for the choice of a
    tool that is not there.
    """
    choice = getattr(request, "tool_choice", None)
    is_response = isinstance(request, schemas.Responses)
    is_quick = getattr(request, "thinking", None) == {"type": "disabled"}
    has_types = isinstance(request, schemas.CountTokens) and any(
        tool.type for tool in request.tools or ()
    )
    effort = _effort(request)
    is_mixed = isinstance(request, schemas.CountTokens) and any(map(_is_mixed, request.messages))
    if not any((isinstance(choice, dict), is_response, is_quick, has_types, effort, is_mixed)):
        return body
    asked = schemas.whole(body)
    if is_response:
        ungroup(asked)
    if has_types:
        asked["tools"] = [tool for tool in asked["tools"] if not is_built_in(tool)]
    if is_quick or effort:
        asked["chat_template_kwargs"] = (
            (asked.get("chat_template_kwargs") or {})
            | ({"enable_thinking": False} if is_quick else {})
            | ({"reasoning_effort": effort} if effort else {})
        )
    if is_mixed:
        asked["messages"] = [turn for m in asked["messages"] for turn in _results_first(m)]
    if isinstance(choice, dict):
        _choose(asked, choice)
    if is_response:
        _write_items(asked)
        _set_format(asked)
    return msgspec.json.encode(asked)


def _effort(request: schemas.Request) -> str | None:
    config = request.output_config if isinstance(request, schemas.Messages) else None
    return config.effort if config else None


def _is_mixed(message: schemas.AnthropicMessage) -> bool:
    """Whether a turn has results of tools, and more."""
    blocks = message.content if isinstance(message.content, list) else []
    return len({block.type == "tool_result" for block in blocks}) > 1


def _results_first(message: JsonObject) -> Iterator[JsonObject]:
    """The turn as two if it has results of tools and more: the results, and then the rest."""
    if not isinstance(message["content"], list):
        yield message
        return
    for is_result in (True, False):
        if blocks := [b for b in message["content"] if (b["type"] == "tool_result") == is_result]:
            yield message | {"content": blocks}


def is_built_in(tool: JsonObject) -> bool:
    """Whether a tool is one that its service knows by its `type`, without a description."""
    kind = tool.get("type")
    return kind not in {None, "function"} and not (kind == "custom" and "input_schema" in tool)


def _choose(asked: JsonObject, choice: JsonObject) -> None:
    """Leave only the tools of `choice`."""
    if choice.get("type") == "none":
        asked.pop("tools", None)
        del asked["tool_choice"]
        return
    if (chosen := _chosen(choice)) is None:  # Anthropic's "auto" and "any", which the engine knows
        return
    names, mode = chosen
    tools = {_name(tool): tool for tool in asked.get("tools") or ()}
    if missing := sorted(names - tools.keys()):
        raise Unreadable(f"tool_choice: there is no tool '{missing[0]}'", "tool_choice")
    asked["tools"] = [tools[name] for name in tools if name in names]
    is_anthropic = choice["type"] == "tool"
    asked["tool_choice"] = {"type": "any"} if is_anthropic else mode


def _chosen(choice: JsonObject) -> tuple[set[str], str] | None:
    """The names of the tools that are chosen, and whether one of them must be called."""
    match choice:
        case {"type": "function", "function": {"name": str(name)}}:
            return {name}, "required"
        case {"type": "function" | "tool", "name": str(name)}:
            return {name}, "required"
        case {"type": "allowed_tools", "allowed_tools": {"tools": list(tools), "mode": mode}}:
            return set(map(_name, tools)), str(mode)
        case {"type": "allowed_tools", "tools": list(tools), "mode": mode}:
            return set(map(_name, tools)), str(mode)
        case {"type": "auto" | "any"}:
            return None
    raise Unreadable("tool_choice: expected a tool by its name", "tool_choice")


def _name(tool: Any) -> str:
    """The name of a tool, as OpenAI's and Anthropic's interfaces write it."""
    inner = tool.get("function") if isinstance(tool, dict) else None
    named = inner if isinstance(inner, dict) else tool
    return str(named.get("name")) if isinstance(named, dict) else ""


def _write_items(asked: JsonObject) -> None:
    """Name turns as messages, and give thoughts their text, or leave them out without one."""
    if isinstance(asked["input"], str):
        return
    for item in asked["input"]:
        if item.get("role") and not item.get("type"):
            item["type"] = "message"
        if item.get("type") == "reasoning" and not item.get("content"):
            item["content"] = item.get("summary")
    asked["input"] = [
        item for item in asked["input"] if item.get("type") != "reasoning" or item["content"]
    ]


def _set_format(asked: JsonObject) -> None:
    form = (asked.get("text") or {}).get("format") or {}
    match form.get("type"):
        case "json_schema":
            asked["response_format"] = {"type": "json_schema", "json_schema": form}
        case "json_object":
            asked["response_format"] = {"type": "json_object"}
