"""How to call the model that is served: what a reader of its page copies."""

from typing import NamedTuple

from hakaru.engine.mode import Gives
from hakaru.language import say


class Example(NamedTuple):
    """A text to copy."""

    label: str
    text: str


def examples(base_url: str, gives: Gives) -> list[Example]:
    """The address of the API, and ways to call it for a model that gives text, vectors or an order
    of documents.
    """
    told = [
        Example(say("Address for any OpenAI client"), base_url),
        Example(say("In a shell"), _curl(base_url, gives)),
    ]
    if gives != "reranker":  # the client of OpenAI has no call for it
        told.append(Example(say("In Python"), _python(base_url, gives)))
    told.append(Example(say("In JavaScript"), _javascript(base_url, gives)))
    if gives == "text":
        told.append(Example(say("In another terminal"), "hakaru chat"))
    return told


def _request(gives: Gives) -> tuple[str, str]:
    """The endpoint, and a body as JSON."""
    return {
        "text": ("chat/completions", '{"messages": [{"role": "user", "content": "Hello!"}]}'),
        "embedding": ("embeddings", '{"input": "Hello!"}'),
        "reranker": ("rerank", '{"query": "Hello!", "documents": ["Good morning.", "A stone."]}'),
    }[gives]


def _javascript(base_url: str, gives: Gives) -> str:
    endpoint, body = _request(gives)
    value = {
        "text": "choices[0].message.content",
        "embedding": "data[0].embedding",
        "reranker": "results[0].index",
    }[gives]
    return (
        f'const response = await fetch("{base_url}/{endpoint}", {{\n'
        '  method: "POST",\n'
        '  headers: { "Content-Type": "application/json" },\n'
        f"  body: JSON.stringify({body}),\n"
        "});\n"
        f"console.log((await response.json()).{value});"
    )


def _curl(base_url: str, gives: Gives) -> str:
    endpoint, body = _request(gives)
    return f"curl {base_url}/{endpoint} -H 'Content-Type: application/json' -d '{body}'"


def _python(base_url: str, gives: Gives) -> str:
    call = (
        'vectors = client.embeddings.create(model="any", input="Hello!")\n'
        "print(vectors.data[0].embedding)"
        if gives == "embedding"
        else 'messages = [{"role": "user", "content": "Hello!"}]\n'
        'answer = client.chat.completions.create(model="any", messages=messages)\n'
        "print(answer.choices[0].message.content)"
    )
    return (
        "from openai import OpenAI  # pip install openai\n"
        "\n"
        f'client = OpenAI(base_url="{base_url}", api_key="none")\n{call}'
    )
