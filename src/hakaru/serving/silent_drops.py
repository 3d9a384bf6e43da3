"""What a request asks for and llama.cpp's server leaves out in silence: refused where the answer
would be one to another question, told in a header of the answer where it is the same without it.

What is not named here changes nothing that a client could miss (`store`, `metadata`, `user`,
`service_tier`, `prompt_cache_key`, `prediction`), or ends with a sentence of its own
(`truncation`: a prompt that is too long is refused). Found by asking the engine with each field of
OpenAI's and Anthropic's packages and without it. Decision 52 says why.
"""

from collections.abc import Iterator
from typing import Any, Final

from hakaru.serving import request_schemas as schemas
from hakaru.serving.for_engine import is_built_in
from hakaru.serving.grouped_tools import members
from hakaru.serving.intake import Refused, refused_as
from hakaru.serving.refusals import error_response

HEADER: Final = "hakaru-left-out"
"""Of an answer: the built-in tools that the model was not shown, and the effort that was asked for
where its chat template does not read one.
"""
EFFORT: Final[dict[type[schemas.Request], tuple[str, ...]]] = {
    schemas.ChatCompletion: ("reasoning_effort",),
    schemas.Responses: ("reasoning", "effort"),
    schemas.Messages: ("output_config", "effort"),
}
"""By what is asked, where the effort stands."""
_KEEPS_NOTHING: Final = "this server keeps no conversations; send all turns as the input"
LOST: Final[dict[type[schemas.Request], dict[str, str]]] = {
    schemas.ChatCompletion: {
        "functions": "is the former name of tools; send tools",
        "function_call": "is the former name of tool_choice; send tools and tool_choice",
        "audio": "an answer is text; no sound is made",
        "modalities": "an answer is text; leave it out, or send [\"text\"]",
        "web_search_options": "this server does not search; give the model a tool that does",
    },
    schemas.Completion: {
        "suffix": "what stands behind a gap is not shown to the model; leave it out",
        "best_of": "one answer is written for each request; leave it out",
    },
    schemas.Embeddings: {"dimensions": "a vector has the length that the model gives it"},
    schemas.Responses: {
        "previous_response_id": _KEEPS_NOTHING,
        "conversation": _KEEPS_NOTHING,
        "background": "an answer goes to who waits for it, and is not kept",
        "prompt": "this server keeps no prompts; send the text as instructions",
    },
    schemas.CountTokens: {
        "mcp_servers": "this server calls no tools; let the client offer them as tools",
    },
}  # fmt: skip
"""By what is asked, the fields without which the answer is another one, and what to do."""
HARMLESS: Final[dict[str, tuple[Any, ...]]] = {
    "modalities": (["text"],),
    "best_of": (1,),
    "function_call": ("none", "auto"),
}
"""Values beside null, false and nothing that ask for what happens anyhow."""
READ: Final = frozenset(
    {"text", "thinking", "redacted_thinking", "image", "tool_use", "tool_result"}
)
"""Blocks of Anthropic's that the engine reads; others, such as documents, it drops."""


def left_out(path: str, body: bytes) -> tuple[str, ...]:
    """The kinds of built-in tools in `body`, a right request to `path`, which the model is not
    shown. Raises Refused for what cannot be left out: a field of LOST, a document, and built-in
    tools that are all the tools there are.
    """
    kind = schemas.SCHEMAS.get(path)
    fields = next((f for k, f in LOST.items() if kind and issubclass(kind, k)), None)
    if fields is None:
        return ()
    try:
        asked = schemas.whole(body)
    except schemas.Unreadable as error:
        raise refused_as(error) from error
    for field, reason in fields.items():
        value = asked.get(field)
        if value not in (None, False, [], "", *HARMLESS.get(field, ())):
            raise _refused(field, reason)
    if kind and issubclass(kind, schemas.CountTokens):
        for i, message in enumerate(asked["messages"]):
            for where, block in _blocks(f"messages[{i}].content", message.get("content")):
                if block["type"] not in READ:
                    reason = f"a {block['type']} is not shown to the model; send its text"
                    raise _refused(where, reason)
    return _built_in(list(members(asked.get("tools") or [])))


def effort_in(path: str, body: bytes) -> str | None:
    """The field of `body`, a right request to `path`, that asks for an effort; None if none does.
    `none` is another matter: the engine switches thinking off.
    """
    names = EFFORT.get(schemas.SCHEMAS[path]) if path in schemas.SCHEMAS else None
    value: Any = schemas.whole(body) if names and b"effort" in body else None
    for name in names or ():
        value = value.get(name) if isinstance(value, dict) else None
    return ".".join(names) if names and value not in (None, "", "none") else None


def _built_in(tools: list[dict[str, Any]]) -> tuple[str, ...]:
    """Raises Refused where there are no others."""
    kinds = [str(tool["type"]) for tool in tools if is_built_in(tool)]
    if kinds and len(kinds) == len(tools):
        raise _refused(
            "tools",
            f"the model is not shown the kind {kinds[0]}; offer functions that the client runs",
        )
    return tuple(dict.fromkeys(kinds))


def _blocks(where: str, content: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each block of a content and where it stands, with those in the results of tools."""
    for i, block in enumerate(content if isinstance(content, list) else ()):
        yield f"{where}[{i}]", block
        yield from _blocks(f"{where}[{i}].content", block.get("content"))


def _refused(field: str, reason: str) -> Refused:
    return Refused(error_response(400, f"{field}: {reason}", "unsupported", param=field))
