"""Serve what runs elsewhere: the verb behind `hakaru serve --backend URL`."""

import asyncio
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from hakaru.errors import Offline
from hakaru.language import listed
from hakaru.pool import impatient_pool
from hakaru.servers import Deployment
from hakaru.serving.backend import SILENT_S, Backend
from hakaru.serving.backend_address import BackendAddress, backend_addresses
from hakaru.serving.backend_pool import BackendPool
from hakaru.serving.backends_gateway import make_gateway_of_backends
from hakaru.serving.entrance import ON_THIS_MACHINE, Entrance
from hakaru.serving.front import Front
from hakaru.serving.log_file import LogFile
from hakaru.serving.origins import origin_of
from hakaru.serving.serve_at import Elsewhere, Pages, Serving, in_thread, listening
from hakaru.session import Session


@contextmanager
def serve_backends(
    urls: Sequence[str],
    *,
    key_file: Path | None = None,
    trust_network: bool = False,
    silent_s: float = SILENT_S,
    port: int | None = None,
    allow_origin: Sequence[str] = (),
    queue: int | None = None,
    pages: Pages | None = None,
    entrance: Entrance = ON_THIS_MACHINE,
    session: Session | None = None,
) -> Iterator[Serving]:
    """Answer for the servers at `urls` while the block lasts; nothing is loaded here.

    Example: `with serve_backends(["http://127.0.0.1:8000"]) as serving: print(serving.url)`.

    Each is a server with an OpenAI-style API: hakaru, llama-server, vLLM. A request goes to one
    that has its model. `key_file` and `trust_network`: as `backend_addresses` has them. A backend
    that gives nothing for `silent_s` seconds, although it was asked for a token, is lost until it
    gives one. `queue` requests may wait for their turn at each. `pages` makes what a browser sees.
    Raises Misuse, and Offline where none of them answers.
    """
    origins = [origin_of(name) for name in allow_origin]
    session = session or Session.here(keeps=False)
    addresses = backend_addresses(urls, key_file=key_file, trust_network=trust_network)
    with (
        listening(port, entrance) as (listener, log),
        backends_at(
            addresses,
            listener,
            log,
            silent_s=silent_s,
            origins=origins,
            queue=queue,
            pages=pages,
            entrance=entrance,
            session=session,
        ) as serving,
    ):
        yield serving


@contextmanager
def backends_at(
    addresses: Sequence[BackendAddress],
    listener: socket.socket,
    log: LogFile,
    *,
    session: Session,
    silent_s: float = SILENT_S,
    origins: Sequence[str] = (),
    queue: int | None = None,
    pages: Pages | None = None,
    entrance: Entrance = ON_THIS_MACHINE,
    leave: Sequence[str] | None = None,
) -> Iterator[Serving]:
    """Answer on `listener` for the servers at `addresses` while the block lasts. `leave` are the
    other machines that read prompts; None: those of the addresses. Raises Offline.
    """
    if leave is None:
        leave = [one.url for one in addresses if not one.is_local]
    tell = log.gateway_and(session.warn)
    backends = BackendPool(
        [Backend(one, silent_s=silent_s, queue=queue, on_event=tell) for one in addresses], log
    )
    with impatient_pool(1) as pool:  # a notebook has an event loop in its own thread
        pool.submit(asyncio.run, _met(backends)).result()
    elsewhere = Elsewhere(backends=backends, entrance=entrance, leave=tuple(leave))
    routes = pages(elsewhere) if pages else ()
    gateway = make_gateway_of_backends(backends, routes, origins, entrance)
    front = Front(gateway, backends, entrance.certificate)
    address = entrance.address_of(listener.getsockname()[1])
    records = [_record(one, place, address) for place, one in enumerate(backends.all)]
    serving = Serving(
        deployment=records[0], gives="text", front=front,
        backends=tuple(one.url for one in addresses),
        leave=elsewhere.leave,
        names=tuple(dict.fromkeys(name for one in backends.all for name in one.told.models)),
    )  # fmt: skip
    try:
        with in_thread(front, listener, serving.ended, backends):
            for record in records:
                record.announce()
            log.gateway(f"{', '.join(one.name for one in backends.all)} at {serving.url}")
            yield serving
    finally:
        for record in records:
            record.record.unlink(missing_ok=True)


async def _met(backends: BackendPool) -> None:
    """Ask each backend for a token. Raises Offline where none gives one."""
    await asyncio.gather(*(backend.check() for backend in backends.all))
    if not any(backend.state == "ready" for backend in backends.all):
        raise Offline(
            "no backend answers ({reasons}); start one, or name others.",
            reasons=listed(f"{backend.name}: {backend.why_lost}" for backend in backends.all),
        )


def _record(backend: Backend, place: int, address: dict[str, object]) -> Deployment:
    """What other commands read of one backend."""
    return Deployment(
        pid=os.getpid(), started=psutil.Process().create_time(), place=place,
        model=next(iter(backend.told.models), backend.name), path="", backend=backend.name,
        settings={"n_ctx": backend.told.n_ctx, "n_parallel": backend.told.n_slots},
        **address,  # type: ignore[arg-type]
    )  # fmt: skip
