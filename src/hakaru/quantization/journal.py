"""The journal of a long write, so that the write continues after the process or the machine died.

The journal is a hidden file beside the target: a line for what is being written (a digest of
everything that decides the bytes, and the names of the hidden files), then the name of every tensor
whose bytes are on the disk. A line counts when it is whole. Whoever holds the journal holds its
lock, so two writers of one target do not meet. A command that measures what it wrote holds the
journal until that is done: a journal whose hidden files all have got their final names tells that
only the measurement is missing.
"""

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from hakaru.errors import MachineError
from hakaru.language import say
from hakaru.places import disk_error
from hakaru.units import format_bytes

ORDER: Final = "asked"  # the key of the order's digest in the first line


class Unfinished(Struct, frozen=True, kw_only=True):
    """The files of an interrupted write, to continue with."""

    journal: Path
    parts: tuple[Path, ...]  # the hidden files
    n_done: int  # tensors that the hidden files hold already

    def sentence(self) -> str:
        """The sentence for a person after an interruption."""
        held = sum(part.stat().st_blocks * 512 for part in self.parts if part.exists())
        return say(
            "{n} tensors are done and kept ({bytes} in {path}): the same command continues "
            "there; delete the file to begin anew.",
            n=self.n_done,
            bytes=format_bytes(held),
            path=self.parts[0],
        )


def unfinished(out: Path) -> Unfinished | None:
    """The files of an interrupted write of `out`; None where there is nothing to continue with."""
    return unfinished_at(journal_path(out))


def unfinished_at(path: Path) -> Unfinished | None:
    """The files of the interrupted write with the journal at `path`."""
    first, done = _read_at(path)
    parts = _parts(path, first)
    return (
        Unfinished(journal=path, parts=parts, n_done=len(done))
        if done and parts and all(p.exists() for p in parts)
        else None
    )


def unmeasured(out: Path) -> str | None:
    """The digest of the order that wrote all of `out` and was interrupted before it was measured;
    None where there is no such order.
    """
    path = journal_path(out)
    first, _ = _read_at(path)
    parts = _parts(path, first)
    if not parts or any(part.exists() for part in parts):
        return None
    return str(first.get(ORDER, ""))


def journal_path(out: Path) -> Path:
    """Where the journal of `out` lies."""
    return out.with_name(f".{out.name}.journal")


class Journal:
    """The journal of one target, held open and locked. `order` is the digest of the order that
    holds it.
    """

    def __init__(self, file: Any, path: Path, order: str = "") -> None:
        self._file, self.path, self._order = file, path, order
        self._first, self._names = _read(file)

    @property
    def done(self) -> frozenset[str]:
        """The tensors whose bytes are on the disk."""
        return frozenset(self._names)

    def continues(self, digest: str) -> bool:
        """True if the journal is that of a write with this digest."""
        return self._first.get("digest") == digest

    def begin(self, digest: str, parts: Sequence[Path]) -> None:
        """Begin the journal of a new write; the hidden files of an earlier one are deleted."""
        for old in _parts(self.path, self._first):
            old.unlink(missing_ok=True)
        self._first, self._names = (
            {"digest": digest, "parts": [p.name for p in parts], ORDER: self._order},
            [],
        )
        self._file.seek(0)
        self._file.truncate()
        self._append([self._first])

    def add(self, names: Iterable[str]) -> None:
        """These tensors are on the disk."""
        new = list(names)
        self._names += new
        self._append(new)

    def end(self, *, delete_parts: bool) -> None:
        """Delete the journal, and the hidden files with it where the write is given up."""
        if delete_parts:
            for part in _parts(self.path, self._first):
                with suppress(OSError):
                    part.unlink(missing_ok=True)
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _append(self, lines: Sequence[object]) -> None:
        self._file.seek(0, os.SEEK_END)
        self._file.write("".join(json.dumps(line) + "\n" for line in lines))
        self._file.flush()
        os.fsync(self._file.fileno())


@contextmanager
def locked_journal(out: Path, order: str = "") -> Iterator[Journal]:
    """The journal of `out`, locked until the block ends. Raises MachineError where another process
    holds it or the folder cannot be written.
    """
    path = journal_path(out)
    with ExitStack() as opened:
        file = _locked(opened, path, out)
        file.seek(0)
        try:
            yield Journal(file, path, order)
        finally:
            if os.fstat(file.fileno()).st_size == 0:  # nothing was begun
                path.unlink(missing_ok=True)


def _locked(opened: ExitStack, path: Path, out: Path) -> Any:
    """The file at `path`, open and locked: the one that has this name now, since whoever held it
    before may have deleted it meanwhile.
    """
    while True:
        try:
            file = opened.enter_context(path.open("a+", encoding="utf-8", errors="replace"))
        except OSError as error:
            raise disk_error(error, out) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise MachineError(
                "{path}: another process is writing this file; wait for it or stop it.", path=out
            ) from error
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), path.stat()):
                return file


def _read_at(path: Path) -> tuple[dict[str, Any], list[str]]:
    """What `_read` finds in the journal at `path`; nothing where there is none."""
    try:
        with path.open(encoding="utf-8") as file:
            return _read(file)
    except (OSError, UnicodeDecodeError):
        return {}, []


def _read(file: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """The first line, and the names of the tensors; reading ends at a line that was cut off."""
    entries: list[Any] = []
    for line in file:
        try:
            entries.append(json.loads(line) if line.endswith("\n") else None)
        except ValueError:
            break
        if not isinstance(entries[-1], str if len(entries) > 1 else dict):
            entries.pop()
            break
    return (entries[0], entries[1:]) if entries else ({}, [])


def _parts(journal: Path, first: dict[str, Any]) -> tuple[Path, ...]:
    """The hidden files that the first line names: files of this folder, and no others."""
    names = [
        n
        for n in first.get("parts", [])
        if isinstance(n, str) and n.startswith(".") and n.endswith(".part")
    ]
    return tuple(journal.with_name(Path(name).name) for name in names)
