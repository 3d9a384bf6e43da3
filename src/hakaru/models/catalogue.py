"""Known models by hyperparameters, so that questions about a model that nobody has downloaded yet
get exact answers.

`catalogue.json` holds one model per line: public hyperparameters under GGUF's names, without the
architecture before them; `{"cycle": [...]}` is a pattern that repeats over the layers. A model
stands in it only if the number of its parameters follows from these numbers, to one in a hundred
thousand; docs/facts.md tells where they were read.

Rope factor tables (a few hundred bytes) follow the family's published rope scaling.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from hakaru.formats.metadata import Metadata, MetadataValue
from hakaru.models.architectures import Dims, architecture, tensors_of
from hakaru.models.hyperparameters import expand
from hakaru.models.shape import Shape, shape_of


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A catalogue entry: its hyperparameters, its exact number of parameters and where to find it.

    `n_params` is the published number without blocks for multi-token prediction, whose weights are
    `n_params_mtp`; `n_unconverted` of them are in no converted file (a pooler; below 0: padding
    that converters add). `having` names its optional tensors as `tensors_of` does.
    """

    id: str
    name: str
    architecture: str
    hyperparameters: Mapping[str, Any]
    n_params: int
    n_params_mtp: int = 0
    n_unconverted: int = 0
    n_vocab: int
    tied: bool
    having: tuple[str, ...] = ()
    license: str | None
    hf_repo: str

    def metadata(self) -> dict[str, MetadataValue]:
        """The metadata of its GGUF file, as far as memory and loading need it; no vocabulary."""
        return expand(self.architecture, self.hyperparameters)

    def tensors(self) -> Iterator[tuple[str, Dims]]:
        """Name and shape (row length first) of every tensor of its GGUF file."""
        return tensors_of(
            Metadata(self.id, self.metadata()),
            n_vocab=self.n_vocab,
            tied=self.tied,
            having=self.having,
        )

    @property
    def shape(self) -> Shape:
        """The numbers that decide its memory."""
        return shape_of(Metadata(self.id, self.metadata()), n_vocab=self.n_vocab)


@cache
def known_models() -> tuple[KnownModel, ...]:
    """All entries, the most downloaded first."""
    rows = json.loads((files("hakaru.models") / "catalogue.json").read_text(encoding="utf-8"))
    return tuple(
        KnownModel(
            **row | {"hyperparameters": row.pop("metadata"), "having": tuple(row.pop("having", ()))}
        )
        for row in rows
    )


def model_called(part: str) -> KnownModel | None:
    """The most downloaded known model whose name has `part` between its dashes, such as `8x7b` or
    `30b-a3b`.
    """
    wanted = f"-{part.lower()}-"
    return next((model for model in known_models() if wanted in f"-{model.id}-"), None)


def nearest_model(n_params: int) -> KnownModel | None:
    """The known dense model whose size is nearest to `n_params`, if one lies within 10 %: the
    worked example for a bare number.

    Of several with the same shape the most downloaded one.
    """
    nearest = min(
        (m for m in known_models() if architecture(m.architecture).is_llama_like),
        key=lambda m: abs(m.n_params - n_params),
    )
    return nearest if abs(nearest.n_params / n_params - 1) <= 0.1 else None
