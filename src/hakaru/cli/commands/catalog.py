"""`hakaru catalog`, `catalog update`, `catalog add` and `catalog rm`: how old the catalogue is,
asking the Hub, and models of one's own.
"""

from dataclasses import dataclass

from msgspec.structs import asdict

from hakaru.cli.output import print_json, print_text
from hakaru.cli.progress import Watching
from hakaru.cli.tell.catalog import print_added, print_state, print_update
from hakaru.language import say
from hakaru.models.licences import CLASSES, licence_class
from hakaru.models.own_catalogue import catalogue, remove_entry, today
from hakaru.models.scores import all_boards, scores_of


@dataclass(frozen=True, kw_only=True)
class CatalogOptions:
    """`hakaru catalog`."""

    json: bool


@dataclass(frozen=True, kw_only=True)
class CatalogUpdateOptions:
    """`hakaru catalog update`."""

    json: bool


@dataclass(frozen=True, kw_only=True)
class CatalogAddOptions:
    """`hakaru catalog add`."""

    model: str
    name: str | None
    json: bool


@dataclass(frozen=True, kw_only=True)
class CatalogRmOptions:
    """`hakaru catalog rm`."""

    name: str
    json: bool


def run(options: CatalogOptions) -> int:
    """Tell how old the catalogue is, and where its figures come from."""
    state = catalogue()
    classes = [licence_class(model.license) for model in state.models]
    data = {
        "schema": "hakaru.catalogue-state/1",
        "day": state.day,
        "days_old": state.days_old(),
        "shipped": state.shipped,
        "updated": state.updated,
        "models": len(state.models),
        "added": list(state.added),
        "licences": {name: classes.count(name) for name in CLASSES},
        "with_scores": sum(bool(scores_of(model)) for model in state.models),
        "boards": [asdict(board) for board in all_boards()],
        "skipped": dict(state.skipped),
    }
    if options.json:
        print_json(data)
    else:
        print_state(state, data)
    return 0


def update(options: CatalogUpdateOptions) -> int:
    """Ask the Hub of every entry, and tell what is other than before."""
    from hakaru.models.sources.hub_catalogue import update_catalogue

    day = today().isoformat()
    with Watching(quiet=options.json) as watch:
        heard, changes = update_catalogue(day, watch)
    if options.json:
        print_json(
            {
                "schema": "hakaru.catalogue-update/1",
                "day": day,
                "models": len(heard.facts),
                "changes": [asdict(change) for change in changes],
                "missing": list(heard.missing),
                "new": list(heard.new),
                "skipped": dict(catalogue().skipped),
            }
        )
    else:
        print_update(heard, changes)
    return 0


def add(options: CatalogAddOptions) -> int:
    """Read the header of a model and keep it under a name."""
    from hakaru.models.sources.catalogue_entry import add_model

    added = add_model(options.model, today().isoformat(), options.name)
    if options.json:
        print_json(
            {
                "schema": "hakaru.catalogue-entry/1",
                "id": added.model.id,
                "architecture": added.model.architecture,
                "n_params": added.model.n_params,
                "license": added.model.license,
                "source": added.source,
                "path": str(added.path),
            }
        )
    else:
        print_added(added)
    return 0


def rm(options: CatalogRmOptions) -> int:
    """Take one of the person's own entries out; files of the model stay."""
    path = remove_entry(options.name)
    if options.json:
        print_json(
            {"schema": "hakaru.catalogue-entry-removed/1", "id": options.name, "path": str(path)}
        )
    else:
        print_text(say("{name} is no longer in your catalogue.", name=options.name))
    return 0
