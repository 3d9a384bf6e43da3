"""Checks of the key: who has none, or almost the right one, learns nothing."""

from hakaru.conformance.peer import Peer
from hakaru.conformance.replies import not_ok
from hakaru.conformance.verdicts import Check, Outcome, Severity, failed, passed, skipped
from hakaru.conformance.wire import Wire
from hakaru.language import say

_ANY: str = "sk-any-key-7431"


def key_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check("auth.none", "severe", say("a request without the key is refused with 401"), _none),
        Check(
            "auth.wrong", "severe", say("a key with one other letter is refused with 401"), _wrong
        ),
        Check(
            "auth.any", "moderate", say("a server without a key takes clients that send one"), _any
        ),
    )


async def _none(peer: Peer) -> Outcome:
    return await _turned_away(peer, {})


async def _wrong(peer: Peer) -> Outcome:
    key = peer.wire.key or ""
    almost = key[:-1] + ("a" if key[-1:] != "a" else "b")
    return await _turned_away(peer, Wire.authorization(almost))


async def _turned_away(peer: Peer, headers: dict[str, str]) -> Outcome:
    endpoint, body = peer.plainest()
    reply = await peer.post(endpoint, body, headers=headers)
    if reply.status == 401:
        return passed()
    severity: Severity = (
        "minor" if reply.status == 403 else "moderate" if reply.status >= 300 else "severe"
    )
    return failed(say("it came with status {n}", n=reply.status), severity)


async def _any(peer: Peer) -> Outcome:
    if peer.wire.key is not None:
        return skipped(say("this server has a key"))
    endpoint, body = peer.plainest()
    reply = await peer.post(endpoint, body, headers=Wire.authorization(_ANY))
    return not_ok(reply) or passed()
