"""An OpenAI-style server on the loopback interface that answers by a script, in order or with one
fault.

Its tokens are words. Its answers are the words of WORDS in turn, a form that a client demands is
filled with the first value that the form allows, and each fault is one word in `faults`.
"""

import asyncio
import base64
import json
import re
import struct
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any, Final

import uvicorn
from jsonschema import Draft202012Validator
from msgspec import Struct, field
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from uvicorn.protocols.http.h11_impl import H11Protocol

WORDS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MODEL: Final = "scripted-1b"
N_CTX: Final = 400
LONG: Final = 1000  # chunks of an answer for which nobody waits
_NUMBERS: Final = count(1)

_TEXT: Final[dict[str, Any]] = {"type": "string"}
_COMMON: Final[dict[str, Any]] = {
    "model": _TEXT,
    "max_tokens": {"type": "integer", "minimum": 0},
    "max_completion_tokens": {"type": "integer", "minimum": 0},
    "temperature": {"type": "number", "minimum": 0, "maximum": 2},
    "top_p": {"type": "number"},
    "seed": {"type": "integer"},
    "n": {"type": "integer", "minimum": 1},
    "stop": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
    "stream": {"type": "boolean"},
    "logit_bias": {"type": "object"},
}
_PARTS: Final = {
    "type": "array",
    "items": {"type": "object", "required": ["type"], "properties": {"type": {"const": "text"}}},
}
_MESSAGE: Final = {
    "type": "object",
    "required": ["role"],
    "properties": {
        "role": {"enum": ["system", "developer", "user", "assistant", "tool"]},
        "content": {"anyOf": [_TEXT, {"type": "null"}, _PARTS]},
    },
}
_FORMAT: Final = {
    "type": "object",
    "properties": {"type": {"enum": ["text", "json_object", "json_schema"]}},
}
REQUESTS: Final[dict[str, dict[str, Any]]] = {
    "chat": {
        "type": "object",
        "required": ["messages"],
        "properties": {
            **_COMMON,
            "messages": {"type": "array", "minItems": 1, "items": _MESSAGE},
            "tools": {"type": "array", "items": {"type": "object"}},
            "response_format": _FORMAT,
            "logprobs": {"type": "boolean"},
            "functions": {"maxItems": 0},
        },
        "dependentRequired": {"top_logprobs": ["logprobs"]},
    },
    "completions": {
        "type": "object",
        "required": ["prompt"],
        "properties": {
            **_COMMON,
            "prompt": {"type": ["string", "array"]},
            "suffix": {"type": "null"},
        },
    },
    "embeddings": {
        "type": "object",
        "required": ["input"],
        "properties": {"input": {"type": ["string", "array"]}},
    },
    "rerank": {
        "type": "object",
        "required": ["query", "documents"],
        "properties": {"documents": {"type": "array", "items": _TEXT}},
    },
    "responses": {
        "type": "object",
        "required": ["input"],
        "properties": {
            "input": {"type": ["string", "array"]},
            "previous_response_id": {"type": "null"},
        },
    },
    "messages": {
        "type": "object",
        "required": ["messages"],
        "properties": {"messages": {"type": "array", "minItems": 1, "items": _MESSAGE}},
    },
}


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, message: str, status: int = 400, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class Scripted(Struct):
    """The server. Tests set `faults`, `key` and `lacks`."""

    url: str = ""
    faults: set[str] = field(default_factory=set)
    key: str | None = None
    lacks: set[str] = field(default_factory=set)  # endpoints that are not there
    tells_context: bool = True
    asked: list[tuple[str, bytes]] = field(default_factory=list)
    busy_until: float = 0.0
    is_dead: bool = False

    def reset(self) -> None:
        """A server without a fault."""
        self.faults, self.key, self.lacks, self.tells_context = set(), None, set(), True
        self.asked, self.busy_until, self.is_dead = [], 0.0, False

    # --- what every answer goes through

    def answering(
        self, endpoint: str, answer: Callable[[Any], Coroutine[Any, Any, Response]]
    ) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """`answer`, behind the checks of key, JSON and shape."""

        async def answered(request: Request) -> Response:
            raw = await request.body()
            self.asked.append((request.url.path, raw))
            while self.is_dead or (b'"stream"' not in raw and time.monotonic() < self.busy_until):
                await asyncio.sleep(0.01)
            request.scope["ends"] = "ends_connections" in self.faults
            try:
                if endpoint in self.lacks:
                    raise Refused("there is no such endpoint", 404)
                self._check_key(request)
                response = await answer(self._read(endpoint, raw))
            except Refused as refused:
                response = self._error(endpoint, refused)
            if "says_it_ends" in self.faults:
                response.headers["connection"] = "close"
            return response

        return answered

    def _check_key(self, request: Request) -> None:
        sent = request.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is None or "ignores_key" in self.faults:
            return
        right = sent[:4] == self.key[:4] if "compares_prefix" in self.faults else sent == self.key
        if not right:
            raise Refused("wrong key", 401)

    def _read(self, endpoint: str, raw: bytes) -> Any:
        try:
            body = json.loads(raw)
        except ValueError as error:
            if "takes_bad_json" in self.faults:
                return {"messages": [{"role": "user", "content": ""}]}
            raise Refused(
                "the body is no JSON", 500 if "fails_on_bad_json" in self.faults else 400
            ) from error
        if isinstance(body, dict) and body.get("messages") == [] and "hangs" in self.faults:
            self.is_dead = "dies" in self.faults
            raise Refused("no answer", 0)
        errors = list(Draft202012Validator(REQUESTS[endpoint]).iter_errors(body))
        if errors and not self._takes(errors[0].json_path, body):
            status = 500 if "fails_on_tools" in self.faults and "tools" in str(errors[0]) else 400
            raise Refused(errors[0].message, status)
        if isinstance(body, dict) and (body.get("response_format") or {}) != {}:
            self._check_schema(body["response_format"])
        model = body.get("model", MODEL)
        if model != MODEL and "echoes_model" not in self.faults:
            raise Refused(f"no model {model}", 404, "model_not_found")
        return body

    def _takes(self, path: str, body: Any) -> bool:
        """Whether a wrong request is taken all the same."""
        if "drops_pictures" in self.faults and "content" in path:
            return "image_url" in json.dumps(body)
        if "drops_fields" in self.faults:
            return path in {"$.functions", "$.suffix", "$.previous_response_id"} or (
                "content" in path and "document" in json.dumps(body)
            )
        return "takes_stop_5" in self.faults and path == "$.stop"

    def _check_schema(self, form: Any) -> None:
        schema = (form.get("json_schema") or {}).get("schema", {})
        try:
            Draft202012Validator.check_schema(schema)
        except Exception as error:
            raise Refused("no JSON schema") from error

    def _error(self, endpoint: str, refused: Refused) -> Response:
        if refused.status == 0:
            return StreamingResponse(_never())
        if "plain_errors" in self.faults:
            return PlainTextResponse(str(refused), refused.status)
        error = {"message": str(refused), "type": "invalid_request_error", "code": refused.code}
        if "number_codes" in self.faults:
            error["code"] = refused.status  # type: ignore[assignment]
        if endpoint == "messages":
            return JSONResponse({"type": "error", "error": error}, refused.status)
        return JSONResponse({"error": error | {"param": None}}, refused.status)

    # --- chat and completions

    def words_of(self, body: Any) -> int:
        """The tokens of a prompt. Raises Refused for more than the context."""
        prompts = (body.get(name) for name in ("messages", "prompt", "input", "documents"))
        text = " ".join(_texts(next(filter(None, prompts), "")))
        n = len(re.findall(r"\S+", text)) + 3
        if "tools_dropped" not in self.faults:
            n += len(json.dumps(body.get("tools", [])).split()) - 1
        if isinstance(body.get("prompt"), list) and type(body["prompt"][0]) is int:
            n = len(body["prompt"])
        if n > N_CTX:
            if "cuts" in self.faults:
                return N_CTX - 50
            raise Refused(f"{n} tokens are more than the context", 400, "context_length_exceeded")
        return n

    def answer_to(self, body: Any) -> tuple[list[str], str]:
        """The pieces of an answer, and why it ends."""
        limit = body.get("max_tokens", body.get("max_completion_tokens", 60))
        if "max_tokens_ignored" in self.faults:
            limit = 40
        start = next(_NUMBERS) if "random" in self.faults else 0
        pieces = [WORDS[(start + i) % 10] + " " for i in range(min(limit, 3000))]
        form = body.get("response_format") or {}
        if form.get("type") in {"json_object", "json_schema"} and "form_ignored" not in self.faults:
            schema = (form.get("json_schema") or {}).get("schema", {"type": "object"})
            pieces = list(json.dumps(filled(schema), ensure_ascii=False))
            if "cuts_letters" in self.faults:
                pieces = [p if p.isascii() else "\N{REPLACEMENT CHARACTER}" for p in pieces]
            return (pieces, "stop") if len(pieces) <= limit else (pieces[:limit], "length")
        return self._stopped(pieces, body.get("stop"))

    def _stopped(self, pieces: list[str], stop: Any) -> tuple[list[str], str]:
        stops = [stop] if isinstance(stop, str) else stop if isinstance(stop, list) else []
        text = "".join(pieces)
        for one in stops:
            if one in text and "stop_ignored" not in self.faults:
                end = text.index(one) + (1 if "stop_leaks" in self.faults else 0)
                return [text[:end]], "stop"
        return pieces, "length"

    def usage(self, body: Any, n: int) -> dict[str, int]:
        """The counts of an answer of `n` tokens."""
        prompt = 7 if "mixes_clients" in self.faults else self.words_of(body)
        total = prompt + n + (1 if "adds_wrong" in self.faults else 0)
        return {"prompt_tokens": prompt, "completion_tokens": n, "total_tokens": total}

    async def chat(self, body: Any) -> Response:
        """`/v1/chat/completions`."""
        usage = self.usage(body, 0)
        call = self._call(body)
        pieces, reason = ([], "tool_calls") if call else self.answer_to(body)
        usage = self.usage(body, len(pieces))
        head = {"id": f"chatcmpl-{next(_NUMBERS)}", "created": 1, "model": body.get("model", MODEL)}
        if body.get("stream"):
            deltas = [{"content": piece} for piece in pieces] if not call else _call_deltas(call)
            events = self._chunks(body, head, deltas, reason, usage)
            return StreamingResponse(self._sent(events), media_type="text/event-stream")
        message = {"role": "assistant", "content": None if call else "".join(pieces)}
        if call:
            message["tool_calls"] = [call]  # type: ignore[assignment]
        choice: dict[str, Any] = {"message": message, "finish_reason": reason}
        if body.get("logprobs") and "logprobs_ignored" not in self.faults:
            choice["logprobs"] = {"content": [_logprob(piece) for piece in pieces]}
        n = 1 if "n_ignored" in self.faults else body.get("n", 1)
        answer = head | {"object": "chat.completion", "usage": usage}
        if "no_id" in self.faults:
            del answer["id"]
        return JSONResponse(answer | {"choices": [choice | {"index": i} for i in range(n)]})

    def _call(self, body: Any) -> dict[str, Any] | None:
        choice = body.get("tool_choice")
        if not body.get("tools") or choice in (None, "none", "auto"):
            return None
        if "tools_ignored" in self.faults:
            return None
        named = choice["function"]["name"] if isinstance(choice, dict) else None
        if "first_tool" in self.faults:
            named = None
        tools = [tool["function"] for tool in body["tools"]]
        tool = next((t for t in tools if t["name"] == named), tools[0])
        arguments: Any = json.dumps(filled(tool["parameters"]))
        if "object_arguments" in self.faults:
            arguments = filled(tool["parameters"])
        function = {"name": tool["name"], "arguments": arguments}
        return {"id": f"call_{next(_NUMBERS)}", "type": "function", "function": function}

    def _chunks(
        self,
        body: Any,
        head: dict[str, Any],
        deltas: list[dict[str, Any]],
        reason: str,
        usage: dict[str, int],
    ) -> list[Any]:
        """The chunks of a stream, in order."""
        head = head | {"object": "chat.completion.chunk"}
        role = {} if "no_role" in self.faults else {"role": "assistant"}
        said = [{**role, "content": ""}, *deltas]
        chunks = [head | {"choices": [{"index": 0, "delta": d}]} for d in said]
        end = head | {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}
        chunks += [end, end] if "ends_twice" in self.faults else [end]
        if "late_text" in self.faults:
            chunks.append(chunks[1])
        if (body.get("stream_options") or {}).get("include_usage"):
            if "no_usage" not in self.faults:
                chunks.append(head | {"choices": [], "usage": usage})
        elif "usage_unasked" in self.faults:
            chunks.append(head | {"choices": [], "usage": usage})
        return chunks

    async def _sent(self, chunks: list[Any]) -> AsyncIterator[bytes]:
        """The chunks as events, each when it is written."""
        if "held_back" in self.faults:
            await asyncio.sleep(0.8)
        if "never_cancels" in self.faults and len(chunks) > LONG:
            self.busy_until = time.monotonic() + 2
        for i, chunk in enumerate(chunks):
            if "breaks_off" in self.faults and i == 3:
                raise ConnectionError("broken off by the script")
            if len(chunks) > LONG:
                await asyncio.sleep(0.01)
            yield b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + b"\n\n"
        if "no_done" not in self.faults:
            yield b"data: [DONE]\n\n"

    async def complete(self, body: Any) -> Response:
        """`/v1/completions`."""
        if body.get("echo") and "echo_ignored" not in self.faults:
            raise Refused("echo is not supported")
        if not _is_prompt(body["prompt"]):
            raise Refused("no prompt")
        pieces, reason = self.answer_to(body)
        usage = self.usage(body, len(pieces))
        head = {"id": f"cmpl-{next(_NUMBERS)}", "created": 1, "model": MODEL}
        head |= {"object": "text_completion"}
        if body.get("stream"):
            chunks = [head | {"choices": [{"index": 0, "text": p}]} for p in pieces]
            end = {"index": 0, "text": "", "finish_reason": reason}
            chunks += [head | {"choices": [end]}, head | {"choices": [], "usage": usage}]
            return StreamingResponse(self._sent(chunks), media_type="text/event-stream")
        texts = body["prompt"]
        n = len(texts) if isinstance(texts, list) and isinstance(texts[0], str) else 1
        choice = {"text": "".join(pieces), "finish_reason": reason}
        choices = [choice | {"index": i} for i in range(n)]
        return JSONResponse(head | {"choices": choices, "usage": usage})

    # --- vectors

    async def embed(self, body: Any) -> Response:
        """`/v1/embeddings`."""
        texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
        vectors: list[Any] = [[len(t) / 50, t.count("e") / 5, 1.0] for t in texts]
        if "swaps_vectors" in self.faults:
            vectors = [[v[2], v[0] + len(vectors), v[1]] for v in reversed(vectors)]
        if body.get("encoding_format") == "base64" and "base64_ignored" not in self.faults:
            vectors = [base64.b64encode(struct.pack("<3f", *v)).decode() for v in vectors]
        data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
        n = self.words_of(body)
        usage = {"prompt_tokens": n, "total_tokens": n}
        return JSONResponse({"object": "list", "model": MODEL, "data": data, "usage": usage})

    async def rerank(self, body: Any) -> Response:
        """`/v1/rerank`."""
        n = len(body["documents"])
        results = [{"index": i, "relevance_score": 1 / (i + 1)} for i in range(n)]
        if "worst_first" in self.faults:
            results.reverse()
        usage = {"total_tokens": self.words_of(body)}
        return JSONResponse({"results": results[: body.get("top_n", n)], "usage": usage})

    # --- responses and messages

    async def respond(self, body: Any) -> Response:
        """`/v1/responses`."""
        limit, turns = body.get("max_output_tokens", 60), body["input"]
        if "wants_types" in self.faults and not isinstance(turns, str):
            raise Refused("an item has no type")
        form = (body.get("text") or {}).get("format") or {}
        asked = {"type": form.get("type"), "json_schema": form}
        if "response_form_ignored" in self.faults:
            asked = {}
        pieces, _ = self.answer_to({"max_tokens": limit, "response_format": asked})
        part = {"type": "output_text", "text": "".join(pieces), "annotations": []}
        item = {"type": "message", "id": "msg_1", "role": "assistant", "content": [part]}
        n = self.words_of(body)
        usage = {"input_tokens": n, "output_tokens": limit, "total_tokens": n + limit}
        status = "completed" if "calls_it_completed" in self.faults else "incomplete"
        response = {
            "id": "resp_1", "object": "response", "created_at": 1, "status": status,
            "model": MODEL, "output": [item], "usage": usage,
        }  # fmt: skip
        if not body.get("stream"):
            return JSONResponse(response)
        values: list[dict[str, Any]] = [
            {"type": "response.created", "response": response},
            *({"type": "response.output_text.delta", "delta": piece} for piece in pieces),
            {"type": f"response.{status}", "response": response},
        ]
        if "unnumbered" not in self.faults:
            values = [value | {"sequence_number": i} for i, value in enumerate(values)]
        return StreamingResponse(_named(values), media_type="text/event-stream")

    async def message(self, body: Any) -> Response:
        """`/v1/messages`."""
        pieces, _ = self.answer_to(body)
        usage = {"input_tokens": self.words_of(body), "output_tokens": len(pieces)}
        message = {
            "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL,
            "content": [{"type": "text", "text": "".join(pieces)}],
            "stop_reason": "max_tokens", "stop_sequence": None, "usage": usage,
        }  # fmt: skip
        if not body.get("stream"):
            return JSONResponse(message)
        begin = {"type": "message_start", "message": message | {"content": []}}
        block = {"type": "text", "text": ""}
        values: list[dict[str, Any]] = [
            begin,
            {"type": "content_block_start", "index": 0, "content_block": block},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"text": piece}}
                for piece in pieces
            ),
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "max_tokens"}, "usage": usage},
            {"type": "message_stop"},
        ]
        values = values[1:] if "no_start" in self.faults else values
        return StreamingResponse(_named(values), media_type="text/event-stream")

    async def count_tokens(self, body: Any) -> Response:
        """`/v1/messages/count_tokens`."""
        more = 9 if "counts_wrong" in self.faults else 0
        return JSONResponse({"input_tokens": self.words_of(body) + more})

    async def models(self, request: Request) -> Response:
        """`/v1/models` and `/v1/models/ID`."""
        try:
            self._check_key(request)
        except Refused as refused:
            return self._error("models", refused)
        told = {"context_length": N_CTX} if self.tells_context else {}
        model = {"id": MODEL, "object": "model", "created": 1, "owned_by": "script"} | told
        name = request.path_params.get("name")
        if name is None:
            return JSONResponse({"object": "list", "data": [model]})
        if name == MODEL:
            return JSONResponse(model)
        return self._error("models", Refused("no such model", 404))

    def app(self) -> Starlette:
        """The application."""

        async def no_such(request: Request, error: Exception) -> Response:
            status = error.status_code if isinstance(error, HTTPException) else 500
            return self._error("path", Refused("there is no such path", status))

        posts = {
            "/v1/chat/completions": ("chat", self.chat),
            "/v1/completions": ("completions", self.complete),
            "/v1/embeddings": ("embeddings", self.embed),
            "/v1/rerank": ("rerank", self.rerank),
            "/v1/responses": ("responses", self.respond),
            "/v1/messages": ("messages", self.message),
            "/v1/messages/count_tokens": ("messages", self.count_tokens),
        }
        return Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/models/{name}", self.models),
                *(
                    Route(path, self.answering(*how), methods=["POST"])
                    for path, how in posts.items()
                ),
            ],
            exception_handlers={404: no_such, 405: no_such},
        )


