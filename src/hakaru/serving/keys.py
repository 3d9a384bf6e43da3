"""Keys of a server: who has one may ask. On the disk lies only what a key hashes to (SHA-256).

A key that hakaru makes has 256 random bits, so that a hash without salt gives nothing away. Each
key that comes is compared with all, in a time that does not tell how much of it is right.
"""

import hmac
import json
import re
import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from hakaru.errors import MachineError, Misuse, system_reason
from hakaru.places import data_dir, one_at_a_time, written_whole
from hakaru.text_files import text_of

SCHEMA: Final = "hakaru.keys/1"
SHORTEST: Final = 16
"""Letters of a key that a person makes up."""


def digest_of(key: str) -> bytes:
    """What is kept of a key."""
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


def is_one_of(key: str, digests: Iterable[bytes]) -> bool:
    """Whether `key` is one of those keys. All are compared, each in constant time."""
    found = digest_of(key)
    return sum(hmac.compare_digest(found, digest) for digest in digests) > 0


def stored() -> dict[str, dict[str, str]]:
    """The keys that were added, by name: `sha256` and the day `since`. Raises MachineError for a
    file that is damaged.
    """
    path = _file()
    try:
        keys: dict[str, dict[str, str]] = json.loads(path.read_text(encoding="utf-8"))["keys"]
        for key in keys.values():
            bytes.fromhex(key["sha256"])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MachineError(
            "{path}: holds no keys ({reason}); put it right, or remove it and add new ones.",
            path=path,
            reason=error,
        ) from error
    return keys


def add(name: str) -> str:
    """A new key of this name, which nobody can be told again. Raises Misuse for a name in use."""
    if not re.fullmatch(r"[\w.@-]{1,64}", name):
        raise Misuse(
            "`name` is '{found}', expected letters, digits and . @ - _, at most 64.", found=name
        )
    key = f"hk-{secrets.token_urlsafe(32)}"
    with one_at_a_time("keys"):
        keys = stored()
        if name in keys:
            raise Misuse(
                "there is a key '{name}' already; remove it first: hakaru key rm {name}", name=name
            )
        since = datetime.now(UTC).date().isoformat()
        _keep(keys | {name: {"sha256": digest_of(key).hex(), "since": since}})
    return key


def remove(name: str) -> None:
    """Take a key back; servers that run take it until they end. Raises Misuse for no such key."""
    with one_at_a_time("keys"):
        keys = stored()
        if keys.pop(name, None) is None:
            raise Misuse("there is no key '{name}'; hakaru key list shows them.", name=name)
        _keep(keys)


def keys_in(path: Path, option: str = "`api_key_file`") -> list[str]:
    """The keys in a file that `option` names, one a line; what follows a # is left out. Raises
    Misuse.
    """
    try:
        text = text_of(path, path.read_bytes())
    except OSError as error:
        raise Misuse(
            "{option} {path}: cannot be read ({reason}); name a file with a key on each line.",
            option=option,
            path=path,
            reason=system_reason(error),
        ) from error
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    if not (keys := [line for line in lines if line]):
        raise Misuse(
            "{option} {path}: holds no key; write one on each line.", option=option, path=path
        )
    return keys


def _file() -> Path:
    return data_dir(make=False) / "keys.json"


def _keep(keys: dict[str, dict[str, str]]) -> None:
    data_dir()
    with written_whole(_file()) as part:
        part.touch(mode=0o600)
        part.write_text(json.dumps({"schema": SCHEMA, "keys": keys}, indent=1) + "\n")
