"""Groups of functions in a request to `/v1/responses` (`"type": "namespace"`), for an engine that
knows functions alone.

Codex offers the tools of each MCP server, and its own for sub-agents, as a group with a name, and
wants a call back with `namespace` and the function's own `name`. llama.cpp's server drops groups.
So the model is shown `GROUP__FUNCTION`, and earlier calls among the inputs get that name, too; in
the answer it is taken apart again. What a group says of itself stands before the description of its
first function.
"""

from collections.abc import Iterator
from typing import Any, Final

from hakaru.serving.request_schemas import JsonObject, Unreadable

GROUP: Final = "namespace"
Origin = tuple[str, str]
"""The name of a group, and that of a function in it."""


def is_group(tool: JsonObject) -> bool:
    """Whether a tool is a group of functions."""
    return tool.get("type") == GROUP


def members(tools: list[JsonObject]) -> Iterator[JsonObject]:
    """The tools, those of groups one by one. Raises Unreadable for a group that is none."""
    for i, tool in enumerate(tools):
        if not is_group(tool):
            yield tool
            continue
        inner, where = tool.get("tools"), f"tools[{i}]"
        if not isinstance(tool.get("name"), str):
            raise Unreadable(f"{where}.name: expected the name of a group", where)
        if not isinstance(inner, list) or not all(
            isinstance(one, dict) and isinstance(one.get("name"), str) for one in inner
        ):
            raise Unreadable(f"{where}.tools: expected tools with names", where)
        yield from inner


def origins(tools: list[JsonObject]) -> dict[str, Origin]:
    """Where each function of a group comes from, by the name that the model is shown."""
    return {
        _shown(tool["name"], one["name"]): (tool["name"], one["name"])
        for tool in tools
        if is_group(tool)
        for one in tool["tools"]
    }


def ungroup(asked: JsonObject) -> None:
    """Show the functions of groups one by one, in `asked` and in the calls of its input. Raises
    Unreadable.
    """
    tools = asked.get("tools") or []
    if not any(map(is_group, tools)):
        return
    names = [tool.get("name") for tool in members(tools)]
    if taken := sorted(origins(tools).keys() & set(names)):
        raise Unreadable(f"tools: '{taken[0]}' is a function, and one of a group", "tools")
    asked["tools"] = [one for tool in tools for one in (_alone(tool) if is_group(tool) else [tool])]
    for item in asked["input"] if isinstance(asked["input"], list) else ():
        if item.get("type") == "function_call" and isinstance(item.get(GROUP), str):
            item["name"] = _shown(item.pop(GROUP), str(item.get("name")))


def regroup(item: dict[str, Any], known: dict[str, Origin]) -> None:
    """Take the name of a call in an answer apart."""
    if item.get("type") == "function_call" and (origin := known.get(item.get("name", ""))):
        item[GROUP], item["name"] = origin


def _alone(group: JsonObject) -> Iterator[JsonObject]:
    said = group.get("description")
    for one in group["tools"]:
        shown = one | {"name": _shown(group["name"], one["name"])}
        if said:
            shown["description"] = f"{said}\n\n{one.get('description') or ''}".strip()
            said = None
        yield shown


def _shown(group: str, name: str) -> str:
    return f"{group}__{name}"
