"""Checks of wrong requests: each is refused with a 4xx status, and an error in the published form.

A 5xx makes clients ask again, OpenAI's own twice; a 200 leaves a person with an answer to something
else. The server must also still answer afterwards.
"""

import base64
import struct
import zlib
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from msgspec import Struct

from hakaru.conformance.peer import ENDPOINTS, OMIT, Peer, user
from hakaru.conformance.replies import field_of, is_refusal, not_ok, usage_of
from hakaru.conformance.shapes import ERROR, ERROR_CODE, misshapen
from hakaru.conformance.verdicts import Check, Outcome, Severity, failed, passed, skipped
from hakaru.conformance.wire import Exchange, Reply
from hakaru.language import say


class Wrong(Struct, frozen=True):
    """A request with one fault."""

    name: str
    fields: Mapping[str, Any]  # in the place of those of a right request
    told: str  # what is wrong, as it stands in the request; empty: a field is missing
    severity: Severity = "moderate"
    endpoint: str = "chat"

    def expected(self) -> str:
        """What the server should do."""
        if not self.told:
            field = next(iter(self.fields))
            return say("a request without {field} is refused with a 4xx status", field=field)
        return say("a request with {fault} is refused with a 4xx status", fault=self.told)


_USER: Final = {"role": "user", "content": "Hello"}
_SCHEMA: Final = {
    "type": "json_schema",
    "json_schema": {"name": "zq", "schema": {"type": "no-such-type"}},
}
WRONG: Final = (
    Wrong("no_messages", {"messages": OMIT}, ""),
    Wrong("messages_empty", {"messages": []}, '"messages": []'),
    Wrong("messages_type", {"messages": "Hello"}, '"messages": "Hello"'),
    Wrong("message_type", {"messages": ["Hello"]}, '"messages": ["Hello"]'),
    Wrong("role_missing", {"messages": [{"content": "Hello"}]}, '"messages": [{"content": "…"}]'),
    Wrong("role_unknown", {"messages": [_USER | {"role": "nobody"}]}, '"role": "nobody"', "minor"),
    Wrong("content_type", {"messages": [_USER | {"content": 5}]}, '"content": 5'),
    Wrong("max_tokens_type", {"max_tokens": "four"}, '"max_tokens": "four"'),
    Wrong("max_tokens_negative", {"max_tokens": -5}, '"max_tokens": -5', "minor"),
    Wrong("temperature_type", {"temperature": "hot"}, '"temperature": "hot"'),
    Wrong("temperature_range", {"temperature": -1}, '"temperature": -1', "minor"),
    Wrong("top_p_type", {"top_p": "most"}, '"top_p": "most"'),
    Wrong("seed_type", {"seed": "seven"}, '"seed": "seven"', "minor"),
    Wrong("stop_type", {"stop": 5}, '"stop": 5'),
    Wrong("stream_type", {"stream": "yes"}, '"stream": "yes"'),
    Wrong("tools_type", {"tools": 5}, '"tools": 5'),
    Wrong("tool_type", {"tools": [5]}, '"tools": [5]'),
    Wrong("response_format_type", {"response_format": 5}, '"response_format": 5'),
    Wrong("response_format_kind", {"response_format": {"type": "zq"}}, '{"type": "zq"}'),
    Wrong("schema_type", {"response_format": _SCHEMA}, '"schema": {"type": "no-such-type"}'),
    Wrong("logit_bias_type", {"logit_bias": 5}, '"logit_bias": 5'),
    Wrong("n_zero", {"n": 0}, '"n": 0', "minor"),
    Wrong("top_logprobs_alone", {"top_logprobs": 2}, '"top_logprobs": 2 (logprobs: null)', "minor"),
    Wrong("no_prompt", {"prompt": OMIT}, "", "moderate", "completions"),
    Wrong("prompt_type", {"prompt": {"a": 5}}, '"prompt": {"a": 5}', "moderate", "completions"),
    Wrong("no_input", {"input": OMIT}, "", "moderate", "embeddings"),
    Wrong("input_type", {"input": {"a": 5}}, '"input": {"a": 5}', "moderate", "embeddings"),
    Wrong("no_documents", {"documents": OMIT}, "", "moderate", "rerank"),
    Wrong("documents_type", {"documents": 5}, '"documents": 5', "moderate", "rerank"),
)  # fmt: skip
RAW: Final[dict[str, tuple[bytes, Severity]]] = {
    "json_cut": (b'{"model": "zq", "messages": [', "severe"),
    "json_none": (b"Hello", "severe"),
    "empty": (b"", "moderate"),
    "list": (b"[1, 2]", "moderate"),
    "utf8": (b'{"messages": [{"role": "user", "content": "\xff\xfe"}], "max_tokens": 4}', "minor"),
}
"""Bodies that are no JSON object."""
SIDE: Final = 32  # points of the picture that is sent