async def _never() -> AsyncIterator[bytes]:
    await asyncio.sleep(60)
    yield b""


def _is_prompt(prompt: Any) -> bool:
    return isinstance(prompt, str) or (bool(prompt) and isinstance(prompt[0], str | int))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, dict):
        yield from _texts(value.get("content", value.get("text")))


def _logprob(piece: str) -> dict[str, Any]:
    one = {"token": piece, "logprob": -0.1, "bytes": list(piece.encode())}
    return one | {"top_logprobs": [one, one]}


def _call_deltas(call: dict[str, Any]) -> list[dict[str, Any]]:
    function = call["function"]
    begin = {**call, "index": 0, "function": {"name": function["name"], "arguments": ""}}
    rest = [{"index": 0, "function": {"arguments": letter}} for letter in function["arguments"]]
    return [{"tool_calls": [piece]} for piece in [begin, *rest]]


async def _named(values: list[dict[str, Any]]) -> AsyncIterator[bytes]:
    for value in values:
        yield f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()


def filled(schema: dict[str, Any]) -> Any:
    """The first value that a form allows."""
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "array":
        return [filled(schema["items"]) for _ in range(schema.get("minItems", 0))]
    if schema.get("type") == "boolean":
        return True
    return {name: filled(inner) for name, inner in schema.get("properties", {}).items()}


class Connection(H11Protocol):
    """A connection that ends behind an answer without a word, where the answer is so marked."""

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.scope.get("ends"):
            self.transport.close()


@contextmanager
def scripted() -> Iterator[Scripted]:
    """The server at a free port of 127.0.0.1, until the block ends."""
    state = Scripted()
    config = uvicorn.Config(
        state.app(), http=Connection, port=0, log_config=None, timeout_graceful_shutdown=0,
        lifespan="off",
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    state.url = f"http://127.0.0.1:{port}"
    try:
        yield state
    finally:
        state.is_dead = False
        server.should_exit = True
        with suppress(RuntimeError):
            thread.join(5)
