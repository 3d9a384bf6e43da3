"""The port at which a model answers: on loopback, unless another address is named."""

import socket
from typing import Final

from hakaru.errors import MachineError, system_reason
from hakaru.servers import HOST

DEFAULT_PORT: Final = 8600


def bound_socket(port: int | None, host: str = HOST) -> socket.socket:
    """A listening socket at the address `host`: at `port`; if None, at the default port, or at any
    free port if the default one is taken.

    Raises MachineError if the port that was asked for is in use.
    """
    for wanted in (port,) if port else (DEFAULT_PORT, 0):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, wanted))
            listener.listen(128)
        except OSError as error:
            listener.close()
            if port or wanted == 0:
                raise MachineError(
                    "port {port} of {host} cannot be used ({reason}); choose another one with "
                    "`port`.",
                    port=wanted,
                    host=host,
                    reason=system_reason(error),
                ) from error
        else:
            return listener
    raise AssertionError("the last port is any free one")