def refusal_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    by_body = (
        Check(
            f"errors.{name}",
            severity,
            say("a body of {bytes} is refused with a 4xx status", bytes=str(body)[1:]),
            partial(_raw, body=body),
            "chat",
        )
        for name, (body, severity) in RAW.items()
    )
    by_field = (
        Check(
            f"errors.{wrong.name}",
            wrong.severity,
            wrong.expected(),
            partial(_wrong, wrong=wrong),
            wrong.endpoint,
        )
        for wrong in WRONG
    )
    return (*by_body, *by_field, *_of_the_whole())


def _of_the_whole() -> tuple[Check, ...]:
    return (
        Check(
            "errors.picture",
            "severe",
            say("a picture is seen, or refused with a 4xx status; it is not dropped"),
            _picture,
            "chat",
        ),
        Check(
            "errors.model",
            "moderate",
            say("an unknown model is refused, or the answer names the model that wrote it"),
            _model,
            "chat",
        ),
        Check("errors.path", "minor", say("a path that is not there gives 404"), _path),
        Check("errors.method", "minor", say("GET where POST belongs gives 404 or 405"), _method),
        Check("errors.alive", "severe", say("after all that, a right request is answered"), _alive),
    )


async def _raw(peer: Peer, body: bytes) -> Outcome:
    return _judged(await peer.post("chat", body))


async def _wrong(peer: Peer, wrong: Wrong) -> Outcome:
    right = {
        "chat": peer.chat_body(messages=[_USER]),
        "completions": peer.completion_body(),
        "embeddings": {"model": peer.model, "input": "Hello"},
        "rerank": {"model": peer.model, "query": "Hello", "documents": ["Hello"]},
    }[wrong.endpoint]
    return _judged(await peer.post(wrong.endpoint, {**right, **wrong.fields}))


def _judged(reply: Reply) -> Outcome:
    if is_refusal(reply):
        return passed()
    return failed(say("it came with status {n}", n=reply.status), is_loud=reply.status != 200)


async def _picture(peer: Peer) -> Outcome:
    """By the count of the prompt: a picture takes tokens, one that is dropped takes none."""
    text = {"type": "text", "text": "What is this?"}
    picture = {"type": "image_url", "image_url": {"url": red_square()}}
    reply = await peer.chat(messages=user([text, picture]))
    if reply.status != 200:
        return _judged(reply)
    alone = await peer.chat(messages=user([text]))
    with_it, without = (usage_of(r, "prompt_tokens") for r in (reply, alone))
    if with_it is None or without is None:
        return skipped(say("there is no usage"))
    if with_it > without:
        return passed(say("it is seen"))
    return failed(say("it was dropped: {n} tokens were read with it and without", n=with_it))


def red_square() -> str:
    """A PNG of SIDE by SIDE points, as an address that holds it."""
    rows = (b"\0" + b"\xe0\x20\x20" * SIDE) * SIDE
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    raw = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    return f"data:image/png;base64,{base64.b64encode(raw).decode()}"


async def _model(peer: Peer) -> Outcome:
    unknown_model = "no-such-model-7431"
    reply = await peer.chat(model=unknown_model)
    if 400 <= reply.status < 500:
        return passed()
    if bad := not_ok(reply):
        return bad
    told = field_of(reply, "model")
    if told == unknown_model:
        return failed(say("the answer says that this model wrote it"))
    return passed(say("it is answered by {model}, as it says", model=told))


async def _path(peer: Peer) -> Outcome:
    reply = await peer.post("/no-such-path-7431", {"model": peer.model})
    return passed() if reply.status == 404 else _judged(reply)


async def _method(peer: Peer) -> Outcome:
    reply = await peer.wire.ask("GET", peer.url(peer.plainest()[0]))
    if reply.status in {404, 405}:
        return passed()
    return failed(say("it came with status {n}", n=reply.status))


async def _alive(peer: Peer) -> Outcome:
    reply = await peer.post(*peer.plainest())
    return not_ok(reply) or passed()


def form_checks() -> tuple[Check, ...]:
    """The checks of all errors that came before: they are asked last."""
    return (
        Check(
            "form.error",
            "moderate",
            say("every error is JSON: an object error with a message and a type"),
            partial(_form, shape=ERROR),
        ),
        Check(
            "form.code",
            "minor",
            say("the code of an error is a text or null"),
            partial(_form, shape=ERROR_CODE),
        ),
    )


async def _form(peer: Peer, shape: dict[str, Any]) -> Outcome:
    """Of all errors the first without this form is shown."""
    errors = [e for e in peer.facts.get("answers", []) if _is_error(e)]
    if not errors:
        return skipped(say("no error came"))
    wrong = [(e, misshapen(e.reply.value, shape)) for e in errors]
    bad = [(exchange, reason) for exchange, reason in wrong if reason]
    if not bad:
        return passed()
    peer.wire.log.append(bad[0][0])
    return failed(say("{n} of {total}: {reason}", n=len(bad), total=len(errors), reason=bad[0][1]))


def _is_error(exchange: Exchange) -> bool:
    """Whether an answer is an error that has the form of OpenAI's."""
    reply, path = exchange.reply, exchange.url
    return (
        reply is not None
        and reply.status >= 400
        and reply.broken is None
        and ENDPOINTS["messages"] not in path
    )
