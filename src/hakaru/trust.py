"""Model files that may be served: each is the file that was served before, by its SHA-256.

They stand in one JSON file in the data directory, not in the ledger: a figure may be replaced by a
newer one, a trusted hash only by a person (`hakaru trust`) or where hakaru itself writes the file.
A file is read again only where its size, its times or its number on the disk (inode) differ from
before: reading 40 GB takes half a minute.
"""

import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import asdict

from hakaru.errors import MachineError, ModelDamaged
from hakaru.places import data_dir, one_at_a_time, written_whole

SCHEMA: Final = "hakaru.trust/1"
Hash = Callable[[Path], str]
"""Reads a file and gives its SHA-256."""


class Trusted(Struct, frozen=True, kw_only=True):
    """A file as it was trusted."""

    sha256: str
    since: str  # the day, such as 2026-12-01
    bytes: int
    mtime_ns: int
    ctime_ns: int  # also differs where somebody set the other time back
    inode: int

    def is_at(self, path: Path) -> bool:
        """Whether nothing was done to the file at `path` since."""
        return _state(path) == (self.bytes, self.mtime_ns, self.ctime_ns, self.inode)


def trusted() -> dict[Path, Trusted]:
    """Every trusted file, by its path. Raises MachineError where the list is damaged: without it
    any file would pass.
    """
    path = _list()
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {Path(name): Trusted(**fields) for name, fields in kept["files"].items()}
    except (FileNotFoundError, NotADirectoryError):  # nothing was kept yet, or can be
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MachineError(
            "{path}: is no list of trusted model files ({reason}); put it right, or remove it: "
            "every model is then trusted anew.",
            path=path,
            reason=error,
        ) from error


def check(paths: Iterable[Path], read: Hash) -> list[Path]:
    """Raises ModelDamaged where one of the files is not the one that is trusted. Returns those that
    were never served.
    """
    kept, touched, new = trusted(), {}, []
    for path in map(Path.absolute, paths):
        if (file := kept.get(path)) is None:
            new.append(path)
        elif not file.is_at(path):
            before = _state(path)
            if (found := read(path)) != file.sha256 or _state(path) != before:
                raise ModelDamaged(
                    "{path}: is not the file that was served before: its SHA-256 is {found}, "
                    "expected {expected} (trusted since {day}). Nothing was loaded; if the change "
                    "is yours: hakaru trust {path}",
                    path=path,
                    found=found,
                    expected=file.sha256,
                    day=file.since,
                )
            touched[path] = found
    _change(touched)
    return new


def accept(paths: Iterable[Path], read: Hash) -> dict[Path, str]:
    """Trust the files as they are now; returns their SHA-256. A file that changes while it is read
    is not trusted.
    """
    found = {}
    for path in map(Path.absolute, paths):
        before = _state(path)
        sha256 = read(path)
        if _state(path) == before:
            found[path] = sha256
    _change(found)
    return found


def let_go(paths: Iterable[Path]) -> None:
    """Forget files that hakaru itself writes or removes: the next load trusts them anew."""
    if gone := trusted().keys() & {path.absolute() for path in paths}:
        _change(dict.fromkeys(gone))


def _change(found: "dict[Path, str | None] | dict[Path, str]") -> None:
    """Trust files by their SHA-256; those of None are forgotten."""
    if not found:
        return
    with one_at_a_time("trust"):
        kept = trusted()
        for path, sha256 in found.items():
            before = kept.pop(path, None)
            if sha256 is not None:
                is_same = before and before.sha256 == sha256
                day = before.since if before and is_same else _today()
                n_bytes, mtime_ns, ctime_ns, inode = _state(path)
                kept[path] = Trusted(
                    sha256=sha256, since=day, bytes=n_bytes, mtime_ns=mtime_ns,
                    ctime_ns=ctime_ns, inode=inode,
                )  # fmt: skip
        files = {str(path): asdict(kept[path]) for path in sorted(kept)}
        data_dir()
        with written_whole(_list()) as part:
            text = json.dumps({"schema": SCHEMA, "files": files}, indent=1)
            part.write_text(text + "\n", encoding="utf-8")


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _list() -> Path:
    return data_dir(make=False) / "trusted-files.json"


def _state(path: Path) -> tuple[int, int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino
