"""What a reader of the page copies can be run as it stands."""

import ast
import json
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
    address, shell, *others = (example.text for example in examples(ADDRESS, gives))
    assert address == ADDRESS
    words = shlex.split(shell)
    assert words[:2] == ["curl", f"{ADDRESS}/{endpoint}"]
    assert field in json.loads(words[-1])
    for python in others[:1]:
        ast.parse(python)
        assert f'base_url="{ADDRESS}"' in python
    assert ("hakaru chat" in others) == (gives == "text")
