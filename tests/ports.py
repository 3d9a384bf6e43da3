"""Ports of loopback."""

import socket
from contextlib import ExitStack


def free_port() -> int:
    """A port at which nobody listens."""
    (port,) = free_ports(1)
    return port


def free_ports(n: int) -> tuple[int, ...]:
    """So many such ports, each another."""
    with ExitStack() as probes:
        found = [probes.enter_context(socket.socket()) for _ in range(n)]
        for probe in found:
            probe.bind(("127.0.0.1", 0))
        return tuple(probe.getsockname()[1] for probe in found)
