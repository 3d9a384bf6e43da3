"""Quantized tensors that are kept, so that a second budget of the same model is cheap.

A blob is the bytes of one tensor at one type. Its name is a hash of what decides the bytes: the
source's hash, the tensor, the type, the importances and the engine. Probes make blobs, too
(`engine/weights.py`), so that the winner of a race is mostly copied. Quantizing to a budget keeps
blobs, a preset keeps none. The folder holds at most `limit_bytes` (by default 16 GiB, and never
more than a tenth of the free disk); the blob that was used longest ago goes first. A recipe of more
than half the limit is not kept, because its last tensors would push out its first.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, Final

from msgspec import Struct

from hakaru.errors import MachineError
from hakaru.places import cache_dir, written_whole

LIMIT_BYTES: Final = 16 * 2**30
_CHUNK_BYTES: Final = 2**24


def blob_key(
    source_sha256: str, tensor: str, type_: str, importance_sha256: str | None, engine: str
) -> str:
    """The name of the blob of one tensor at one type; `importance_sha256` is of the tensor's own
    importances as F32.
    """
    return hashlib.sha256(
        json.dumps([source_sha256, tensor, type_, importance_sha256, engine]).encode()
    ).hexdigest()


class Blobs(Struct, eq=False, dict=True):
    """The kept tensors. Their folder is made and counted with the first question."""

    place: Path | None = None  # the folder; None for the one in the cache directory
    limit: int | None = None  # bytes; None for LIMIT_BYTES and a tenth of the free disk

    @cached_property
    def folder(self) -> Path:
        """Where the blobs lie."""
        folder = self.place or cache_dir("tensors")
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def limit_bytes(self) -> int:
        """What the folder may hold now."""
        if self.limit is not None:
            return self.limit
        return min(LIMIT_BYTES, (shutil.disk_usage(self.folder).free + self._held) // 10)

    @cached_property
    def _held(self) -> int:
        """The bytes in the folder, as far as this process knows."""
        return sum(stat.st_size for _, stat in self._kept())

    def takes(self, n_bytes: int) -> bool:
        """Whether the tensors of a recipe of `n_bytes` are kept. The folder is counted anew, since
        probes add to it, too.
        """
        self._held = sum(stat.st_size for _, stat in self._kept())
        return n_bytes <= self.limit_bytes // 2

    def copy_to(self, key: str, part: Path, at: int, n_bytes: int) -> bool:
        """Copy the blob `key` to byte `at` of `part`; False where there is none of that size."""
        blob = self.folder / key
        try:
            if blob.stat().st_size != n_bytes:
                return False
            os.utime(blob)
            with blob.open("rb") as source, part.open("rb+") as target:
                target.seek(at)
                _copy(source, target, n_bytes)
        except FileNotFoundError:
            return False
        return True

    def keep(self, key: str, part: Path, at: int, n_bytes: int) -> None:
        """Keep `n_bytes` from byte `at` of `part` as the blob `key`. A disk that refuses is no
        reason to fail.
        """
        with suppress(OSError, MachineError):
            self.make_room(n_bytes)
            with (
                written_whole(self.folder / key) as half,
                part.open("rb") as source,
                half.open("wb") as target,
            ):
                source.seek(at)
                _copy(source, target, n_bytes)
            self._held += n_bytes

    def make_room(self, n_bytes: int) -> None:
        """Remove blobs, the one used longest ago first, until `n_bytes` more fit."""
        if self._held + n_bytes <= self.limit_bytes:
            return
        for blob, stat in sorted(self._kept(), key=lambda item: item[1].st_mtime_ns):
            blob.unlink(missing_ok=True)
            self._held -= stat.st_size
            if self._held + n_bytes <= self.limit_bytes:
                return

    def _kept(self) -> Iterator[tuple[Path, os.stat_result]]:
        for blob in self.folder.iterdir():
            with suppress(FileNotFoundError):
                yield blob, blob.stat()


def _copy(source: BinaryIO, target: BinaryIO, n_bytes: int) -> None:
    while n_bytes:
        piece = source.read(min(_CHUNK_BYTES, n_bytes))
        if not piece:  # somebody shortened the file
            raise FileNotFoundError
        target.write(piece)
        n_bytes -= len(piece)
