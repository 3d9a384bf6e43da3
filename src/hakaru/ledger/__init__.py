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
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from hakaru.errors import MachineError
from hakaru.language import say
from hakaru.ledger.database import Database
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model
from hakaru.places import data_dir, ledger_path

T = TypeVar("T")
HASHED_PIECE: Final = 2**28
"""Bytes of one step of progress."""
READ_PIECE: Final = 2**24
"""Bytes of one read. Ctrl-C is heard between two reads."""

FOOTPRINT_PARTS: Final = (
    "weights_bytes",
    "kv_cache_bytes",
    "compute_bytes",
    "output_bytes",
    "overhead_bytes",
)
"""The parts of a footprint that have a column."""


class Ledger:
    """The ledger in the file `path`, by default in the data directory.

    With `keeps` a file that cannot be written is an error. Without, such a file is read into
    memory, new rows stay there, and `trouble` says why.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        watch: Callable[[str, int, int], None] = lambda step, done, total: None,
        keeps: bool = True,
    ) -> None:
        self.watch = watch
        self.path = path or ledger_path()
        self._db = (
            Database(self.path, keeps=keeps)
            if path
            else Database(self.path, make_folder=data_dir, keeps=keeps)
        )

    @property
    def trouble(self) -> MachineError | None:
        """Why new rows are not kept; None if they are."""
        return self._db.trouble

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def sha256(self, path: Path) -> str:
        """The SHA-256 of the file at `path`, remembered as long as its size and time are equal."""
        if known := self.known_sha256(path):
            return known
        stat, name = path.stat(), str(path.resolve())
        digest = sha256_of(path, self.watch)
        self._db.write(
            "INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?)",
            (name, stat.st_size, stat.st_mtime_ns, digest),
        )
        return digest

    def known_sha256(self, path: Path) -> str | None:
        """The SHA-256 that is remembered of the unchanged file at `path`; no file is read."""
        stat, name = path.stat(), str(path.resolve())
        for row in self._db.rows(
            "SELECT sha256 FROM files WHERE path = ? AND size = ? AND mtime_ns = ?",
            (name, stat.st_size, stat.st_mtime_ns),
        ):
            return str(row["sha256"])
        return None

    def hashed_files(self) -> list[Path]:
        """Every file whose hash is remembered: sources and results of earlier runs. Some may be
        gone.
        """
        return [Path(str(row["path"])) for row in self._db.rows("SELECT path FROM files", ())]

    def model_sha256(self, model: Model) -> str:
        """What identifies a model: the hash of its file, or the hash over the hashes of its
        parts.
        """
        return _sha256_of_parts([self.sha256(part) for part in model.parts])

    def known_model_sha256(self, model: Model) -> str | None:
        """`model_sha256`, without reading a file: None where a part was never hashed as it is."""
        known = [self.known_sha256(part) for part in model.parts]
        hashes = [sha256 for sha256 in known if sha256]
        return _sha256_of_parts(hashes) if len(hashes) == len(known) else None

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
        """Store one footprint, whatever its source. `model`: the digest of the model's layout.
        `backend`: what runs the model, `cpu` without accelerators.
        """
        row = {
            "at": now(), "machine": machine, "model": model, "architecture": architecture,
            "engine": engine, "settings": _canonical(settings.as_json()),
            "source": footprint.source, "peak_rss_bytes": peak_rss_bytes, "backend": backend,
        }  # fmt: skip
        row |= {part: n for part, n in footprint.parts().items() if part in FOOTPRINT_PARTS}
        names, values = ", ".join(row), ", ".join("?" * len(row))
        self._db.write(f"INSERT INTO footprints ({names}) VALUES ({values})", tuple(row.values()))

    def memory_rows(self) -> list[dict[str, Any]]:
        """All stored footprints, the oldest first."""
        return self._db.rows("SELECT * FROM footprints ORDER BY at")

    def recall(
        self, kind: str, inputs: Mapping[str, object], *, since: str | None = None
    ) -> Any | None:
        """The stored result for the same kind and inputs, or None. A result from before `since`, a
        moment as `now` writes it, does not count.
        """
        rows = self._db.rows(
            "SELECT result FROM measurements WHERE key = ? AND at >= ?",
            (_key(kind, inputs), since or ""),
        )
        return json.loads(rows[0]["result"]) if rows else None

    def remembered(
        self,
        kind: str,
        inputs: Mapping[str, object],
        compute: Callable[[], T],
        *,
        keeps: Callable[[T], bool] = lambda result: True,
        since: str | None = None,
    ) -> T:
        """The result that `recall` finds, else what `compute` returns, which is stored if `keeps`
        is true of it.

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
        rows = self._db.rows(
            "SELECT inputs, result FROM measurements WHERE kind = ? ORDER BY at", (kind,)
        )
        return [(json.loads(row["inputs"]), json.loads(row["result"])) for row in rows]

    def remember(self, kind: str, inputs: Mapping[str, object], result: object) -> None:
        """Store a result under its kind and inputs; an older one of the same is replaced."""
        self._db.write(
            "INSERT OR REPLACE INTO measurements VALUES (?, ?, ?, ?, ?)",
            (_key(kind, inputs), now(), kind, _canonical(inputs), json.dumps(result)),
        )


def file_moved(ledger: Ledger, before: Path, path: Path) -> None:
    """Let the ledger know that the file `before` has become `path`, unchanged."""
    ledger._db.write(
        "UPDATE OR REPLACE files SET path = ? WHERE path = ?",
        (str(path.resolve()), str(before.resolve())),
    )


def _sha256_of_parts(hashes: Sequence[str]) -> str:
    """The hash of a model, whose parts have these hashes."""
    first, *others = hashes
    return hashlib.sha256("".join(hashes).encode()).hexdigest() if others else first


def sha256_of(
    path: Path, watch: Callable[[str, int, int], None] = lambda step, done, total: None
) -> str:
    """The hash, with progress: a large model takes a minute."""
    digest, done, size = hashlib.sha256(), 0, path.stat().st_size
    with path.open("rb") as file:
        while piece := file.read(READ_PIECE):
            digest.update(piece)
            done += len(piece)
            if size > HASHED_PIECE:
                step = say(
                    "pieces of {mib} MiB read for the file's hash", mib=HASHED_PIECE // 2**20
                )
                watch(step, done // HASHED_PIECE, size // HASHED_PIECE)
    return digest.hexdigest()


def _key(kind: str, inputs: Mapping[str, object]) -> str:
    return hashlib.sha256(f"{kind}|{_canonical(inputs)}".encode()).hexdigest()


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def now() -> str:
    """This moment as the ledger writes it: a later one sorts behind it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
