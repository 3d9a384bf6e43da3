"""Errors of servers elsewhere become ours: what a client can act on has the code that it knows."""

import json
from typing import Any

import pytest

from hakaru.serving.upstream_errors import of_backend, status_in


def error(
    status: int, body: Any, *, is_llama_cpp: bool = False, **headers: str
) -> tuple[int, dict[str, Any]]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = of_backend(status, raw, headers, is_llama_cpp=is_llama_cpp)
    told: dict[str, Any] = json.loads(bytes(answer.body))["error"]
    assert set(told) >= {"message", "type", "param", "code"} and told["message"]
    return answer.status_code, told


def test_a_prompt_that_is_too_long_for_vllm_is_told_as_ours_is() -> None:
    """Its own code is the number 400."""
    message = "This model's maximum context length is 2048 tokens. However, you requested 3000"
    body = {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}
    status, told = error(400, body)
    assert (status, told["code"], told["n_ctx"]) == (400, "context_length_exceeded", 2048)
    assert told["message"] == message


def test_an_error_of_hakaru_stays_as_it_is() -> None:
    """With its code, its field and its numbers."""
    told = {
        "message": "no", "type": "invalid_request_error", "param": "stop", "code": "x", "n_ctx": 5,
    }  # fmt: skip
    assert error(400, {"type": "error", "error": told}) == (400, told)


@pytest.mark.parametrize("status", [301, 401, 403])
def test_what_is_between_us_and_the_backend_is_no_fault_of_the_request(status: int) -> None:
    """A client that is told 401 would look for its own key."""
    assert error(status, {"error": {"message": "no", "code": 401}})[0] == 503


def test_other_errors_keep_their_sentence_in_every_form() -> None:
    """FastAPI's 422 is a 400; what is no JSON is quoted."""
    assert error(422, {"message": "bad", "object": "error"}) == (
        400,
        {"message": "bad", "type": "invalid_request_error", "param": None, "code": "invalid_value"},
    )
    assert error(404, {"detail": "Not Found"})[1]["code"] == "not_found"
    assert error(500, b"<html>")[1]["message"] == "<html>"
    assert error(502, b"")[1]["message"]
    assert error(500, {"error": {"message": "", "type": "Odd"}})[1]["message"]  # vLLM's
    for odd in (b"[]", b'{"error": []}', b'{"error": {"message": {}}}', b"\xff"):
        assert error(500, odd)[0] == 500


def test_llama_cpp_says_500_for_what_is_a_400() -> None:
    """As where the gateway keeps the engine itself."""
    body = {"error": {"message": "failed to parse grammar", "type": "server_error", "code": 500}}
    assert error(500, body, is_llama_cpp=True)[0] == 400
    assert error(500, body)[0] == 500


def test_when_to_come_again_is_passed_on() -> None:
    """Of who has no place free."""
    answer = of_backend(429, b"{}", {"retry-after": "7"}, is_llama_cpp=False)
    assert answer.headers["retry-after"] == "7"


def test_the_status_of_a_stream_that_is_only_an_error() -> None:
    """vLLM writes it as the code."""
    assert status_in(b'{"error": {"message": "x", "code": 404}}') == 404
    assert status_in(b'{"error": {"message": "x", "code": "y"}}') == 500
    assert status_in(b"{") == 500
