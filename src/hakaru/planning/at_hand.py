"""What is on this disk, and what of it fits this machine: the verb behind `hakaru ls`.

The verdict is that of `fit` at the context that `fit` takes by default, with the memory that is
free now, by our arithmetic alone: no engine is started. Where only the engine knows an
architecture, there is no verdict.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from hakaru.engine.builds import lab_build
from hakaru.errors import HakaruError, ModelNotFound, ModelUnknown
from hakaru.language import without_controls
from hakaru.memory.context import any_settings_for
from hakaru.memory.footprint import compute_footprint
from hakaru.models.by_word import has_words, size_class_of, words_of
from hakaru.models.model import Model
from hakaru.models.sources.contents import Content, content_of
from hakaru.models.sources.look_around import look_around
from hakaru.models.sources.model_folders import FOLDER, ModelFolder, model_folders
from hakaru.models.sources.on_disk import OnDisk, Unread
from hakaru.models.spoken_type import spoken_type
from hakaru.planning.learned import errors
from hakaru.planning.placed import Placed, placed
from hakaru.servers import beside_servers, running
from hakaru.session import Session

Judge = Callable[[Model], Placed | None]
"""Puts a model on this machine; None for an architecture without arithmetic of ours."""


class Listed(Struct, frozen=True, kw_only=True):
    """One row: what lies on the disk, what it is, and whether it fits."""

    item: OnDisk
    content: Content
    fit: Placed | None  # None: no model, or not known without the engine

    @property
    def name(self) -> str:
        """By which other commands take it: a model as it is found, a file beside models by its
        path.
        """
        return str(self.item.path) if self.content.role else self.item.name

    @property
    def is_whole(self) -> bool:
        """A model that can be run, or converted first."""
        return self.content.problem is None and self.content.role is None

    @property
    def type(self) -> str | None:
        """The type as people call it; None for what is no whole model."""
        model = self.content.model
        return spoken_type(model, self.content.preset) if model and not self.content.role else None

    @property
    def is_other(self) -> bool:
        """A checkpoint that is no language model, or not for llama.cpp: nothing is broken."""
        return self.content.is_checkpoint and isinstance(self.content.problem, ModelUnknown)

    def has(self, words: Sequence[str]) -> bool:
        """Whether every word stands in its names, in its type or in what it is."""
        names = [self.name, self.item.name, *self.item.also, self.item.program]
        more = words_of(self.content.model, names) if self.content.model else []
        return has_words([*names, *more, self.content.role or "", self.type or ""], words)

    def as_json(self) -> dict[str, object]:
        """The row as it stands in `hakaru ls --json`."""
        item, content, model, fit = self.item, self.content, self.content.model, self.fit
        return {
            "name": self.name,
            "also": list(item.also),
            "program": item.program,
            "path": str(item.path),
            "files": [str(file) for file in item.files],
            "bytes": item.bytes,
            "last_used": item.used_at,
            "role": content.role or ("checkpoint" if content.is_checkpoint else "model"),
            "problem": without_controls(str(content.problem)) if content.problem else None,
            "type": model.type_name if model and self.type else None,
            "spoken_type": self.type,
            "architecture": model.shape.architecture if model else None,
            "n_params": model.n_params if model else None,
            "class": size_class_of(model) if model and self.type else None,
            "verdict": fit.placement.verdict if fit else None,
            "needed_bytes": fit.least_bytes if fit else None,
            "n_ctx": fit.settings.n_ctx if fit else None,
        }


class AtHand(Struct, frozen=True, kw_only=True):
    """What is on this disk."""

    models: tuple[Listed, ...]  # those that have every word
    n_all: int  # with and without the words
    folders: tuple[ModelFolder, ...]  # that were looked into
    unread: tuple[Unread, ...]  # that could not be looked into

    def as_json(self) -> dict[str, object]:
        """The object of `hakaru ls --json`."""
        return {
            "schema": "hakaru.ls/1",
            "models": [model.as_json() for model in self.models],
            "looked_in": [{"program": f.program, "path": str(f.path)} for f in self.folders],
            "unread": [{"path": str(u.path), "reason": u.reason} for u in self.unread],
        }


def at_hand(session: Session, folders: Sequence[Path] = (), words: Sequence[str] = ()) -> AtHand:
    """What lies in `folders`, else in every folder where models may lie, and has every word.

    Raises ModelNotFound for a folder that is not there.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ModelNotFound(
                "{path}: there is no such folder; name a folder, or words to search for.",
                path=folder,
            )
    places = [ModelFolder(program=FOLDER, path=path) for path in folders] or model_folders()
    files = [] if folders else session.ledger.hashed_files()
    items, unread = look_around(places, files)
    judge = _judge(session)
    rows = [_listed(item, judge) for item in items]
    return AtHand(
        models=tuple(row for row in rows if row.has(words)),
        n_all=len(rows),
        folders=tuple(places),
        unread=tuple(unread),
    )


def _listed(item: OnDisk, judge: Judge) -> Listed:
    content = content_of(item)
    model = content.model if not content.role else None
    return Listed(item=item, content=content, fit=judge(model) if model else None)


def _judge(session: Session) -> Judge:
    """How this machine judges a model, with what is the same for all models read once."""
    machine, rows = session.machine_now(), session.ledger.memory_rows()
    served = {server.path for server in running()}
    beside_all = beside_servers(machine, ())
    put = partial(
        placed,
        ledger=session.ledger,
        lessons=errors(rows),
        uses_gpu=_uses_gpu(rows, machine.fingerprint, has_gpu=machine.has_gpu),
    )

    def judge(model: Model) -> Placed | None:
        is_served = served and any(str(part) in served for part in model.parts)
        here = beside_servers(machine, model.parts) if is_served else beside_all
        try:
            settings = any_settings_for(model)
            computed = compute_footprint(model.shape, model.loaded, settings)
            return put(model, settings, machine=here, computed=computed) if computed else None
        except HakaruError:  # what the engine would refuse, too
            return None

    return judge


def _uses_gpu(rows: Iterable[dict[str, object]], machine: str, *, has_gpu: bool) -> bool:
    """Whether the engine's build uses the GPU: as it last did here, else if there is one."""
    if not has_gpu:
        return False
    try:
        engine = lab_build()
    except HakaruError:
        return has_gpu
    last = [
        row["backend"]
        for row in rows
        if row["backend"] and row["machine"] == machine and row["engine"] == engine
    ]
    return last[-1] != "cpu" if last else has_gpu
