"""One connection of a client: it is closed where no request comes, or a head without an end, and
refused where there are too many. Otherwise whoever opens connections and sends nothing keeps all
others out.
"""

import asyncio
import json
import resource
from typing import Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from hakaru.serving.refusals import error_body

HEAD_WITHIN_S: Final = 10.0
"""Seconds for the line and the headers of a request, from the connection or its first byte on."""
MOST_HEAD: Final = 2**16
"""Bytes of that line and those headers; the parser knows no bound."""
KEPT_FILES: Final = 128
"""Open files that are no connections: libraries, the ledger, pipes of the engine."""
MOST: Final = 1024
LINGERS_S: Final = 1.0
"""How long a refused client that is still sending is listened to: where a connection is closed with
bytes unread, the system drops the answer on its way, too.
"""


def most_connections() -> int:
    """How many connections may be open: each has its own file, and one to the engine."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(MOST, (files - KEPT_FILES) // 2))


class Connection(HttpToolsProtocol):
    """uvicorn's, with these bounds."""

    _limit: asyncio.TimerHandle | None = None
    _n_of_head: int | None = None  # bytes of a head that has not ended; None: there is none
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait_for_head()
        if len(self.connections) > most_connections():
            self._refuse(503, "too many connections at the same time; try again", "busy")

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        super().data_received(data)
        if self._is_refused:  # by what it was just given
            return
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop_waiting()
        else:
            self._wait_for_head()
        if self._n_of_head is not None:
            self._n_of_head += len(data)
            if self._n_of_head > MOST_HEAD:
                message = f"the head has more than {MOST_HEAD} bytes"
                self._refuse(431, message, "head_too_large", is_sending=True)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._n_of_head = 0

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self._n_of_head = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """What cannot be read as HTTP is refused as everything else is."""
        self._refuse(400, "this is no HTTP request", "invalid_http", is_sending=True)

    def _wait_for_head(self) -> None:
        if self._limit is None:
            self._limit = self.loop.call_later(HEAD_WITHIN_S, self._too_slow)

    def _stop_waiting(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None

    def _too_slow(self) -> None:
        self._refuse(408, f"no request came within {HEAD_WITHIN_S:.0f} s", "too_slow")

    def _refuse(self, status: int, message: str, code: str, *, is_sending: bool = False) -> None:
        """Answer without a request, and close; later, where more may come of the client."""
        self._stop_waiting()
        body = json.dumps(error_body(status, message, code)).encode()
        head = f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\nconnection: close\r\n"
        later = "retry-after: 1\r\n" if status == 503 else ""
        head += f"{later}content-length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)
        if is_sending and self.transport.can_write_eof():
            self._is_refused = True
            self.transport.write_eof()
            self.loop.call_later(LINGERS_S, self.transport.close)
        else:
            self.transport.close()
