"""Where hakaru keeps things (XDG directories), and the one way in which it writes a file: whole or
not at all.
"""

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

import platformdirs

from hakaru.errors import HakaruError, MachineError, Misuse, system_reason

ROOM_FOR_HEADERS: Final = 2**25
"""Bytes that must be free in a folder for headers. A header with the largest vocabularies takes 16
MiB.
"""
TEMPORARY: Final = ("/tmp", "/var/tmp", "/dev/shm")
LONGEST_RUN_DIR: Final = 77
"""Bytes. A socket in the folder, `/engine-12345678/http.sock`, adds 26, and its whole path has at
most 103 on macOS (sys/un.h); Linux takes 107 (unix(7)).
"""


def data_dir(*parts: str, make: bool = True) -> Path:
    """The folder of the ledger, the evidence files and the models that hakaru built, or the folder
    `parts` in it. Made on first use; `make` is False for a caller who only looks what is there.
    """
    folder = Path(platformdirs.user_data_dir("hakaru")).joinpath(*parts)
    return _made(folder) if make else folder


def ledger_path() -> Path:
    """The file of the ledger. Nothing is made."""
    return data_dir(make=False) / "ledger.sqlite"


def cache_dir(*parts: str, make: bool = True) -> Path:
    """The folder of what can be fetched again, or the folder `parts` in it. Made on first use;
    `make` is False for a caller who only looks what is there.
    """
    folder = Path(platformdirs.user_cache_dir("hakaru")).joinpath(*parts)
    return _made(folder) if make else folder


def log_dir(*, make: bool = True) -> Path:
    """The folder of what servers said: XDG's state directory. `make` is False for a caller who only
    reads.
    """
    folder = Path(platformdirs.user_log_dir("hakaru"))
    return _made(folder) if make else folder


def header_dir(*parts: str) -> Path:
    """A folder for headers that stand in for whole models. It lies in the cache, if the cache holds
    some already or has room for more. On a full disk, or in a home that is read-only, it lies under
    `passing_dir`: whether a model fits is answered there, too.
    """
    cached = Path(platformdirs.user_cache_dir("hakaru")).joinpath(*parts)
    with suppress(OSError):
        if any(cached.iterdir()):
            return cached
    with suppress(MachineError):
        if _has_room(cache_dir(*parts)):
            return cached
    shared = _made(_in_shared(passing_dir()))
    _check_owner(shared)
    return _made(shared.joinpath("headers", *parts))


def passing_dir() -> Path:
    """A folder for files that do not last: the usual temporary folder, or another if that is
    full.
    """
    usual = Path(_usual_temporary())
    return next((place for place in (usual, *map(Path, TEMPORARY)) if _has_room(place)), usual)


def _usual_temporary() -> str:
    """The system's temporary folder. Raises MachineError where none can be written."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError as error:
        raise MachineError(
            "no folder for temporary files can be written; name one that can with TMPDIR."
        ) from error


def _has_room(folder: Path) -> bool:
    try:
        return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= ROOM_FOR_HEADERS
    except OSError:
        return False


def run_dir(*, make: bool = True) -> Path:
    """The folder of sockets and of the records of running servers, readable by this user only: in
    XDG_RUNTIME_DIR, or in the temporary folder where that variable is unset or names no writable
    folder (containers often have no /run/user). `make` is False for a caller who only looks whether
    a server runs.

    Where the path would be too long for a socket, a folder under /tmp takes its place. The hash in
    the name of that folder is the hash of the long path, so that all commands find it.
    """
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    is_private = bool(runtime) and os.access(str(runtime), os.W_OK)
    directory = Path(str(runtime), "hakaru") if is_private else _in_shared(_usual_temporary())
    path = os.fsencode(directory)
    if len(path) > LONGEST_RUN_DIR:
        directory, is_private = _in_shared("/tmp", sha256(path).hexdigest()[:16]), False
    if make:
        _made(directory)
    if not is_private:
        _check_owner(directory)
    return directory


def server_records() -> Iterator[Path]:
    """The records of running servers, and of those that did not end in order."""
    return run_dir(make=False).glob("serve-*.json")


def _in_shared(place: str | Path, *more: str) -> Path:
    """This user's folder in `place`, where others may write, too."""
    return Path(place) / "-".join(("hakaru", str(os.getuid()), *more))


def _check_owner(directory: Path) -> None:
    """Close the folder to other users. Raises MachineError if it, or a link in its place, belongs
    to somebody else.
    """
    try:
        owners = {directory.lstat().st_uid, directory.stat().st_uid}
    except FileNotFoundError:
        return
    if owners != {os.getuid()}:
        raise MachineError(
            "{path}: belongs to another user; set XDG_RUNTIME_DIR to a place of your own.",
            path=directory,
        )
    directory.chmod(0o700)


def _made(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise disk_error(error, directory) from error
    return directory


@contextmanager
def one_at_a_time(name: str, *, before_waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Wait until no other process of this user is in the block of this name; `before_waiting` is
    called if one is. A process that ends in the block, in whatever way, lets the next one in.
    """
    with (run_dir() / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if before_waiting:
                before_waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_place(option: str, path: Path) -> None:
    """Raises Misuse if no file can be written at the `path` that `option` names. Called before
    anything is measured for that file.
    """
    if path.is_dir():
        raise Misuse("{option} {path}: is a folder; name a file in it.", option=option, path=path)
    if not path.parent.is_dir():
        raise Misuse(
            "{option} {path}: there is no folder {folder}; make it, or choose another place.",
            option=option,
            path=path,
            folder=path.parent,
        )
    try:
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise Misuse(
            "{option} {path}: cannot be written ({reason}); choose another place.",
            option=option,
            path=path,
            reason=system_reason(error),
        ) from error


@contextmanager
def written_whole(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`. When the block ends well, that file takes the name of
    `target`; when the block fails in any way, Ctrl-C included, the file is removed.

    Raises MachineError for a full or read-only disk.
    """
    digest = sha256(os.fsencode(target.name)).hexdigest()[:8]
    part = target.with_name(f".{target.name[:50]}.{digest}.{os.getpid()}.part")
    try:
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(target)
    except HakaruError:
        raise
    except OSError as error:
        raise disk_error(error, target) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def disk_error(error: OSError, target: Path) -> MachineError:
    """The sentence for an OSError while writing `target`."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return MachineError(
            "{path}: the disk is full; nothing was changed: free some space or choose another "
            "place.",
            path=target,
        )
    return MachineError(
        "{path}: cannot be written ({reason}); choose another place.",
        path=target,
        reason=system_reason(error),
    )
