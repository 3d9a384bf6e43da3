"""Where a backend listens, and with which key it is asked: from what a person typed.

A backend elsewhere reads every prompt, so its address is no detail. Over plain http anybody on the
way reads them, too, and the key: that is refused unless the person says that the network is
trusted. Certificates are always checked, by the authorities that the system knows (SSL_CERT_FILE
names others).
"""

import asyncio
import ipaddress
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx
from msgspec import Struct

from hakaru.conformance.api_address import bases_of
from hakaru.errors import Misuse
from hakaru.serving.engine_client import Answer
from hakaru.serving.keys import keys_in

CONNECTED_WITHIN_S: Final = 5.0
"""Seconds for a connection, and TLS: a machine that is off says nothing at all."""


class BackendAddress(Struct, frozen=True, kw_only=True):
    """The address of a server with an OpenAI-style API."""

    url: str  # the base URL of its API, which ends with /v1
    host: str
    port: int
    tls: ssl.SSLContext | None
    prefix: str  # of its paths, before /v1
    key: str | None = None

    def __repr__(self) -> str:  # without the key
        return f"BackendAddress(url={self.url!r})"

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine's loopback interface. A tunnel may begin there."""
        return _is_loopback(self.host)

    @property
    def head(self) -> str:
        """The lines of a request's head that are the same for all."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        key = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        return f"Host: {host}:{self.port}\r\nAccept-Encoding: identity\r\n{key}"

    async def connected(self, make: Callable[[], Answer]) -> tuple[asyncio.Transport, Answer]:
        """A new connection. Raises OSError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(CONNECTED_WITHIN_S):  # TimeoutError is an OSError
            return await loop.create_connection(make, self.host, self.port, ssl=self.tls)


def backend_addresses(
    urls: Sequence[str], *, key_file: Path | None = None, trust_network: bool = False
) -> tuple[BackendAddress, ...]:
    """The addresses that were typed, with their keys. Raises Misuse.

    `key_file` has a key for all backends on a line by itself, or the URL of one and its key. Over
    plain http other machines are asked only with `trust_network`.
    """
    bases = [_base(url) for url in urls]
    if twice := next((base for base in bases if bases.count(base) > 1), None):
        raise Misuse("`backend` {url} is named twice.", url=twice)
    keys = _keys(key_file, bases) if key_file else {}
    addresses = tuple(_address(base, keys.get(base)) for base in bases)
    for address in addresses:
        if not (trust_network or address.is_local or address.tls):
            raise Misuse(
                "`backend` {url} is another machine, and over plain http everybody on the way "
                "reads prompts and keys; name an https address or the end of a tunnel on this "
                "machine, or say `trust_network`.",
                url=address.url,
            )
    return addresses


def _base(typed: str) -> str:
    base = bases_of(typed)[0]
    if httpx.URL(base).userinfo:
        raise Misuse(
            "`backend` {host}: a key in an address stands in lists of processes and in logs; put "
            "it into a file, and name that with `backend_key_file`.",
            host=httpx.URL(base).host,
        )
    return base


def _address(base: str, key: str | None) -> BackendAddress:
    url = httpx.URL(base)
    is_safe = url.scheme == "https"
    return BackendAddress(
        url=base,
        host=url.raw_host.decode("ascii").strip("[]"),
        port=url.port or (443 if is_safe else 80),
        tls=ssl.create_default_context() if is_safe else None,
        prefix=url.raw_path.decode("ascii").removesuffix("/v1"),
        key=key,
    )


def _keys(path: Path, bases: Sequence[str]) -> dict[str, str]:
    """The key of each backend that has one. Raises Misuse."""
    keys = dict[str, str]()
    for line in keys_in(path, "`backend_key_file`"):
        url, _, key = line.rpartition(" ")
        if not (key.isascii() and key.isprintable()):
            raise Misuse("`backend_key_file` {path}: has a key that is not ASCII.", path=path)
        if not url:
            keys = dict.fromkeys(bases, key) | keys
        elif (base := bases_of(url)[0]) in bases:
            keys[base] = key
        else:
            raise Misuse(
                "`backend_key_file` {path}: has a key for {url}, which is no `backend`; name that, "
                "or take the line out.",
                path=path,
                url=url.strip(),
            )
    return keys


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
