"""Errors of the gateway in the form that OpenAI's clients read, `{"error": {message, type, param,
code}}`, with the `"type": "error"` beside it that Anthropic's clients read.
"""

import json
from typing import Any

from starlette.responses import JSONResponse


def error_body(
    status: int, message: str, code: str, *, param: str | None = None, **extra: object
) -> dict[str, Any]:
    """The error, as JSON. `param` is the field that is wrong."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    kind = "rate_limit_error" if status == 429 else kind
    error = {"message": message, "type": kind, "param": param, "code": code, **extra}
    return {"type": "error", "error": error}


def error_response(
    status: int, message: str, code: str, *, param: str | None = None, **extra: object
) -> JSONResponse:
    """One error; a 503 says when to come again."""
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(error_body(status, message, code, param=param, **extra), status, headers)


def error_event(status: int, message: str, code: str) -> bytes:
    """One error as an event of a stream. Anthropic's clients pass over an event without a name."""
    return f"event: error\ndata: {json.dumps(error_body(status, message, code))}\n\n".encode()


def too_large(length: object, limit: int) -> JSONResponse:
    """A body that is longer than any may be."""
    return error_response(
        413, f"the request has {length} bytes, more than the {limit} allowed", "request_too_large"
    )
