"""Where a server listens, and who may come in: on this machine anybody, elsewhere who has a key."""

import ipaddress
import secrets
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from hakaru.errors import Misuse, system_reason
from hakaru.servers import HOST
from hakaru.serving.keys import SHORTEST, digest_of, is_one_of, keys_in, stored


class Entrance(Struct, frozen=True, kw_only=True):
    """Address, keys and certificate of one server."""

    host: str = HOST
    digests: tuple[bytes, ...] = ()  # of the keys; empty: nobody needs one
    certificate: tuple[Path, Path] | None = None  # and its key; None: HTTP without TLS
    own_key: str = ""  # with which other commands of ours come in

    def __repr__(self) -> str:  # without the key
        return f"Entrance(host={self.host!r})"

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        return ipaddress.ip_address(self.host).is_loopback

    def address_of(self, port: int) -> dict[str, Any]:
        """What the record of a server at `port` has of its address (`servers.Deployment`)."""
        scheme = "https" if self.certificate else "http"
        return {"port": port, "host": self.host, "scheme": scheme, "key": self.own_key}

    def lets_in(self, key: str | None) -> bool:
        """Whether somebody with this key, or None, may ask."""
        return not self.digests or (key is not None and is_one_of(key, self.digests))


ON_THIS_MACHINE = Entrance()


def entrance_for(
    *,
    host: str | None = None,
    api_key: Sequence[str] = (),
    api_key_file: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
    insecure: bool = False,
) -> Entrance:
    """The entrance that these options ask for. Raises Misuse: before anything is loaded.

    Keys are demanded where one is named, and on every address but this machine's own; there the
    stored keys count, too. Without TLS other machines are let in only with `insecure`.
    """
    address = _address(host or HOST)
    certificate = _certificate(tls_cert, tls_key)
    is_local = ipaddress.ip_address(address).is_loopback
    given = [*api_key, *(keys_in(api_key_file) if api_key_file else ())]
    if any(len(key) < SHORTEST for key in given):
        raise Misuse(
            "`api_key` has a key of less than {n} letters, which can be guessed; let hakaru make "
            "one: hakaru key add NAME",
            n=SHORTEST,
        )
    if is_local and not given:
        return Entrance(host=address, certificate=certificate)
    own_key = secrets.token_urlsafe(32)
    digests = [digest_of(key) for key in given]
    digests += [bytes.fromhex(key["sha256"]) for key in stored().values()]
    if not digests:
        raise Misuse(
            "`host` {host} is reached from other machines, so a key is needed; make one: hakaru "
            "key add NAME (or name one with `api_key_file`).",
            host=address,
        )
    if not is_local and certificate is None and not insecure:
        raise Misuse(
            "`host` {host} is reached from other machines, and without TLS everybody on the way "
            "reads prompts and keys; name `tls_cert` and `tls_key`, or say `insecure`.",
            host=address,
        )
    return Entrance(
        host=address,
        digests=(*digests, digest_of(own_key)),
        certificate=certificate,
        own_key=own_key,
    )


def _address(host: str) -> str:
    """The IP address that `host` is. Raises Misuse for a name, which may mean several."""
    try:
        return str(ipaddress.ip_address(HOST if host == "localhost" else host.strip("[]")))
    except ValueError as error:
        raise Misuse(
            "`host` is '{found}', expected an address of this machine: 127.0.0.1, 192.168.1.5, or "
            "0.0.0.0 for all.",
            found=host,
        ) from error


def _certificate(cert: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise Misuse("`tls_cert` and `tls_key` go together: name both files.")
    try:
        # a key with a password would wait for a person
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(cert, key, password="")
    except (OSError, ValueError) as error:
        raise Misuse(
            "`tls_cert` {cert} with `tls_key` {key}: cannot be used ({reason}); name a certificate "
            "and its key without a password, both in PEM.",
            cert=cert,
            key=key,
            reason=system_reason(error) if isinstance(error, OSError) else error,
        ) from error
    return cert, key
