"""Files onto the disk, one after the other: fetched, checked, named."""

import errno
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Final

import httpx
from msgspec import Struct

from hakaru import trust
from hakaru.errors import Interrupted, MachineError, ModelDamaged
from hakaru.language import say
from hakaru.ledger import file_moved
from hakaru.models.sources.web import web_client
from hakaru.places import disk_error, one_at_a_time
from hakaru.pulling.keeping import File, remember_name
from hakaru.pulling.speed_seen import remember_speed
from hakaru.pulling.transfer import forget, size_of, transfer
from hakaru.session import Session
from hakaru.units import format_bytes

MIB: Final = 2**20
ENOUGH_S: Final = 1.0
"""A shorter transfer says little about the speed of the network."""


class Fetched(Struct, frozen=True, kw_only=True):
    """What a fetch came to."""

    bytes: int  # over the network
    seconds: float

    @property
    def bytes_per_s(self) -> float | None:
        """The speed; None where it took too short a time to tell."""
        return self.bytes / self.seconds if self.seconds >= ENOUGH_S and self.bytes else None


def fetch(files: Sequence[File], session: Session) -> Fetched:
    """Bring every file that is not here, check it and name it. What came before is used.

    Another process that fetches the same file is waited for. Raises ModelNotFound, ModelDamaged
    for a file that is not the announced one, Offline, and MachineError for a full disk.
    """
    came, seconds = 0, 0.0
    with web_client() as client:
        for i, file in enumerate(files):
            with one_at_a_time(file.lock, before_waiting=partial(_say_waiting, file, session)):
                begun = time.monotonic()
                n_bytes = _settled(client, file, files[i + 1 :], session)
            came += n_bytes
            seconds += time.monotonic() - begun if n_bytes else 0
    fetched = Fetched(bytes=came, seconds=seconds)
    if fetched.bytes_per_s:
        remember_speed(session.ledger, files[0].remote.url, fetched.bytes_per_s)
    return fetched


def _settled(client: httpx.Client, file: File, later: Sequence[File], session: Session) -> int:
    """Fetch, check and name one file. Returns the bytes that came."""
    try:
        file.make_room()
        if not file.is_here:
            remember_name(session.ledger, file)
        came = 0 if file.is_here else _brought(client, file, later, session)
        _check(file, session)
        _name(file, session)
    except OSError as error:
        raise _disk_error(error, file) from error
    except KeyboardInterrupt as stop:
        raise Interrupted(
            say(
                "interrupted; the {bytes} that came of {name} are kept: the same command goes on "
                "there.",
                bytes=format_bytes(size_of(file.part)),
                name=file.name,
            )
        ) from stop
    return came


def _say_waiting(file: File, session: Session) -> None:
    session.warn(
        say("another hakaru fetches {name} at this moment; waiting for it", name=file.name)
    )


def _brought(client: httpx.Client, file: File, later: Sequence[File], session: Session) -> int:
    """Fetch one file, with progress in MiB."""
    total, begun = file.remote.bytes, time.monotonic()
    before = size_of(file.part)
    behind = sum(other.missing_bytes or 0 for other in later)
    if before:
        session.note(
            say("{bytes} of {name} are here already.", bytes=format_bytes(before), name=file.name)
        )
    shown = -1

    def hear(at: int) -> None:
        nonlocal shown
        mebibytes = at // MIB
        if mebibytes == shown:
            return
        shown = mebibytes
        spent = time.monotonic() - begun
        if total and spent > ENOUGH_S and at > before:
            left = (total - at + behind) * spent / (at - before)
            session.foresee(left, left)
        session.watch(say("MiB of {name}", name=file.name), mebibytes, (total or at) // MIB)

    return transfer(client, file.remote, file.part, hear=hear, tell=session.note)


def _check(file: File, session: Session) -> None:
    """Raises ModelDamaged for what is not the announced file. What has just come is removed."""
    if file.sha256 is None:
        return
    path = file.kept if file.is_here else file.part
    found = session.ledger.sha256(path)
    if found == file.sha256:
        return
    if path == file.kept:
        raise ModelDamaged(
            "{path}: is damaged: it has the SHA-256 {found}, and the Hub announces {expected}. "
            "Remove it, and give the same command again.",
            path=path,
            found=found,
            expected=file.sha256,
        )
    forget(file.part)
    raise ModelDamaged(
        "{name}: what came has the SHA-256 {found}, but the Hub announces {expected}. It was "
        "removed; try again, and if that does not help, name another repository.",
        name=file.name,
        found=found,
        expected=file.sha256,
    )


def _name(file: File, session: Session) -> None:
    part = file.part.resolve()
    came = part.exists()
    file.name_it()
    with suppress(MachineError):
        if came:
            trust.let_go([file.kept])
            file_moved(session.ledger, part, file.kept)
    forget(file.part)


def _disk_error(error: OSError, file: File) -> MachineError:
    if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
        return disk_error(error, file.kept)
    missing = file.missing_bytes
    return MachineError(
        "{path}: the disk is full. The {came} that came are kept; free {missing} and give the same "
        "command again.",
        path=file.kept.parent,
        came=format_bytes(size_of(file.part)),
        missing=format_bytes(missing) if missing else say("some space"),
    )
