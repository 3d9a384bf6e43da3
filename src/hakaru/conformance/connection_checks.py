"""Checks of a connection that is kept: what clients do, to save a handshake for each question."""

from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace

from hakaru.conformance.peer import Peer
from hakaru.conformance.replies import not_ok
from hakaru.conformance.verdicts import Check, Outcome, failed, passed
from hakaru.conformance.wire import Reply, Wire
from hakaru.language import say


def connection_checks() -> tuple[Check, ...]:
    """The checks, in the order in which they are asked."""
    return (
        Check(
            "connection.kept",
            "moderate",
            say("after an answer the connection takes another question, or was said to end"),
            partial(_again, first=_plain),
        ),
        Check(
            "connection.after_stream",
            "moderate",
            say("after a stream the connection takes another question, or was said to end"),
            partial(_again, first=_stream),
            "chat",
        ),
        Check(
            "connection.after_error",
            "moderate",
            say("after an error the connection takes another question, or was said to end"),
            partial(_again, first=_error),
        ),
    )


async def _again(peer: Peer, first: Callable[[Peer], Awaitable[Reply]]) -> Outcome:
    """Two questions over one connection. A server may end it behind its answer, if it says so: a
    client that is not told sends its next question to nobody.
    """
    wire = Wire(peer.wire.key, peer.wire.within_s, peer.wire.log, keeps_alive=True)
    async with wire:
        one_connection = replace(peer, wire=wire)
        before = await first(one_connection)
        after = await one_connection.post(*peer.plainest())
    if bad := not_ok(after):
        return bad
    if before.is_last:
        return passed(say("it ends the connection, and says so"))
    if after.client != before.client:
        return failed(say("it ended the connection, and did not say so"))
    return passed()


async def _plain(peer: Peer) -> Reply:
    return await peer.post(*peer.plainest())


async def _stream(peer: Peer) -> Reply:
    return await peer.chat(stream=True)


async def _error(peer: Peer) -> Reply:
    endpoint, _ = peer.plainest()
    return await peer.post(endpoint, b'{"model": "zq", "messages": [')
