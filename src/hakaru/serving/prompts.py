"""The prompts that the engine will make of a request, as texts or token ids, which are counted
before the engine tokenizes them.

Templates leave parts of a conversation out, so the engine writes it by the model's template first.
Requests of Anthropic's kind and OpenAI's responses become the conversation that they stand for:
turns with their texts, and what tools were called with and gave, without their names.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from hakaru.serving import request_schemas as schemas
from hakaru.serving.engine_client import EngineClient
from hakaru.serving.request_schemas import Block, Item

Turn = tuple[str, str]
"""A role, and a text."""


async def prompts_of(client: EngineClient, request: schemas.Request, body: bytes) -> list[Any]:
    """The prompts of `request`, which stands in `body`; none where the engine refuses the
    conversation: its answer will say why.
    """
    match request:
        case schemas.ChatCompletion():
            return await _rendered(client, body)
        case schemas.Completion(prompt=value) | schemas.Embeddings(input=value):
            return prompts_in(value)
        case schemas.Rerank(query=query, documents=documents):
            return [query + document for document in documents]
        case schemas.CountTokens() | schemas.Responses():
            turns = [{"role": role, "content": text} for role, text in joined(turns_of(request))]
            return await _rendered(client, json.dumps({"messages": turns}).encode())
        case schemas.Tokenize(content=value):
            return [value]
    return []


def prompts_in(value: Any) -> list[Any]:
    """The prompts of a completion. `value` is one prompt or a list of prompts; a prompt is a text,
    or a list of token ids with texts among them.
    """
    if (
        isinstance(value, list)
        and value
        and (all(isinstance(v, str) for v in value) or any(isinstance(v, list) for v in value))
    ):
        return value
    return [value] if isinstance(value, str | list) else []


def turns_of(request: schemas.CountTokens | schemas.Responses) -> Iterator[Turn]:
    """The turns of a conversation that is not written as OpenAI's chat is."""
    if isinstance(request, schemas.CountTokens):
        if request.system:
            yield "system", _text(request.system)
        yield from ((turn.role, _text(turn.content)) for turn in request.messages)
        return
    if request.instructions:
        yield "system", request.instructions
    if isinstance(request.input, str):
        yield "user", request.input
    else:
        yield from map(_turn, request.input)


def joined(turns: Iterable[Turn]) -> list[Turn]:
    """The turns, those of one role after another as one: many templates refuse two."""
    whole = list[Turn]()
    for role, text in turns:
        if whole and whole[-1][0] == role:
            whole[-1] = role, f"{whole[-1][1]}\n{text}"
        else:
            whole.append((role, text))
    return whole


def _turn(item: Item) -> Turn:
    """What an item adds: a model calls tools, and their results come from the user."""
    if item.arguments is not None:
        return "assistant", item.arguments
    if item.output is not None:
        return "user", _text(item.output)
    return item.role or "user", _text(item.content)


def _text(content: str | list[Block] | None) -> str:
    """All texts in a content, one to a line."""
    if content is None or isinstance(content, str):
        return content or ""
    pieces = (
        piece
        for block in content
        for piece in (block.text, _text(block.content), bytes(block.input).decode())
    )
    return "\n".join(filter(None, pieces))


async def _rendered(client: EngineClient, body: bytes) -> list[Any]:
    """The prompt that the chat template makes of a conversation."""
    rendered = await client.told("/apply-template", body)
    return [rendered["prompt"]] if rendered else []
