"""The published shapes of answers, as JSON schemas, and what of an answer does not have its shape.

Only what every client may count on is demanded: fields that the OpenAI API reference marks as
always there. What a server sends beside them is its own business. Pure.
Source: the OpenAI API reference (models, chat, completions, embeddings, responses), Anthropic's
(messages), and Jina's and Cohere's rerank, which agree on `results`, `index`, `relevance_score`.
"""

from typing import Any, Final

TEXT: Final = {"type": "string"}
NAME: Final = {"type": "string", "minLength": 1}
COUNT: Final = {"type": "integer", "minimum": 0}


def _object(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    properties = required | optional
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: dict[str, Any], least: int = 1) -> dict[str, Any]:
    return {"type": "array", "minItems": least, "items": items}


MODEL_LIST: Final = _object({"object": {"const": "list"}, "data": _list(_object({"id": NAME}))})
MODEL: Final = _object(
    {"id": NAME, "object": {"const": "model"}, "created": COUNT, "owned_by": TEXT}
)
MODELS: Final = _object({"data": _list(MODEL)})
FINISH: Final = {"enum": ["stop", "length", "tool_calls", "content_filter", "function_call"]}
MESSAGE: Final = _object({"role": {"const": "assistant"}, "content": {"type": ["string", "null"]}})
CHAT: Final = _object(
    {
        "id": NAME,
        "object": {"const": "chat.completion"},
        "created": COUNT,
        "model": NAME,
        "choices": _list(
            _object({"index": {"const": 0}, "message": MESSAGE, "finish_reason": FINISH})
        ),
    }
)
USAGE: Final = _object(
    {
        "prompt_tokens": {"type": "integer", "minimum": 1},
        "completion_tokens": COUNT,
        "total_tokens": {"type": "integer", "minimum": 1},
    }
)
CHUNK: Final = _object(
    {
        "id": NAME,
        "object": {"const": "chat.completion.chunk"},
        "created": COUNT,
        "model": NAME,
        "choices": _list(_object({"index": COUNT, "delta": {"type": "object"}}), 0),
    }
)
COMPLETION: Final = _object(
    {
        "id": NAME,
        "object": {"const": "text_completion"},
        "created": COUNT,
        "model": NAME,
        "choices": _list(_object({"index": COUNT, "text": TEXT, "finish_reason": FINISH})),
    }
)
TOOL_CALL: Final = _object(
    {
        "id": NAME,
        "type": {"const": "function"},
        "function": _object({"name": NAME, "arguments": TEXT}),
    }
)
_TOKEN: Final = {"token": TEXT, "logprob": {"type": "number", "maximum": 1e-6}}
LOGPROBS: Final = _object(
    {
        "content": _list(
            _object(_TOKEN | {"top_logprobs": {"type": "array", "items": _object(_TOKEN)}})
        )
    }
)
ERROR: Final = _object({"error": _object({"message": NAME, "type": NAME})})
_CODE: Final = {"properties": {"code": {"type": ["string", "null"]}}}
ERROR_CODE: Final = {"properties": {"error": _CODE}}
EMBEDDINGS: Final = _object(
    {
        "object": {"const": "list"},
        "model": TEXT,
        "data": _list(
            _object(
                {
                    "object": {"const": "embedding"},
                    "index": COUNT,
                    "embedding": _list({"type": "number"}),
                }
            )
        ),
        "usage": _object({"prompt_tokens": COUNT, "total_tokens": COUNT}),
    }
)
RERANK: Final = _object(
    {"results": _list(_object({"index": COUNT, "relevance_score": {"type": "number"}}))}
)
RESPONSE: Final = _object(
    {
        "id": NAME,
        "object": {"const": "response"},
        "created_at": {"type": "number"},
        "status": {"enum": ["completed", "incomplete"]},
        "model": TEXT,
        "output": _list(_object({"type": NAME})),
        "usage": _object({"input_tokens": COUNT, "output_tokens": COUNT, "total_tokens": COUNT}),
    }
)
STOP_REASON: Final = {
    "enum": ["end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal"]
}
ANTHROPIC: Final = _object(
    {
        "id": NAME,
        "type": {"const": "message"},
        "role": {"const": "assistant"},
        "content": _list(_object({"type": NAME})),
        "model": TEXT,
        "stop_reason": STOP_REASON,
        "usage": _object({"input_tokens": COUNT, "output_tokens": COUNT}),
    }
)
ANTHROPIC_ERROR: Final = _object(
    {"type": {"const": "error"}, "error": _object({"type": NAME, "message": NAME})}
)


def misshapen(value: Any, shape: dict[str, Any]) -> str:
    """Where `value` differs from `shape` first, as a path and a reason; empty if nowhere. Example:
    `$.choices[0].index: 1 is not 0`.
    """
    from jsonschema import Draft202012Validator

    errors = sorted(Draft202012Validator(shape).iter_errors(value), key=lambda e: len(e.path))
    if not errors:
        return ""
    first = errors[0]
    found = repr(first.instance)
    reason = first.message
    if len(found) > 60:
        reason = reason.replace(found, f"{found[:60]}…")
    return f"{first.json_path}: {reason}"
