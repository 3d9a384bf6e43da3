"""The gateway's thread: why it does not answer is the error of whoever serves."""

import errno
import socket
import threading
from typing import Any

import pytest

from hakaru.errors import MachineError
from hakaru.serving.serve_at import in_thread


class Refused:
    """A front that may open no file."""

    def run(self, sockets: list[socket.socket]) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    def leave(self) -> None:
        """It has left."""


class Engines:
    stopped = False

    def stop(self) -> None:
        self.stopped = True


def test_a_gateway_that_the_system_refuses_ends_the_block_with_the_reason() -> None:
    front: Any = Refused()
    engines, ended = Engines(), threading.Event()
    with (
        socket.socket() as listener,
        pytest.raises(MachineError, match="too many files are open"),
        in_thread(front, listener, ended, engines),
    ):
        assert ended.wait(5)
    assert engines.stopped
