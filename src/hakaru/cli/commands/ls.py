"""`hakaru ls`: the models on this disk, or with `--catalog` those that hakaru knows by name, listed
and searched.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from hakaru.cli.output import next_step, print_json, print_text, show_table
from hakaru.cli.paste import pasted
from hakaru.cli.table import Cell, Column, Table
from hakaru.cli.tell.catalog import age_sentence, print_troubles
from hakaru.errors import ModelNotFound
from hakaru.hardware.spoken import class_name
from hakaru.language import say
from hakaru.models.by_word import (
    gives_vectors,
    is_for_japanese,
    maker,
    models_with,
    nearest_words,
    size_class_of,
)
from hakaru.models.catalogue import KnownModel
from hakaru.models.own_catalogue import catalogue
from hakaru.units import format_params


@dataclass(frozen=True, kw_only=True)
class LsOptions:
    """`hakaru ls`."""

    words: tuple[str, ...]
    catalog: bool
    json: bool


def run(options: LsOptions) -> int:
    """List what is on this disk, or the catalogue; of both what has every word. Raises
    ModelNotFound where nothing has.
    """
    return _list_catalogue(options) if options.catalog else _list_disk(options)


def _list_disk(options: LsOptions) -> int:
    from hakaru.cli.tell.ls import print_at_hand  # the catalogue needs none of it
    from hakaru.cli.terminal import terminal_session
    from hakaru.planning.at_hand import at_hand

    folders = [word for word in options.words if _is_folder(word)]
    words = [word for word in options.words if word not in folders]
    session = terminal_session(quiet=options.json, keeps=False)
    found = at_hand(session, [Path(folder).expanduser().absolute() for folder in folders], words)
    if found.n_all and not found.models:
        raise ModelNotFound(
            "none of the {n} models on this disk has '{word}'. To search the names that hakaru "
            "knows: {command}",
            n=found.n_all,
            word=" ".join(words),
            command=pasted("hakaru", "ls", "--catalog", *words),
        )
    if options.json:
        print_json(found.as_json())
    else:
        print_at_hand(found)
    return 0


def _is_folder(word: str) -> bool:
    """Whether a word is meant as a folder: it is one, or it is spelled as a path."""
    return os.path.isdir(Path(word).expanduser()) or word.startswith(("/", "./", "../", "~"))


def _list_catalogue(options: LsOptions) -> int:
    models = models_with(options.words)
    if not models:
        raise _not_found(options.words)
    if options.json:
        print_json(
            {
                "schema": "hakaru.catalogue/1",
                "words": list(options.words),
                "models": [_as_json(model) for model in models],
            }
        )
        return 0
    show_table(_table(models))
    print_text(
        say(
            "{n} of {total} models of the catalogue. Each name works in hakaru fit and hakaru "
            "show; nothing is downloaded.",
            n=len(models),
            total=len(catalogue().models),
        )
    )
    print_text(age_sentence(catalogue()))
    print_troubles(catalogue())
    if not options.words:
        print_text(
            say(
                "A word searches: hakaru ls --catalog elyza, swallow, japanese, embedding, large, …"
            )
        )
    first = next((m for m in models if not gives_vectors(m)), models[0])
    next_step(pasted("hakaru", "fit", first.id, "--type", "Q4_K_M"))
    return 0


def _not_found(words: tuple[str, ...]) -> ModelNotFound:
    text = " ".join(words)
    if near := nearest_words(words):
        return ModelNotFound(
            "no model of the catalogue has '{word}'; the nearest names are {listed}.",
            word=text,
            listed=say(", ").join(near),
        )
    return ModelNotFound(
        "no model of the catalogue has '{word}'; {command} lists all.",
        word=text,
        command="hakaru ls --catalog",
    )


def _as_json(model: KnownModel) -> dict[str, object]:
    return {
        "id": model.id,
        "name": model.name,
        "maker": maker(model),
        "hf_repo": model.hf_repo,
        "architecture": model.architecture,
        "n_params": model.n_params,
        "class": size_class_of(model),
        "n_ctx_train": model.hyperparameters.get("context_length"),
        "license": model.license,
        "for_japanese": True if is_for_japanese(model) else None,  # None: not known
        "embedding": gives_vectors(model),
    }


def _table(models: list[KnownModel]) -> Table:
    columns = [
        Column(say("name"), left=True),
        Column(say("parameters"), goes=5),
        Column(say("class"), left=True, goes=3),
        Column(Cell(say("context length"), say("context")), shortens=(1,), goes=4),
        Column(say("licence"), left=True, shortens=(1,), goes=4),
        Column(say("maker"), left=True, goes=2),
    ]
    return Table(columns, [_row(model) for model in models])


def _row(model: KnownModel) -> list[str | Cell]:
    n_ctx = model.hyperparameters.get("context_length")
    licence = (model.license or "?").removeprefix("LicenseRef-")
    is_own = licence != (model.license or "?")
    return [
        model.id,
        format_params(model.n_params),
        class_name(size_class_of(model)),
        f"{n_ctx:,}" if n_ctx else "?",
        Cell(licence, say("its own")) if is_own else licence,
        maker(model),
    ]
