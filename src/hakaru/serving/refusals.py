"""Errors of the gateway in the form that OpenAI's clients read, `{"error": {message, type, param,
code}}`, with the `"type": "error"` beside it that Anthropic's clients read.
"""

from typing import Any

from starlette.responses import JSONResponse


def error_fields(
    status: int, message: str, code: str, *, param: str | None = None, **extra: object
) -> dict[str, Any]:
    """What stands under `error`, also where an error is an event of a stream."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    kind = "rate_limit_error" if status == 429 else kind
    return {"message": message, "type": kind, "param": param, "code": code, **extra}


def error_response(
    status: int, message: str, code: str, *, param: str | None = None, **extra: object
) -> JSONResponse:
    """One error. `param` is the field that is wrong; a 503 says when to come again."""
    headers = {"Retry-After": "1"} if status == 503 else None
    error = error_fields(status, message, code, param=param, **extra)
    return JSONResponse({"type": "error", "error": error}, status, headers)


def too_large(length: object, limit: int) -> JSONResponse:
    """A body that is longer than any may be."""
    return error_response(
        413, f"the request has {length} bytes, more than the {limit} allowed", "request_too_large"
    )
