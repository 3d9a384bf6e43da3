"""Checks of `/v1/embeddings` and `/v1/rerank`."""

import base64
import math
import struct
from binascii import Error as NoBase64
from collections.abc import Sequence
from typing import Any, Final

from hakaru.conformance.peer import Peer
from hakaru.conformance.replies import field_of, not_ok, refuses, shaped
from hakaru.conformance.shapes import EMBEDDINGS, RERANK, misshapen
from hakaru.conformance.verdicts import Check, Outcome, failed, passed, skipped
from hakaru.conformance.wire import Reply
from hakaru.language import say

ALIKE: Final = 0.999
"""The cosine from which on two vectors are the same: batches are computed a little differently."""
_TEXTS: Final = ("The cat sleeps.", "Rain falls on the sea.")


def vector_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check(
            "embeddings.shape",
            "moderate",
            say("a list of embeddings in its shape, with usage"),
            _shape,
            "embeddings",
        ),
        Check(
            "embeddings.batch",
            "severe",
            say("two texts get two vectors, in order, each as if it were alone"),
            _batch,
            "embeddings",
        ),
        Check(
            "embeddings.base64",
            "moderate",
            say("encoding_format base64, which OpenAI's client asks for, holds the same numbers"),
            _base64,
            "embeddings",
        ),
        Check(
            "rerank.shape",
            "moderate",
            say("results with index and relevance_score, the best first"),
            _rerank,
            "rerank",
        ),
        Check("rerank.top_n", "minor", say("top_n 1 gives one result"), _top_n, "rerank"),
    )


async def _embed(peer: Peer, text: Any, **fields: Any) -> Reply:
    return await peer.post("embeddings", {"model": peer.model, "input": text, **fields})


async def _shape(peer: Peer) -> Outcome:
    return shaped(await _embed(peer, _TEXTS[0], encoding_format="float"), EMBEDDINGS)


def _vectors(reply: Reply) -> list[Any]:
    """The embeddings in the order of their numbers."""
    data = reply.value["data"] if isinstance(reply.value, dict) else []
    return [entry["embedding"] for entry in sorted(data, key=lambda entry: entry["index"])]


async def _batch(peer: Peer) -> Outcome:
    both = await _embed(peer, list(_TEXTS), encoding_format="float")
    if bad := not_ok(both):
        return bad
    if wrong := misshapen(both.value, EMBEDDINGS):
        return failed(wrong)
    order = [entry["index"] for entry in both.value["data"]]
    if order != [0, 1]:
        return failed(say("their numbers are {found}", found=order))
    for text, together in zip(_TEXTS, _vectors(both), strict=True):
        alone = await _embed(peer, text, encoding_format="float")
        if bad := not_ok(alone):
            return bad
        if cosine(_vectors(alone)[0], together) < ALIKE:
            return failed(say("the vector of a text is another one in company"))
    return passed()


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    """How alike two vectors are; 0 for vectors of different lengths."""
    if len(a) != len(b):
        return 0.0
    lengths = math.hypot(*a) * math.hypot(*b)
    return sum(x * y for x, y in zip(a, b, strict=True)) / lengths if lengths else 1.0


async def _base64(peer: Peer) -> Outcome:
    coded = await _embed(peer, _TEXTS[0], encoding_format="base64")
    if reason := refuses(coded):
        return skipped(reason)
    plain = await _embed(peer, _TEXTS[0], encoding_format="float")
    if bad := not_ok(coded) or not_ok(plain):
        return bad
    text, numbers = _vectors(coded)[0], _vectors(plain)[0]
    if not isinstance(text, str):
        return failed(say("numbers came instead, and no error"))
    try:
        raw = base64.b64decode(text, validate=True)
        decoded = struct.unpack(f"<{len(raw) // 4}f", raw)
    except (NoBase64, struct.error):
        return failed(say("it is no base64 of 32-bit numbers"))
    if cosine(decoded, numbers) < ALIKE:
        return failed(say("the numbers are others"))
    return passed()


async def _ranked(peer: Peer, **fields: Any) -> Reply:
    body = {"model": peer.model, "query": "Where does the cat sleep?", "documents": list(_TEXTS)}
    return await peer.post("rerank", body | fields)


async def _rerank(peer: Peer) -> Outcome:
    reply = await _ranked(peer)
    outcome = shaped(reply, RERANK)
    if outcome.verdict != "pass":
        return outcome
    results = reply.value["results"]
    scores = [result["relevance_score"] for result in results]
    if sorted(result["index"] for result in results) != [0, 1]:
        return failed(say("their numbers are {found}", found=[r["index"] for r in results]))
    if scores != sorted(scores, reverse=True):
        return failed(say("the best is not the first"), "minor")
    return passed()


async def _top_n(peer: Peer) -> Outcome:
    reply = await _ranked(peer, top_n=1)
    if reason := refuses(reply):
        return skipped(reason)
    if bad := not_ok(reply):
        return bad
    results = field_of(reply, "results")
    n = len(results) if isinstance(results, list) else 0
    return passed() if n == 1 else failed(say("results that came: {n}", n=n))
