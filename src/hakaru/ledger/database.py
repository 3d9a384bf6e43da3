"""The file of the ledger: one SQLite database that several processes may write at the same time.

What SQLite says becomes a MachineError with the next step.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from hakaru.errors import MachineError

FREE_WITHIN_S: Final = 30.0  # the longest wait for another process that writes
DEAF_S: Final = 0.05  # a single wait, during which Ctrl-C is not heard
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


class _Patient(sqlite3.Connection):
    """A connection that waits for other writers in Python: SQLite's own wait hears no Ctrl-C."""

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


class Database:
    """The database in the file `path`.

    `make_folder` is called before the file is opened. With `keeps` False a file that cannot be
    written is no error: what stands in the file is read into memory, new rows are kept there, and
    `trouble` says why.
    """

    def __init__(
        self, path: Path, *, make_folder: Callable[[], object] = lambda: None, keeps: bool = True
    ) -> None:
        self._path, self._keeps = path, keeps
        self.trouble: MachineError | None = None
        try:
            make_folder()
            with _translated(path):
                self.connection = sqlite3.connect(
                    path, timeout=DEAF_S, isolation_level=None, factory=_Patient
                )
                self.connection.execute("PRAGMA journal_mode = WAL")
                self._make_tables()
        except MachineError as trouble:
            if keeps:
                raise
            self._read_into_memory(trouble)

    def rows(self, query: str, values: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """The rows that a query finds, by the names of their columns."""
        with _translated(self._path):
            cursor = self.connection.execute(query, values)
            names = [column[0] for column in cursor.description]
            return [dict(zip(names, row, strict=True)) for row in cursor]

    def write(self, command: str, row: tuple[Any, ...]) -> None:
        """Store a row: in the file, or in memory if the disk refuses and `keeps` is False."""
        try:
            with _translated(self._path):
                self.connection.execute(command, row)
        except MachineError as trouble:
            if self._keeps:
                raise
            self._read_into_memory(trouble)
            self.connection.execute(command, row)

    def close(self) -> None:
        """Close the file."""
        self.connection.close()

    def _read_into_memory(self, trouble: MachineError) -> None:
        """Go on in memory, with the rows of the file if the file can be read."""
        self.trouble = trouble
        memory = sqlite3.connect(":memory:", isolation_level=None, factory=_Patient)
        # The second way is for folders in which SQLite may not make its own files.
        for how in ("mode=ro", "mode=ro&immutable=1"):
            address = f"{self._path.absolute().as_uri()}?{how}"
            with suppress(sqlite3.Error), closing(sqlite3.connect(address, uri=True)) as kept:
                kept.backup(memory)
                break
        self.connection = memory
        self._make_tables()

    def _make_tables(self) -> None:
        """Make the tables that are missing, and the column `backend`, which older ledgers lack."""
        self.connection.executescript(SCHEMA)
        columns = self.connection.execute("PRAGMA table_info(footprints)").fetchall()
        if "backend" not in [name for _, name, *_ in columns]:
            with suppress(sqlite3.OperationalError):  # another process was faster
                self.connection.execute("ALTER TABLE footprints ADD COLUMN backend TEXT")


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
