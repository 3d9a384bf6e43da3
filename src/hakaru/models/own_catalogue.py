"""The catalogue on this machine: the entries that come with hakaru, what the Hub told of them
since, and the entries that the person added.

    <data>/catalogue/hub.json            what `hakaru catalog update` heard: one row per model
    <data>/catalogue/added/<id>.json     an entry of the person's own: one file per model

Both are written whole or not at all. A row or a file that cannot be read is named and skipped: the
other entries are as good as before.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import asdict, replace

from hakaru.errors import HakaruError, Misuse, ModelNotFound
from hakaru.formats.metadata import Metadata
from hakaru.language import current_language, listed, say
from hakaru.models.catalogue import KnownModel, catalogue_date, known_models, model_from_row
from hakaru.models.shape import shape_of
from hakaru.places import data_dir, disk_error, written_whole

ENTRY: Final = "hakaru.entry/1"
HUB: Final = "hakaru.hub/1"
UNREADABLE: Final = (
    HakaruError, OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError,
)  # fmt: skip
"""What a damaged file raises, whatever is wrong with it."""
STALE_DAYS: Final = 90
"""After so many days a catalogue is called old: about as often new families of models appear."""


class HubFacts(Struct, frozen=True, kw_only=True):
    """What the Hub told of one model. None: the Hub does not tell."""

    license: str | None
    gated: bool | None
    languages: tuple[str, ...]  # as its makers list them
    modified: str | None  # day of the last change
    base_repo: str | None
    gguf_repos: tuple[str, ...]  # with GGUF files made of it, the most downloaded first


class Catalogue(Struct, frozen=True, kw_only=True):
    """All entries, and how old they are."""

    models: tuple[
        KnownModel, ...
    ]  # those of hakaru, the most downloaded first; then the added ones
    shipped: str  # the day of the entries that come with hakaru
    updated: str | None  # the day on which the Hub was last asked; None: never
    n_told: int  # models of which the Hub told something
    added: tuple[str, ...]  # the ids of the person's own entries
    skipped: Mapping[str, str]  # the names of entries that cannot be used, and why

    @property
    def day(self) -> str:
        """How old the catalogue is: the day of the last update, else that of its entries."""
        return max(self.shipped, self.updated or "")

    def days_old(self) -> int:
        """How many days ago that was; 0 for a clock that goes slow."""
        return max(0, (today() - date.fromisoformat(self.day)).days)


def today() -> date:
    """The day at this place."""
    return datetime.now().astimezone().date()


def catalogue() -> Catalogue:
    """The catalogue as it is on the disk now."""
    files = tuple((path, path.stat().st_mtime_ns) for path in _files())
    return _read(files, current_language())


def all_models() -> tuple[KnownModel, ...]:
    """Every entry, those of the person's own, too."""
    return catalogue().models


def remember_hub(facts: Mapping[str, HubFacts], day: str, endpoint: str) -> None:
    """Write what the Hub told on `day`, by the models' ids. What it told earlier of other models is
    kept.
    """
    old = _hub_rows({}) if _hub_file().exists() else {}
    new = {name: asdict(row) | {"checked": day} for name, row in facts.items()}
    data_dir("catalogue")
    _write(
        _hub_file(), {"schema": HUB, "updated": day, "endpoint": endpoint, "models": {**old, **new}}
    )


def add_entry(model: KnownModel, source: str, day: str) -> Path:
    """Write the person's own entry, which takes the place of an older one of that name. Returns its
    file.
    """
    row = asdict(model)
    row["metadata"] = row.pop("hyperparameters")
    path = data_dir("catalogue", "added") / f"{model.id}.json"
    _write(path, {"schema": ENTRY, "source": source, "added": day, "entry": row})
    return path


def remove_entry(name: str) -> Path:
    """Delete the person's own entry of that name, also one that cannot be read. Returns its file.
    Raises Misuse for an entry that comes with hakaru, ModelNotFound with the names that are there,
    and MachineError for a disk that refuses.
    """
    paths = {path.stem: path for path in _files() if path != _hub_file()}
    if path := paths.get(name):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise disk_error(error, path) from error
        return path
    if any(name == known.id for known in known_models()):
        raise Misuse(
            "'{name}': comes with hakaru and stays in the catalogue; only entries of your own are "
            "taken out: {names}.",
            name=name,
            names=listed(sorted(paths)) or say("none yet"),
        )
    raise ModelNotFound(
        "'{name}': your catalogue has no such entry; yours are: {names}.",
        name=name,
        names=listed(sorted(paths)) or say("none yet"),
    )


