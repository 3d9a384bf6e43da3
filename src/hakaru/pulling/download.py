"""What is to be fetched for a model, where to, how long it takes, and what stands against it."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.errors import DoesNotFit, MachineError
from hakaru.language import say
from hakaru.models.catalogue import KnownModel
from hakaru.models.model import Model
from hakaru.planning.answer import Fit
from hakaru.planning.ways_out import in_words
from hakaru.pulling.keeping import File
from hakaru.pulling.ready_made import Taken
from hakaru.pulling.ways import Way
from hakaru.units import compared, format_bytes

SPARE: Final = 2**26
"""Bytes that stay free on the disk, for headers and the ledger."""


class Download(Struct, frozen=True, kw_only=True):
    """Everything that is known before the first byte of the weights comes."""

    origin: str  # such as "hf:org/repo:x-Q4_K_M.gguf"; the same word finds the file afterwards
    files: tuple[File, ...]
    model: Model | None  # whose header was read; None: the file is no model, such as a projector
    fit: Fit | None  # the memory verdict on this machine; None where there is none to give
    taken: Taken | None = None  # which type, and why; None: the person named it
    beside_bytes: int = 0  # of a projector that is loaded beside the model
    ways: tuple[Way, ...] = ()  # that which is taken, and the other one; empty: there is no other
    becomes: str | None = None  # of original weights: the type that `fit` judges
    others: tuple[str, ...] = ()  # types that are published beside it
    licence: str | None = None
    is_gated: bool = False
    entry: KnownModel | None = None  # of the catalogue, by whose name the model was asked for
    bytes_per_s: float | None = None  # with which this server's files came the last time

    @property
    def path(self) -> Path:
        """Where the model is found afterwards."""
        return self.files[0].link

    @property
    def bytes(self) -> int | None:
        """Of all files; None: not known."""
        sizes = [file.remote.bytes for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def missing_bytes(self) -> int | None:
        """That have to be fetched still; None: not known."""
        sizes = [file.missing_bytes for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def seconds(self) -> float | None:
        """How long it takes at the usual speed; None: not known."""
        if self.missing_bytes is None or not self.bytes_per_s:
            return None
        return self.missing_bytes / self.bytes_per_s

    @property
    def makes(self) -> bool:
        """Whether a smaller file is made of it afterwards."""
        return self.taken is not None and self.taken.way == "make"

    @property
    def made_bytes(self) -> int:
        """Of the file that is made of it, at most; 0: none is."""
        if not self.makes:
            return 0
        made = next((way.made_bytes for way in self.ways if way.kind == "make"), None)
        return made or self.bytes or 0

    @property
    def disk(self) -> Path:
        """The nearest folder that is there already, above where the files go."""
        return next(folder for folder in self.files[0].kept.parents if folder.is_dir())

    @property
    def free_bytes(self) -> int:
        """On the disk of the files."""
        return free_on(self.disk)

    def check_disk(self) -> None:
        """Raises MachineError where a disk has no room for what is to be fetched, and made: that is
        made in the current folder.
        """
        missing, made, free = self.missing_bytes or 0, self.made_bytes, self.free_bytes
        if self.disk.stat().st_dev == Path.cwd().stat().st_dev:
            missing, made = missing + made, 0
        in_cache = self.files[0].link != self.files[0].kept
        _check_room(
            self.disk,
            missing,
            free,
            say(
                "or name a place with more room: {variable}=FOLDER",
                variable="HF_HOME" if in_cache else "XDG_DATA_HOME",
            ),
        )
        _check_room(Path.cwd(), made, free_on(Path.cwd()), say("or go to a folder with more room"))

    def check_memory(self) -> None:
        """Raises DoesNotFit where the model would not run here, and nothing smaller is made."""
        fit = self.fit
        if fit is None or fit.verdict != "does_not_fit" or self.makes:
            return
        share = fit.placement.fullest
        needed, free = compared(share.needed_bytes, share.device.usable_bytes)
        raise DoesNotFit(
            "{origin}: needs {needed} with {n_ctx:,} tokens of context, but {free} may be used "
            "here; nothing was fetched: {ways}. It is fetched all the same with `force`.",
            origin=self.origin,
            needed=needed,
            n_ctx=fit.settings.n_ctx,
            free=free,
            ways=_smaller(self.others) or in_words(fit.alternatives),
        )


def free_on(folder: Path) -> int:
    """Bytes that are free on the disk of a folder."""
    return shutil.disk_usage(folder).free


def _check_room(folder: Path, needed: int, free: int, or_else: str) -> None:
    """Raises MachineError where a folder has not so much room."""
    room = free - SPARE
    if needed and os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise MachineError(
            "{path}: the disk is read-only, so nothing was fetched; choose another place.",
            path=folder,
        )
    if not needed or needed <= room:
        return
    raise MachineError(
        "{path}: {needed} are needed there, and {free} are free; nothing was fetched. Free "
        "{missing}, {or_else}.",
        path=folder,
        needed=format_bytes(needed),
        free=format_bytes(max(0, room)),
        missing=format_bytes(needed - room),
        or_else=or_else,
    )


def _smaller(others: Sequence[str]) -> str:
    """The end of a sentence: which smaller types are published there."""
    if not others:
        return ""
    return say("smaller types are there: {listed}", listed=say(", ").join(others))
