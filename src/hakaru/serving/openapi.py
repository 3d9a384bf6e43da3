"""What the server answers, as an OpenAPI document: `/openapi.json`, for people's tools and for the
tests that send what it allows and what it forbids.
"""

from collections.abc import Collection, Iterable
from typing import Any, Final

import msgspec

from hakaru import __version__
from hakaru.serving.request_schemas import SCHEMAS

JSON: Final = "application/json"
ERROR: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"enum": ["invalid_request_error", "rate_limit_error", "server_error"]},
                "param": {"type": ["string", "null"]},
                "code": {"type": "string"},
            },
        }
    },
}


def openapi(told: Iterable[str], asked: Collection[str]) -> dict[str, Any]:
    """The document of a server that answers GET at the paths `told`, and POST at `asked`."""
    named = [schema for path, schema in SCHEMAS.items() if path in asked]
    bodies, parts = msgspec.json.schema_components(
        named, ref_template="#/components/schemas/{name}"
    )
    by_path = dict(zip((path for path in SCHEMAS if path in asked), bodies, strict=True))
    paths: dict[str, Any] = {path: {"get": {"responses": _answers()}} for path in told}
    paths |= {
        path: {
            "post": {
                "requestBody": {"required": True, "content": {JSON: {"schema": body}}},
                "responses": _answers(),
            }
        }
        for path, body in by_path.items()
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "hakaru", "version": __version__},
        "paths": paths,
        "components": {"schemas": {**parts, "Error": ERROR}},
    }


def _answers() -> dict[str, Any]:
    error = {"content": {JSON: {"schema": {"$ref": "#/components/schemas/Error"}}}}
    return {
        "200": {"description": "The answer."},
        "4XX": {"description": "The request is at fault.", **error},
        "503": {"description": "The model is not there yet; Retry-After says when.", **error},
    }
