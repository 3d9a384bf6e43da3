"""Known models by hyperparameters, so that questions about a model that nobody has downloaded yet
get exact answers.

`catalogue.json` holds one model per line: public hyperparameters under GGUF's names, without the
architecture before them; `{"cycle": [...]}` is a pattern that repeats over the layers. A model
stands in the catalogue only if its published number of parameters follows from its hyperparameters
to one in a hundred thousand. docs/facts.md tells where the hyperparameters were read.

Rope factor tables (a few hundred bytes) follow the family's published rope scaling.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from hakaru.formats.metadata import Metadata, MetadataValue
from hakaru.models.architectures import Dims, architecture, tensors_of
from hakaru.models.hyperparameters import expand, with_architecture
from hakaru.models.shape import Shape, shape_of


class KnownModel(Struct, frozen=True, kw_only=True, dict=True):
    """An entry of the catalogue. Has no slots, so that its shape is worked out once."""

    id: str
    name: str
    architecture: str
    hyperparameters: Mapping[str, Any]
    n_params: int  # as published, without blocks for multi-token prediction
    n_params_mtp: int = 0  # of the blocks for multi-token prediction
    n_unconverted: int = 0  # in no converted file (a pooler); below 0: padding of converters
    tower: str | None = None  # of a model that sees: its vision tower, by name in `towers.TOWERS`
    n_params_tower: int | None = None  # published, beside `n_params`; None: not known, or none
    n_vocab: int
    tied: bool  # the output matrix is the embedding
    having: tuple[str, ...] = ()  # optional tensors, see `tensors_of`
    license: str | None  # SPDX, or LicenseRef- and the Hub's name of it; None: not known
    hf_repo: str
    tasks: tuple[str, ...] = ()  # what it is made for: chat, code, reasoning, vision, …
    languages: tuple[str, ...] = ()  # such as "ja"; "many": several, nobody wrote down which
    gguf_repos: tuple[str, ...] = ()  # with GGUF files of it
    gated: bool | None = None  # its makers ask for consent before a download; None: not known
    released: str | None = None  # year and month
    base_repo: str | None = None  # the model that it was trained from, as its makers say
    sources: tuple[str, ...] = ()  # of its hyperparameters, see docs/facts.md
    modified: str | None = None  # day of the repository's last change, as the Hub told
    checked: str | None = None  # day on which the Hub told licence and gating; None: never
    table: tuple[tuple[str, Dims], ...] | None = None  # of a person's own entry: as in its header

    def metadata(self) -> dict[str, MetadataValue]:
        """The metadata of its GGUF file, as far as memory and loading need it; no vocabulary."""
        if self.table is not None:
            return with_architecture(self.architecture, self.hyperparameters)
        return expand(self.architecture, self.hyperparameters)

    def tensors(self) -> Iterator[tuple[str, Dims]]:
        """Name and shape (row length first) of every tensor of its GGUF file."""
        if self.table is not None:
            return iter(self.table)
        return tensors_of(
            Metadata(self.id, self.metadata()),
            n_vocab=self.n_vocab,
            tied=self.tied,
            having=self.having,
        )

    @cached_property
    def shape(self) -> Shape:
        """The numbers that decide its memory."""
        return shape_of(Metadata(self.id, self.metadata()), n_vocab=self.n_vocab)


_LISTS: Final = ("having", "tasks", "languages", "gguf_repos", "sources")


@cache
def known_models() -> tuple[KnownModel, ...]:
    """The entries that come with hakaru, the most downloaded first."""
    return tuple(model_from_row(row) for row in _shipped()["models"])


@cache
def catalogue_date() -> str:
    """The day on which the entries that come with hakaru were last read, such as 2026-11-22."""
    return str(_shipped()["date"])


def model_from_row(row: Mapping[str, Any]) -> KnownModel:
    """The entry in a row of the catalogue's file. Raises TypeError for a row without a field."""
    lists = {field: tuple(row[field]) for field in _LISTS if field in row}
    fields = {**row, **lists, "hyperparameters": row["metadata"]}
    del fields["metadata"]
    return KnownModel(**fields)


@cache
def _shipped() -> dict[str, Any]:
    text = Path(__file__).with_name("catalogue.json").read_text(encoding="utf-8")
    shipped: dict[str, Any] = json.loads(text)
    return shipped


def model_called(part: str) -> KnownModel | None:
    """The most downloaded known model whose name has `part` between its dashes, such as `8x7b` or
    `30b-a3b`.
    """
    dashed = f"-{part.lower()}-"
    return next((model for model in known_models() if dashed in f"-{model.id}-"), None)


def nearest_model(n_params: int) -> KnownModel | None:
    """The known dense model whose size is nearest to `n_params`, or None if the nearest is more
    than 10% off. Of several models with the same size, the most downloaded.
    """
    dense = (known for known in known_models() if architecture(known.architecture).is_llama_like)
    nearest = min(dense, key=lambda known: abs(known.n_params - n_params))
    return nearest if abs(nearest.n_params / n_params - 1) <= 0.1 else None
