"""The end of a server that another process runs."""

import math
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress

from hakaru.errors import MachineError
from hakaru.servers import Deployment

UNLOADED_WITHIN_S = 60.0
TELL_AFTER_S = 15.0
"""An end takes ten seconds by default, where answers are on their way."""
LOOK_S = 0.05


def unload(server: Deployment) -> None:
    """Ask a server of several models to free the memory of this one. Raises MachineError where it
    does not, since the model answers now.
    """
    _posted(server, "/models/unload", {"model": server.model})


def drain(server: Deployment) -> None:
    """Ask a gateway to send this backend nothing more. Raises MachineError."""
    _posted(server, "/backends/drain", {"backend": server.backend})


def _posted(server: Deployment, path: str, body: dict[str, object]) -> None:
    import httpx  # nobody else who looks at servers needs it

    from hakaru.servers.asking import client_of

    what = server.backend or server.model
    try:
        with client_of(server, within_s=UNLOADED_WITHIN_S) as client:
            answer = client.post(f"{server.url.removesuffix('/v1')}{path}", json=body)
        answer.raise_for_status()
    except httpx.HTTPStatusError as error:
        raise MachineError(
            "{model} was not unloaded: {reason}",
            model=what,
            reason=error.response.json()["error"]["message"],
        ) from error
    except httpx.HTTPError as error:
        raise MachineError(
            "{model} was not unloaded: {reason}", model=what, reason=error
        ) from error


def end(server: Deployment, *, still_waiting: Callable[[], None]) -> None:
    """Ask the process of `server` to end, as SIGTERM does: the answers on their way have the time
    that it was started with. Returns when the process is gone; `still_waiting` is called once where
    that takes long.
    """
    if not server.is_alive:  # another process may have its number by now
        return
    with suppress(ProcessLookupError):
        os.kill(server.pid, signal.SIGTERM)
    tell_at = time.monotonic() + TELL_AFTER_S
    while server.is_alive:  # psutil's wait would also wait for who started it to look after it
        if time.monotonic() > tell_at:
            still_waiting()
            tell_at = math.inf
        time.sleep(LOOK_S)
