"""The ledger: every figure that was computed, dry-run or measured, with the machine, the model's
hash, the engine and the settings.

One SQLite file in the data directory. It answers two questions: "was this measured before?" (then a
second `hakaru up` takes seconds) and "how wrong were we?" (computed, dry run and measured memory of
the same run stand side by side). Model files are identified by SHA-256; the hash of an unchanged
file (path, size, time) is remembered, not computed again. Footprints belong to a layout
(architecture and tensor table), which a file shares with its stand-in.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import platformdirs

from hakaru.errors import MachineError
from hakaru.language import say
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.places import data_dir

T = TypeVar("T")
HASHED_PIECE: Final = 2**28
READ_PIECE: Final = 2**24
"""Bytes between two looks at Ctrl-C, also on a slow disk."""
FREE_WITHIN_S: Final = 30.0
DEAF_S: Final = 0.05
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, sha256 TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS footprints (
    at TEXT NOT NULL, machine TEXT NOT NULL, model TEXT NOT NULL, architecture TEXT NOT NULL,
    engine TEXT NOT NULL, settings TEXT NOT NULL, source TEXT NOT NULL,
    weights_bytes INTEGER, kv_cache_bytes INTEGER, compute_bytes INTEGER,
    output_bytes INTEGER, overhead_bytes INTEGER, peak_rss_bytes INTEGER, backend TEXT
);
CREATE TABLE IF NOT EXISTS measurements (
    key TEXT PRIMARY KEY, at TEXT NOT NULL, kind TEXT NOT NULL, inputs TEXT NOT NULL,
    result TEXT NOT NULL
);
"""


FOOTPRINT_PARTS: Final = (
    "weights_bytes",
    "kv_cache_bytes",
    "compute_bytes",
    "output_bytes",
    "overhead_bytes",
)
"""The parts of a footprint that have a column."""


class _Patient(sqlite3.Connection):
    """Waits for other writers in Python, where Ctrl-C is heard; SQLite's own wait is deaf to it."""

    def execute(self, *arguments: Any) -> sqlite3.Cursor:
        return _when_free(super().execute, *arguments)

    def executescript(self, script: str) -> sqlite3.Cursor:
        return _when_free(super().executescript, script)


def _when_free(statement: Callable[..., sqlite3.Cursor], *arguments: Any) -> sqlite3.Cursor:
    until = time.monotonic() + FREE_WITHIN_S
    while True:
        try:
            return statement(*arguments)
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
            time.sleep(DEAF_S)


