"""Writing a model by any recipe: every tensor gets its own type, and the target is whole or absent.

All places are known before (`layout.py`), so the bytes go straight to where they belong: into a
hidden file beside the target. The hidden file gets the target's name when everything was written,
read back, compared and laid out by llama.cpp. A journal (`journal.py`) says which tensors are on
the disk: after kill -9, a power cut, Ctrl-C or a dead engine the same call continues, and the file
is the same as without an interruption. After bad weights, a full disk, or an interruption before
the first tensor was done, the hidden file is removed.

The exact size is known before, and the free space is checked. Memory does not grow with the model:
rows and importances are read piece by piece.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from msgspec import Struct

from hakaru import trust
from hakaru.engine.builds import lab_build
from hakaru.engine.jobs import TensorJob
from hakaru.errors import EngineDied, EngineRefused, HakaruError, Interrupted, MachineError, Misuse
from hakaru.formats.gguf import Tensor, read_header
from hakaru.formats.metadata import MetadataValue
from hakaru.memory.footprint import Footprint
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.places import disk_error
from hakaru.quantization.blobs import Blobs
from hakaru.quantization.importance_file import Vectors, written_vectors
from hakaru.quantization.journal import Journal, Unfinished, locked_journal, unfinished_at
from hakaru.quantization.layout import Layout, PlannedFile, lay_out
from hakaru.quantization.loadable import check_result
from hakaru.quantization.tensor_tasks import TensorTask, check_types, needing_importance, tasks_of
from hakaru.units import compared

Progress: TypeAlias = Callable[[int, int], None]


class TensorWriter(Protocol):
    """The part of the engine that writing needs."""

    def write_tensors(
        self,
        jobs: Sequence[TensorJob],
        *,
        sources: Sequence[Path],
        targets: Sequence[Path],
        importance: Path | None,
        progress: Progress,
    ) -> None: ...

    def dry_run(self, path: Path, settings: ContextSettings) -> Footprint: ...


def write_recipe(
    engine: TensorWriter,
    source: Model,
    types: Mapping[str, str],
    out: Path,
    *,
    imatrix: Mapping[str, Any] | None = None,
    file_type: int | None = None,
    added: Mapping[str, MetadataValue] | None = None,
    split_bytes: int | None = None,
    overwrite: bool = False,
    blobs: Blobs | None = None,
    source_sha256: str | None = None,
    journal: Journal | None = None,
    progress: Progress = lambda done, total: None,
) -> Model:
    """Write `source` with the types in `types` to `out`, and return the new model, read back and
    verified: llama.cpp loads it.

    A tensor that is not named keeps its own type. `imatrix` holds the mean squared activation per
    column by tensor name (for a stack of experts one row after another). `file_type` and `added` as
    `lay_out` takes them. With `split_bytes` the model is written as parts of about so many bytes,
    and `out` is the name without their numbers. `blobs` with the source's hash keeps and uses
    quantized tensors. A caller who gives the `journal` of `out` also ends it: until then the same
    write is not done again. `progress` counts tensors.

    Raises Misuse (the target is the source or exists; a recipe that cannot be), ModelDamaged
    (weights that are not finite), MachineError (full or read-only disk, another writer),
    EngineDied, EngineRefused (what was written is not what was planned, or does not load).
    """
    layout = lay_out(source, types, out, file_type=file_type, added=added, split_bytes=split_bytes)
    try:
        with (
            nullcontext(journal) if journal else locked_journal(out) as held,
            written_vectors(out, imatrix, needing_importance(layout)) as vectors,
        ):
            tasks = tasks_of(layout, vectors, source_sha256 if blobs else None)
            digest = _digest(source, layout, vectors)
            if not (held.continues(digest) and _has_names(layout.files)):
                for file in layout.files:
                    check_target(source, file.path, overwrite=overwrite)
                check_types(source, tasks)
                _prepare(held, digest, layout.files)
                _Write(
                    engine=engine,
                    source=source,
                    layout=layout,
                    tasks=tasks,
                    importance=vectors.path,
                    journal=held,
                    blobs=blobs,
                    progress=progress,
                ).whole()
            if journal is None:
                held.end(delete_parts=False)
    except HakaruError:
        raise
    except OSError as error:
        raise disk_error(error, out) from error
    return read_model(layout.files[0].path)


class _Write(Struct, frozen=True, kw_only=True):
    """One write of one model, whose files are prepared."""

    engine: TensorWriter
    source: Model
    layout: Layout
    tasks: Sequence[TensorTask]
    importance: Path | None  # the file of the importances, for the engine
    journal: Journal
    blobs: Blobs | None
    progress: Progress

    def whole(self) -> None:
        """Write every tensor, verify the files, and give them their names. Raises what
        `write_recipe` raises.
        """
        files, journal = self.layout.files, self.journal
        try:
            self._tensors()
            _verify(files)
            check_result(
                self.engine, [file.part for file in files], [file.path.name for file in files]
            )
        except (KeyboardInterrupt, EngineDied) as stop:
            left = _left(journal)
            if left and isinstance(stop, KeyboardInterrupt):
                raise Interrupted(left.sentence()) from stop
            raise
        except BaseException:
            journal.end(delete_parts=True)
            raise
        trust.let_go(file.path for file in files)
        for file in reversed(files):  # the first part last: without it nobody reads the others
            file.part.replace(file.path)

    def _tensors(self) -> None:
        """Every tensor that the journal does not have: from a kept blob, or by the engine."""
        tasks, journal = self.tasks, self.journal
        kept = self.blobs if self.blobs and self.blobs.takes(self.layout.file_bytes) else None
        done_before = journal.done
        open_ = [task for task in tasks if task.job.name not in done_before]
        copied = {task.job.name for task in open_ if self._copied(task)}
        journal.add(copied)
        open_ = [task for task in open_ if task.job.name not in copied]
        before = reported = len(tasks) - len(open_)
        self.progress(before, len(tasks))

        def on_disk(done: int, total: int) -> None:
            nonlocal reported
            new = open_[reported - before : done]
            journal.add(task.job.name for task in new)
            reported = before + done
            self.progress(reported, before + total)
            for task in new:
                if kept and task.blob:
                    kept.keep(task.blob, task.file.part, task.job.to, task.tensor.n_bytes)

        if open_:
            self.engine.write_tensors(
                [task.job for task in open_],
                sources=self.source.parts,
                targets=[file.part for file in self.layout.files],
                importance=self.importance,
                progress=on_disk,
            )

    def _copied(self, task: TensorTask) -> bool:
        """Copy the tensor from its kept blob; False where there is none."""
        part, n_bytes = task.file.part, task.tensor.n_bytes
        if not self.blobs or not task.blob:
            return False
        if not self.blobs.copy_to(task.blob, part, task.job.to, n_bytes):
            return False
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        return True


def _left(journal: Journal) -> Unfinished | None:
    """The files to continue with; if there are none, the journal is deleted. A second Ctrl-C does
    not interrupt that.
    """
    while True:
        try:
            left = unfinished_at(journal.path)
            if left is None:
                journal.end(delete_parts=True)
            return left
        except KeyboardInterrupt:
            continue


def check_target(model: Model, out: Path, *, overwrite: bool) -> None:
    """Raises Misuse where `out` may not be written: the source itself, no regular file, or an
    existing one without `overwrite`.
    """
    if not out.exists():
        return
    if any(out.samefile(part) for part in model.parts):
        raise Misuse("{path}: is the source itself; name another file with -o.", path=out)
    if not out.is_file():
        raise Misuse("{path}: is no regular file; name a file with -o.", path=out)
    check_free(out, overwrite=overwrite)


def check_free(out: Path, *, overwrite: bool) -> None:
    """Raises Misuse where `out` exists and may not be replaced."""
    if out.exists() and not overwrite:
        raise Misuse(
            "{path}: exists already; name another file with `output`, or add `overwrite`.", path=out
        )


def _prepare(journal: Journal, digest: str, files: Sequence[PlannedFile]) -> None:
    """Keep the hidden files of an interrupted write of the same digest, or make new ones: a header,
    then a hole. Raises MachineError without enough space.
    """
    continues = journal.continues(digest) and all(_is_ours(file, file.part) for file in files)
    if not continues:
        journal.begin(digest, [file.part for file in files])
    on_disk = sum(file.part.stat().st_blocks * 512 for file in files) if continues else 0
    needed = sum(file.file_bytes for file in files) - on_disk
    free = shutil.disk_usage(journal.path.parent).free
    if free < needed:
        if not journal.done:
            journal.end(delete_parts=True)
        size, room = compared(needed, free)
        raise MachineError(
            "{path}: the disk has {free} free, but the file needs {needed}; free some space or "
            "choose another place.",
            path=files[0].path,
            free=room,
            needed=size,
        )
    if not continues:
        for file in files:
            with file.part.open("wb") as part:
                part.write(file.header)
                part.truncate(file.file_bytes)


def _is_ours(file: PlannedFile, path: Path) -> bool:
    """True if the file at `path` has the planned header and size."""
    try:
        with path.open("rb") as part:
            return (
                part.read(len(file.header)) == file.header
                and os.fstat(part.fileno()).st_size == file.file_bytes
            )
    except FileNotFoundError:
        return False


def _has_names(files: Sequence[PlannedFile]) -> bool:
    """True if an interrupted write had given all files their final names. If it had named only
    some, these are hidden again.
    """
    named = [file for file in files if not file.part.exists() and _is_ours(file, file.path)]
    if len(named) < len(files):
        for file in named:
            file.path.replace(file.part)
    return len(named) == len(files)


def _digest(source: Model, layout: Layout, vectors: Vectors) -> str:
    """Everything that decides the bytes: the source's files, the headers, the importances and the
    engine.
    """
    files = [(str(p.resolve()), p.stat().st_size, p.stat().st_mtime_ns) for p in source.parts]
    headers = [(file.path.name, hashlib.sha256(file.header).hexdigest()) for file in layout.files]
    return hashlib.sha256(
        json.dumps([files, headers, vectors.digests, lab_build()]).encode()
    ).hexdigest()


def _verify(files: Sequence[PlannedFile]) -> None:
    """Read every file back and compare it with the plan. Raises EngineRefused."""
    for file in files:
        header = read_header(file.part)
        found, expected = _rows(header.tensors), _rows(file.tensors)
        if found != expected:
            wrong = next(
                name for name in {**expected, **found} if found.get(name) != expected.get(name)
            )
            raise EngineRefused(
                "the quantized file is not what was planned: {name} is {found}, expected "
                "{expected}; nothing was kept.",
                name=wrong,
                found=json.dumps(found.get(wrong)),
                expected=json.dumps(expected.get(wrong)),
            )


def _rows(tensors: Sequence[Tensor]) -> dict[str, tuple[tuple[int, ...], str, int]]:
    return {t.name: (t.shape, t.type.name, t.offset) for t in tensors}