def _write(path: Path, content: Mapping[str, object]) -> None:
    with written_whole(path) as part:
        part.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def _hub_file() -> Path:
    return data_dir("catalogue", make=False) / "hub.json"


def _files() -> Iterator[Path]:
    if _hub_file().is_file():
        yield _hub_file()
    yield from sorted((data_dir("catalogue", make=False) / "added").glob("*.json"))


@cache
def _read(files: tuple[tuple[Path, int], ...], language: str) -> Catalogue:
    """The catalogue with these files of these times; its sentences are in `language`."""
    skipped: dict[str, str] = {}
    paths = [path for path, _ in files if path != _hub_file()]
    added = [entry for path in paths if (entry := _entry(path, skipped))]
    told = _hub_rows(skipped) if len(paths) < len(files) else {}
    models = [_with_facts(m, told) for m in (*known_models(), *added)]
    return Catalogue(
        models=tuple(models),
        shipped=catalogue_date(),
        updated=max((row["checked"] for row in told.values()), default=None),
        n_told=len(told.keys() & {m.id for m in models}),
        added=tuple(entry.id for entry in added),
        skipped=skipped,
    )


def _entry(path: Path, skipped: dict[str, str]) -> KnownModel | None:
    """The person's own entry in a file; None, and a sentence, if it cannot be used."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != ENTRY or content["entry"]["id"] != path.stem:
            raise ValueError(
                say("it is no entry that {command} wrote", command="hakaru catalog add")
            )
        row = content["entry"]
        row["table"] = tuple((name, tuple(dims)) for name, dims in row["table"])
        numbers = [row["n_params"], row["n_vocab"], *(n for _, dims in row["table"] for n in dims)]
        if (
            not _are(int, numbers)
            or min(numbers) < 0
            or not _are(str, (n for n, _ in row["table"]))
        ):
            raise ValueError(say("a size is no whole number"))
        model = model_from_row(row)
        shape_of(Metadata(path, model.metadata()), n_vocab=model.n_vocab)
        if any(model.id == known.id for known in known_models()):
            raise ValueError(say("hakaru has an entry of this name"))
    except UNREADABLE as error:
        skipped[path.stem] = _why(path, error)
        return None
    return model


def _hub_rows(skipped: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The rows of the Hub's file that can be used, by the models' ids."""
    path = _hub_file()
    rows = {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != HUB:
            raise ValueError(
                say("it is no file that {command} wrote", command="hakaru catalog update")
            )
        candidates = dict(content["models"])
    except UNREADABLE as error:
        skipped[path.stem] = _why(path, error)
        return {}
    for name, row in candidates.items():
        if _is_row(row):
            rows[name] = row
        else:
            skipped[name] = say(
                "{path}: what the Hub told of {name} is skipped: it cannot be read; ask again with "
                "{command}.",
                path=path,
                name=name,
                command="hakaru catalog update",
            )
    return rows


def _is_row(row: object) -> bool:
    """True if all fields of a row of the Hub's file are there and of their kind."""
    if not isinstance(row, dict) or row.keys() != {*HubFacts.__struct_fields__, "checked"}:
        return False
    texts = (row["license"], row["modified"], row["base_repo"])
    lists = (row["languages"], row["gguf_repos"])
    return (
        all(text is None or isinstance(text, str) for text in texts)
        and row["gated"] in (True, False, None)
        and all(isinstance(names, list) and _are(str, names) for names in lists)
        and _is_day(row["checked"])
    )


def _are(kind: type, values: Iterable[object]) -> bool:
    return all(type(value) is kind for value in values)


def _is_day(text: object) -> bool:
    return isinstance(text, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", text) is not None


def _with_facts(model: KnownModel, told: Mapping[str, Mapping[str, Any]]) -> KnownModel:
    """The entry with what the Hub told since; what the Hub did not tell stays."""
    row = told.get(model.id, {})
    new: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in row.items()
        if value not in (None, [])
    }
    return replace(model, **new)


def _why(path: Path, error: Exception) -> str:
    if path == _hub_file():
        return say(
            "{path}: what the Hub told is skipped ({reason}); ask it again with: {command}",
            path=path,
            reason=str(error) or type(error).__name__,
            command="hakaru catalog update",
        )
    return say(
        "{path}: the entry is skipped ({reason}); add the model again, or delete the file.",
        path=path,
        reason=str(error) or type(error).__name__,
    )