class Ledger:
    """The ledger in the file `path`, by default in the data directory.

    `keeps`: what is measured must be kept, and a disk that refuses is an error. Where not, for
    whoever only asks, a ledger that cannot be written is read into memory, what is new is
    remembered there, and `trouble` says why.
    """

    trouble: MachineError | None = None

    def __init__(
        self,
        path: Path | None = None,
        *,
        watch: Callable[[str, int, int], None] = lambda step, done, total: None,
        keeps: bool = True,
    ) -> None:
        self.watch, self._keeps = watch, keeps
        self.path = path or Path(platformdirs.user_data_dir("hakaru")) / "ledger.sqlite"
        try:
            if path is None:
                data_dir()
            with _translated(self.path):
                self._open(str(self.path))
        except MachineError as trouble:
            if keeps:
                raise
            self._read_into_memory(trouble)

    def _open(self, name: str) -> None:
        self._db = sqlite3.connect(name, timeout=DEAF_S, isolation_level=None, factory=_Patient)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.executescript(SCHEMA)
        self._add_backends()

    def _read_into_memory(self, trouble: MachineError) -> None:
        """From now on what is remembered is what stands in the file, as far as it can be read, and
        what comes.
        """
        self.trouble = trouble
        memory = sqlite3.connect(":memory:", isolation_level=None, factory=_Patient)
        for how in (
            "mode=ro",
            "mode=ro&immutable=1",
        ):  # the second one where SQLite may not make its own files beside
            with (
                suppress(sqlite3.Error),
                closing(
                    sqlite3.connect(f"{self.path.absolute().as_uri()}?{how}", uri=True)
                ) as kept,
            ):
                kept.backup(memory)
                break
        self._db = memory
        memory.executescript(SCHEMA)
        self._add_backends()

    def _write(self, command: str, row: tuple[Any, ...]) -> None:
        """Store a row; where nothing must be kept, in memory if the disk refuses."""
        try:
            with _translated(self.path):
                self._db.execute(command, row)
        except MachineError as trouble:
            if self._keeps:
                raise
            self._read_into_memory(trouble)
            self._db.execute(command, row)

    def _add_backends(self) -> None:
        """Give a ledger of before the column for the backend, empty in its rows."""
        if any(
            name == "backend" for _, name, *_ in self._db.execute("PRAGMA table_info(footprints)")
        ):
            return
        with suppress(sqlite3.OperationalError):  # another process was faster
            self._db.execute("ALTER TABLE footprints ADD COLUMN backend TEXT")

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def sha256(self, path: Path) -> str:
        """The SHA-256 of the file at `path`, from memory if the file has not changed."""
        stat, name = path.stat(), str(path.resolve())
        with _translated(self.path):
            row = self._db.execute(
                "SELECT sha256 FROM files WHERE path = ? AND size = ? AND mtime_ns = ?",
                (name, stat.st_size, stat.st_mtime_ns),
            ).fetchone()
        if row:
            return str(row[0])
        digest = _sha256_of(path, stat.st_size, self.watch)
        self._write(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
            (name, stat.st_size, stat.st_mtime_ns, digest),
        )
        return digest

    def model_sha256(self, model: Model) -> str:
        """What identifies a model: its file's hash, or for a split one the hash of its parts'
        hashes.
        """
        hashes = [self.sha256(part) for part in model.parts]
        return (
            hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
        )

    def remember_memory(
        self,
        footprint: Footprint,
        *,
        machine: str,
        model: str,
        architecture: str,
        engine: str,
        settings: ContextSettings,
        peak_rss_bytes: int | None = None,
        backend: str | None = None,
    ) -> None:
        """Store one footprint, whatever its source; `model` is its layout digest, `backend` runs it
        (`cpu` without accelerators).
        """
        row = {
            "at": now(), "machine": machine, "model": model, "architecture": architecture,
            "engine": engine, "settings": _canonical(settings.as_json()),
            "source": footprint.source, "peak_rss_bytes": peak_rss_bytes, "backend": backend,
        } | {part: n_bytes for part,
        n_bytes in footprint.parts().items() if part in FOOTPRINT_PARTS}  # fmt: skip
        names, places = ", ".join(row), ", ".join("?" * len(row))
        self._write(f"INSERT INTO footprints ({names}) VALUES ({places})", tuple(row.values()))

    def memory_rows(self) -> list[dict[str, Any]]:
        """All stored footprints, the oldest first."""
        with _translated(self.path):
            cursor = self._db.execute("SELECT * FROM footprints ORDER BY at")
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def recall(
        self, kind: str, inputs: Mapping[str, object], *, since: str | None = None
    ) -> Any | None:
        """The stored result for the same kind and inputs, or None. One that was stored before the
        moment `since` (as `now` tells it) does not count.
        """
        with _translated(self.path):
            row = self._db.execute(
                "SELECT result FROM measurements WHERE key = ? AND at >= ?",
                (_key(kind, inputs), since or ""),
            ).fetchone()
        return json.loads(row[0]) if row else None

    def remembered(
        self,
        kind: str,
        inputs: Mapping[str, object],
        compute: Callable[[], T],
        *,
        keeps: Callable[[T], bool] = lambda result: True,
        since: str | None = None,
    ) -> T:
        """The stored result for the same kind and inputs, as `recall` finds it; where there is
        none, what `compute` returns, which is stored if `keeps` holds for it.

        `compute` returns what JSON can hold. Example: `ledger.remembered("plan", {"model": sha256},
        plan_of_model)`.
        """
        result: T | None = self.recall(kind, inputs, since=since)
        if result is None:
            result = compute()
            if keeps(result):
                self.remember(kind, inputs, result)
        return result

    def recall_all(self, kind: str) -> list[tuple[dict[str, Any], Any]]:
        """Inputs and results of everything that was stored under `kind`, the oldest first."""
        with _translated(self.path):
            rows = self._db.execute(
                "SELECT inputs, result FROM measurements WHERE kind = ? ORDER BY at", (kind,)
            ).fetchall()
        return [(json.loads(inputs), json.loads(result)) for inputs, result in rows]

    def remember(self, kind: str, inputs: Mapping[str, object], result: object) -> None:
        """Store a result under its kind and inputs; an older one of the same is replaced."""
        self._write(
            "INSERT OR REPLACE INTO measurements VALUES (?, ?, ?, ?, ?)",
            (_key(kind, inputs), now(), kind, _canonical(inputs), json.dumps(result)),
        )


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """What SQLite says of the file `path` becomes a MachineError with the next step."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise MachineError(
            "{path}: the ledger cannot be used ({reason}); check the disk and its permissions.",
            path=path,
            reason=error,
        ) from error
    except sqlite3.DatabaseError as error:
        raise MachineError(
            "{path}: the ledger is damaged ({reason}); move the file away, a new one is made.",
            path=path,
            reason=error,
        ) from error


def _sha256_of(path: Path, size: int, watch: Callable[[str, int, int], None]) -> str:
    """The hash, with progress: a large model takes a minute."""
    digest, done = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(READ_PIECE):
            digest.update(piece)
            done += len(piece)
            if size > HASHED_PIECE:
                watch(say("hash"), done // HASHED_PIECE, size // HASHED_PIECE)
    return digest.hexdigest()


def _key(kind: str, inputs: Mapping[str, object]) -> str:
    return hashlib.sha256(f"{kind}|{_canonical(inputs)}".encode()).hexdigest()


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def now() -> str:
    """This moment as the ledger writes it: a later one sorts behind it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
