"""Errors of the engine, and of backends elsewhere, in the form that OpenAI's clients read.

An error that says why it is one, in any of the forms that servers use, keeps its sentence. What a
client can act on has the code that OpenAI's clients know, whoever answered.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.responses import Response

from hakaru.serving.refusals import error_response

Translate = Callable[[int, bytes, Mapping[str, str]], Response]
"""From the status, the body and the headers of an answer that is none."""
TOO_LARGE: Final = re.compile(r"input .*too large to process", re.IGNORECASE)
"""How the engine refuses a text to embed or to rank that is longer than the context."""
AT_FAULT: Final = re.compile(
    r"compute error|invalid input batch|context size|failed to (?!parse )|std::bad_alloc"
    r"|.*\bmemory\b",
    re.IGNORECASE,
)
"""How the reasons begin for which the engine is at fault where it answers 500. With any other
reason it could not make sense of the request. Source: llama.cpp, tools/server/server-context.cpp.
"""
BEYOND_CONTEXT: Final = re.compile(r"maximum context length is (\d+) tokens", re.IGNORECASE)
"""How vLLM, and others after OpenAI, refuse a prompt that is too long."""
OUR_KINDS: Final = frozenset({"invalid_request_error", "rate_limit_error", "server_error"})
LONGEST_REASON: Final = 500


def of_engine(status: int, body: bytes, headers: Mapping[str, str]) -> Response:
    """An error of llama.cpp's server; that of a prompt that is too long has both numbers."""
    if (error := _error_in(body)) is None:
        return error_response(status, _text(body), code="engine_error")
    message, kind = str(error["message"]), str(error.get("type", ""))
    if TOO_LARGE.match(message):
        return error_response(400, message, code="context_length_exceeded")
    if status == 500 and not AT_FAULT.match(message):
        return error_response(400, message, code="invalid_value")
    if kind == "exceed_context_size_error":
        numbers = {key: error[key] for key in ("n_prompt_tokens", "n_ctx") if key in error}
        return error_response(400, message, code="context_length_exceeded", **numbers)
    return error_response(status, message, code=kind or "engine_error")


def of_backend(
    status: int, body: bytes, headers: Mapping[str, str], *, is_llama_cpp: bool
) -> Response:
    """An error of a server elsewhere. What is no fault of the request's is a 5xx: that the backend
    refuses our key, or leads elsewhere, is none of the client's business.
    """
    if status < 400 or status in {401, 403}:
        what = "refuses the key that hakaru has for it" if status >= 400 else "leads elsewhere"
        return error_response(503, f"the backend {what} ({status})", code="backend_error")
    error = _error_in(body) or {"message": _text(body)}
    if error.get("type") in OUR_KINDS and isinstance(error.get("code"), str):
        answer: Response = _of_ours(status, error)
    elif is_llama_cpp:
        answer = of_engine(status, body, headers)
    else:
        answer = _of_others(status, error)
    if "retry-after" in headers:
        answer.headers["retry-after"] = headers["retry-after"]
    return answer


def status_in(event: bytes) -> int:
    """The status that an error names as its code; 500 where it names none."""
    code = (_error_in(event) or {}).get("code")
    return code if isinstance(code, int) and 400 <= code < 600 else 500


def _of_ours(status: int, error: dict[str, Any]) -> Response:
    more = {key: value for key, value in error.items() if key not in _FIELDS}
    return error_response(
        status, str(error["message"]), error["code"], param=error.get("param"), **more
    )


_FIELDS: Final = frozenset({"message", "type", "param", "code"})


def _of_others(status: int, error: dict[str, Any]) -> Response:
    message, code = str(error["message"]), error.get("code")
    if beyond := BEYOND_CONTEXT.search(message):
        n_ctx = int(beyond[1])
        return error_response(400, message, code="context_length_exceeded", n_ctx=n_ctx)
    if status >= 500:
        return error_response(status, message, code="backend_error")
    status = 400 if status == 422 else status  # FastAPI's word for a field that is wrong
    if not isinstance(code, str):
        code = {400: "invalid_value", 404: "not_found", 429: "queue_full"}.get(status)
    param = error.get("param")
    return error_response(
        status, message, code or "backend_error", param=param if isinstance(param, str) else None
    )


def _error_in(body: bytes) -> dict[str, Any] | None:
    """The error in a body: under `error`, or at its top; None where none says why it is one."""
    try:
        told = json.loads(body)
        error = told.get("error", told)
    except (ValueError, AttributeError):
        return None
    return error if isinstance(error, dict) and error.get("message") else None


def _text(body: bytes) -> str:
    return body.decode(errors="replace")[:LONGEST_REASON] or "the engine gave no reason"
