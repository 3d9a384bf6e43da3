"""The stand-ins on this machine: a remote file's true header, then a hole of the true size, under
the file's own name.

    <cache>/sources/<question>/found.json           the answer to that question, written last
    <cache>/sources/<question>/<version>/<name>     the files that the answer names

For a day an answer is given again without the network; later only if the network cannot be reached.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import httpx
from msgspec import Struct
from msgspec.structs import asdict, replace

from hakaru.errors import Offline
from hakaru.formats.gguf import parse_header
from hakaru.formats.safetensors import parse_stored
from hakaru.models.sources.found import Companion, Found
from hakaru.models.sources.remote import Changed, RemoteFile
from hakaru.models.sources.web import meant
from hakaru.places import disk_error, header_dir, one_at_a_time, written_whole
from hakaru.pool import impatient_pool

FRESH_S: Final = 24 * 3600
AT_ONCE: Final = 8


class Wanted(Struct, frozen=True, kw_only=True):
    """A remote file of which a stand-in is wanted."""

    url: str
    name: str  # relative to the folder


def answered(question: str, ask: Callable[[Found | None], Found]) -> Found:
    """The answer to `question`: that of less than a day ago, else a new one by `ask`, which gets
    the old answer, if there is one. If `ask` raises Offline, the old answer.

    Two processes do not ask the same question at the same time.
    """
    room = _room(question)
    record = room / "found.json"
    with one_at_a_time(f"source-{room.name}"):
        old = _recalled(record)
        if old and 0 <= time.time() - record.stat().st_mtime < FRESH_S:
            return old
        try:
            found = ask(old)
        except Offline:
            if old:
                return old
            raise
        _remember(record, found)
        return found


def stand_ins(
    client: httpx.Client,
    question: str,
    wanted: tuple[Wanted, ...],
    headers: Mapping[str, str],
    *,
    version: str | None = None,
) -> tuple[Path, str | None, int]:
    """Fetch the headers of the `wanted` files into one folder, several at once.

    Returns the folder, the version (`version`, or that of the first file) and the number of fetched
    bytes. A file that changes meanwhile is read once more from the start. Raises Offline,
    ModelNotFound, ModelDamaged and ModelUnknown.
    """
    room = _room(question)
    incoming = room / f".{os.getpid()}.part"
    try:
        incoming.mkdir(exist_ok=True)
        done = _all_fetched(client, wanted, incoming, headers)
        version = version or done[0][0]
        folder = room / hashlib.sha256((version or "").encode()).hexdigest()[:16]
        for old in room.iterdir():
            if old.is_dir() and old != incoming:
                shutil.rmtree(old, ignore_errors=True)
        incoming.replace(folder)
    except OSError as error:
        raise disk_error(error, room) from error
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return folder, version, sum(n_bytes for _, n_bytes in done)


def _all_fetched(
    client: httpx.Client, wanted: tuple[Wanted, ...], folder: Path, headers: Mapping[str, str]
) -> list[tuple[str | None, int]]:
    """Version and fetched bytes of every file."""
    if len(wanted) == 1:
        return [_stand_in(client, wanted[0], folder / wanted[0].name, headers)]
    with impatient_pool(AT_ONCE) as pool:
        return list(
            pool.map(lambda file: _stand_in(client, file, folder / file.name, headers), wanted)
        )


def _stand_in(
    client: httpx.Client, wanted: Wanted, target: Path, headers: Mapping[str, str]
) -> tuple[str | None, int]:
    fetched = 0
    for last in (False, True):
        remote = RemoteFile(client, wanted.url, headers)
        try:
            with remote:
                remote.open()
                _write(remote, wanted.url, target)
                return remote.version, fetched + remote.fetched_bytes
        except Changed as error:
            fetched += remote.fetched_bytes
            if last:
                raise Offline(
                    "{url}: changes while it is read; try again later.", url=meant(wanted.url)
                ) from error
    raise AssertionError("unreachable")


def _write(remote: RemoteFile, where: str, target: Path) -> None:
    """The header of `remote` and a hole, as `target`."""
    where = meant(where)
    with written_whole(target) as part, part.open("wb") as file:

        def read(n: int) -> bytes:
            piece = remote.read(n)
            file.write(piece)
            return piece

        if target.suffix == ".safetensors":
            data_offset = parse_stored(where, size=remote.size, read=read).data_offset
        else:
            data_offset = parse_header(where, size=remote.size, read=read).data_offset
        file.flush()
        os.truncate(part, min(data_offset, file.tell()))
        os.truncate(part, remote.size)


def _room(question: str) -> Path:
    return header_dir("sources", hashlib.sha256(question.encode()).hexdigest()[:16])


def _remember(record: Path, found: Found) -> None:
    folder = record.parent
    with suppress(ValueError):  # files that are used in place are found anew every time
        row = asdict(found) | {"path": str(found.path.relative_to(folder))}
        row["companions"] = [asdict(replace(file, path=None)) for file in found.companions]
        with written_whole(record) as part:
            part.write_text(json.dumps(row), encoding="utf-8")


def _recalled(record: Path) -> Found | None:
    """The answer in `record`, if its files are still there."""
    try:
        row = json.loads(record.read_text(encoding="utf-8"))
        row |= {"path": record.parent / row["path"], "fetched_bytes": 0}
        row["companions"] = tuple(Companion(**fields) for fields in row["companions"])
        found = Found(**row)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if found.path.exists() else None
