"""Checks of `/v1/models`."""

from urllib.parse import quote

from hakaru.conformance.peer import Peer
from hakaru.conformance.replies import not_ok, shaped
from hakaru.conformance.shapes import MODEL_LIST, MODELS, misshapen
from hakaru.conformance.verdicts import Check, Outcome, failed, passed
from hakaru.language import say


def model_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check("models.list", "moderate", say("a list of models, each with an id"), _list),
        Check(
            "models.fields",
            "minor",
            say("each model has id, object, created and owned_by"),
            _fields,
        ),
        Check("models.one", "minor", say("/models/ID tells of the one model"), _one),
        Check(
            "models.unknown",
            "minor",
            say("/models/ID of a model that is not there gives 404"),
            _unknown,
        ),
    )


async def _list(peer: Peer) -> Outcome:
    return shaped(await peer.wire.ask("GET", peer.url("/models")), MODEL_LIST)


async def _fields(peer: Peer) -> Outcome:
    return shaped(await peer.wire.ask("GET", peer.url("/models")), MODELS)


async def _one(peer: Peer) -> Outcome:
    reply = await peer.wire.ask("GET", peer.url(f"/models/{quote(peer.model, safe='')}"))
    if bad := not_ok(reply):
        return bad
    shape = {"type": "object", "properties": {"id": {"const": peer.model}}, "required": ["id"]}
    wrong = misshapen(reply.value, shape)
    return failed(wrong) if wrong else passed()


async def _unknown(peer: Peer) -> Outcome:
    reply = await peer.wire.ask("GET", peer.url("/models/no-such-model-7431"))
    if reply.status == 404:
        return passed()
    return failed(say("it came with status {n}", n=reply.status))
