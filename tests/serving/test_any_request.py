"""Whatever is sent to the server: an answer, or a 4xx in the form of its errors; never a 5xx, and
never a hang.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_serving import Served, served_from

from hakaru.serving.gateway import ANSWERED, COUNTED, TOLD
from hakaru.serving.openapi import openapi
from hakaru.serving.request_schemas import SCHEMAS
from hakaru.testing import tiny_shape, write_tiny_llama

pytestmark = pytest.mark.engine
SLOW = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.filter_too_much]
document = schemathesis.openapi.from_dict(openapi(TOLD, (*ANSWERED["text"], *COUNTED)))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A tiny model, whose context is full after few tokens."""
    folder = tmp_path_factory.mktemp("t")
    model = write_tiny_llama(folder / "tiny.gguf", tiny_shape(n_vocab=1024))
    found = served_from(folder, model, "--context", "256")
    yield found
    code, said = found.stop()
    assert (code, "Traceback" in said, "ended" in said) == (0, False, False), said


def is_answered(answer: httpx.Response) -> bool:
    """Whether it is an answer, or an error of the request's in the form of errors."""
    if answer.status_code < 400:
        return True
    error = answer.json()["error"]
    return answer.status_code < 500 and bool(error["message"]) and bool(error["code"])


@document.parametrize()
@settings(max_examples=8, deadline=None, suppress_health_check=SLOW, derandomize=True)
def test_what_the_description_allows_and_what_it_forbids(
    case: "schemathesis.Case[Any]", served: Served
) -> None:
    """Made of the description that the server gives of itself."""
    address = served.url.removesuffix("/v1")
    answer = case.call(base_url=address, timeout=30)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.json()["error"]["message"]


NUMBERS = st.sampled_from(["1e400", "-1e400", "1" * 400, "-0.0", "1e-400", "NaN", "-Infinity"])
FIELDS = st.sampled_from(
    ["max_tokens", "temperature", "top_p", "top_k", "seed", "n", "stop", "logprobs", "stream"]
)
WHOLE = b'{"prompt":"Hello","max_tokens":1}'


@given(st.sampled_from(sorted(SCHEMAS)), st.binary(max_size=300))
@settings(max_examples=30, suppress_health_check=SLOW, derandomize=True)
def test_bytes(served: Served, path: str, body: bytes) -> None:
    """Any bytes at all."""
    assert is_answered(httpx.post(served.url.removesuffix("/v1") + path, content=body, timeout=30))


@given(FIELDS, NUMBERS, st.integers(0, len(WHOLE)), st.binary(max_size=3))
@settings(max_examples=30, suppress_health_check=SLOW, derandomize=True)
def test_giant_numbers_and_broken_text(
    served: Served, field: str, number: str, at: int, put_in: bytes
) -> None:
    """In a request that is whole otherwise."""
    giant = f'{{"prompt":"Hello","max_tokens":1,"{field}":{number}}}'.encode()
    for body in (giant, WHOLE[:at] + put_in + WHOLE[at:], WHOLE[:at]):
        assert is_answered(httpx.post(f"{served.url}/completions", content=body, timeout=30))
