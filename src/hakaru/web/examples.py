"""How to call the model that is served: what a reader of its page copies."""

import json
import shlex
from typing import Any, Final, NamedTuple

from hakaru.engine.mode import Gives
from hakaru.language import say

KEY: Final = "YOUR_KEY"
"""What stands for a key in an example."""


class Example(NamedTuple):
    """A text to copy."""

    label: str
    text: str


def examples(
    base_url: str, gives: Gives, *, model: str | None = None, has_key: bool = False
) -> list[Example]:
    """The address of the API, and ways to call it for a model that gives text, vectors or an order
    of documents. `model`: its name, where the server has several. `has_key`: the server demands
    one, for which KEY stands.
    """
    told = [
        Example(say("Address for any OpenAI client"), base_url),
        Example(say("In a shell"), _curl(base_url, gives, model, has_key)),
    ]
    if gives != "reranker":  # the client of OpenAI has no call for it
        told.append(Example(say("In Python"), _python(base_url, gives, model, has_key)))
    told.append(Example(say("In JavaScript"), _javascript(base_url, gives, model, has_key)))
    if gives == "text":
        told.append(Example(say("In another terminal"), "hakaru chat"))
    return told


def _request(gives: Gives, model: str | None) -> tuple[str, str]:
    """The endpoint, and a body as JSON."""
    requests: dict[Gives, tuple[str, dict[str, Any]]] = {
        "text": ("chat/completions", {"messages": [{"role": "user", "content": "Hello!"}]}),
        "embedding": ("embeddings", {"input": "Hello!"}),
        "reranker": ("rerank", {"query": "Hello!", "documents": ["Good morning.", "A stone."]}),
    }
    endpoint, body = requests[gives]
    named = {} if model is None else {"model": model}
    return endpoint, json.dumps(named | body, ensure_ascii=False)


def _javascript(base_url: str, gives: Gives, model: str | None, has_key: bool) -> str:
    endpoint, body = _request(gives, model)
    key = f', Authorization: "Bearer {KEY}"' if has_key else ""
    value = {
        "text": "choices[0].message.content",
        "embedding": "data[0].embedding",
        "reranker": "results[0].index",
    }[gives]
    return (
        f'const response = await fetch("{base_url}/{endpoint}", {{\n'
        '  method: "POST",\n'
        f'  headers: {{ "Content-Type": "application/json"{key} }},\n'
        f"  body: JSON.stringify({body}),\n"
        "});\n"
        f"console.log((await response.json()).{value});"
    )


def _curl(base_url: str, gives: Gives, model: str | None, has_key: bool) -> str:
    endpoint, body = _request(gives, model)
    key = f"-H 'Authorization: Bearer {KEY}' " if has_key else ""
    return (
        f"curl {base_url}/{endpoint} {key}-H 'Content-Type: application/json' "
        f"-d {shlex.quote(body)}"
    )


def _python(base_url: str, gives: Gives, model: str | None, has_key: bool) -> str:
    name, key = json.dumps(model or "any", ensure_ascii=False), KEY if has_key else "none"
    call = (
        f'vectors = client.embeddings.create(model={name}, input="Hello!")\n'
        "print(vectors.data[0].embedding)"
        if gives == "embedding"
        else 'messages = [{"role": "user", "content": "Hello!"}]\n'
        f"answer = client.chat.completions.create(model={name}, messages=messages)\n"
        "print(answer.choices[0].message.content)"
    )
    return (
        "from openai import OpenAI  # pip install openai\n"
        "\n"
        f'client = OpenAI(base_url="{base_url}", api_key="{key}")\n{call}'
    )
