"""What a reader of the page copies can be run as it stands."""

import ast
import json
import re
import shlex

import pytest

from hakaru.engine.mode import Gives
from hakaru.web.examples import examples

ADDRESS = "http://127.0.0.1:8600/v1"


@pytest.mark.parametrize(
    ("gives", "endpoint", "field"),
    [
        ("text", "chat/completions", "messages"),
        ("embedding", "embeddings", "input"),
        ("reranker", "rerank", "documents"),
    ],
)
def test_the_calls_are_those_of_the_model(gives: Gives, endpoint: str, field: str) -> None:
    """A model that gives vectors is not asked for text; JSON and Python are whole."""
    told = {example.label: example.text for example in examples(ADDRESS, gives)}
    assert told["Address for any OpenAI client"] == ADDRESS
    words = shlex.split(told["In a shell"])
    assert words[:2] == ["curl", f"{ADDRESS}/{endpoint}"]
    assert field in json.loads(words[-1])
    if python := told.get("In Python"):
        ast.parse(python)
        assert f'base_url="{ADDRESS}"' in python
    body = re.search(r"JSON\.stringify\((.*)\),", told["In JavaScript"])
    assert body and json.loads(body[1]) == json.loads(words[-1])
    assert f'fetch("{ADDRESS}/{endpoint}"' in told["In JavaScript"]
    assert ("hakaru chat" in told.values()) == (gives == "text")
