"""Forms of an answer that are too wide for the engine: while it compares a token with thousands of
alternatives, nobody else gets one.

llama.cpp follows all alternatives of a grammar at the same time, and compares each with every other
one and with every token of the vocabulary. The first two tokens of an answer to an `enum` of 1,000,
2,000 and 5,000 values took 2.1, 6.0 and more than 9.8 s of a processor (SmolLM2's vocabulary of
49,152 tokens, 2026-12-01), and no other request was answered meanwhile, also after the client had
left. OpenAI allows as many values as `MOST`, too (Structured Outputs, limits of a schema).
"""

from collections.abc import Iterator
from typing import Any, Final

from hakaru.serving import request_schemas as schemas
from hakaru.serving.request_schemas import Unreadable

MOST: Final = 1000
"""Alternatives in one form."""
ALTERNATIVES: Final = frozenset({"enum", "anyOf", "oneOf"})
"""Keys of a JSON schema whose lists hold alternatives."""


def refuse_wide_forms(request: schemas.Request) -> None:
    """Raises Unreadable for a form with more than MOST alternatives, with its field."""
    for field, form in _forms(request):
        n = form.count("|") if isinstance(form, str) else _n_alternatives(form)
        if n > MOST:
            raise Unreadable(
                f"{field}: it has {n} alternatives (enum, anyOf, oneOf, |), and at most {MOST} can "
                "be followed in time; name fewer, or say in words which answers are right",
                field,
            )


def _forms(request: schemas.Request) -> Iterator[tuple[str, Any]]:
    """The forms that an answer to `request` may have, by their fields."""
    if isinstance(request, schemas.Generation):
        yield "grammar", request.grammar or ""
        yield "json_schema", request.json_schema
    match request:
        case schemas.ChatCompletion(response_format=form, tools=tools):
            if form:
                yield "response_format", [form.schema, form.json_schema and form.json_schema.schema]
            for i, tool in enumerate(tools or ()):
                yield f"tools[{i}]", tool.function.parameters
        case schemas.CountTokens(tools=anthropic_tools):
            for i, anthropic_tool in enumerate(anthropic_tools or ()):
                yield f"tools[{i}]", anthropic_tool.input_schema
        case schemas.Responses(text=text, tools=plain_tools):
            yield "text.format", text and text.format and text.format.schema
            for i, plain_tool in enumerate(plain_tools or ()):
                yield f"tools[{i}]", plain_tool


def _n_alternatives(schema: Any) -> int:
    """How many alternatives a JSON schema names in all."""
    n, rest = 0, [schema]
    while rest:
        part = rest.pop()
        if isinstance(part, dict):
            n += sum(len(v) for k, v in part.items() if k in ALTERNATIVES and isinstance(v, list))
            rest += part.values()
        elif isinstance(part, list):
            rest += part
    return n
