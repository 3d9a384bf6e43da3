"""Known models by hyperparameters, so that questions about a model that nobody has downloaded yet get exact answers.

`catalogue.json` holds one model per line: public hyperparameters under GGUF's names, without the architecture before them;
`{"cycle": [...]}` is a pattern that repeats over the layers. A model stands in it only if the number of its parameters
follows from these numbers, to one in a hundred thousand; docs/facts.md tells where they were read.

What llama.cpp's loader asks for and no memory depends on (norm epsilons, scales, activation constants) is filled with
plain values: such a header is for sizes, not for talking. Rope factor tables (a few hundred bytes) follow the family's
published rope scaling.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from hakaru.models.architectures import Dims, tensors_of
from hakaru.models.header_file import MetadataValue
from hakaru.models.metadata import Metadata
from hakaru.models.shape import Shape, shape_of

_PLAIN: Final[dict[str, MetadataValue]] = {
    "attention.layer_norm_rms_epsilon": 1e-6, "attention.layer_norm_epsilon": 1e-5, "logit_scale": 1.0, "rope.freq_base": 10000.0,
}  # fmt: skip
_SECTIONS: Final[dict[str, MetadataValue]] = {"rope.dimension_sections": [24, 20, 20, 0]}
_SIGMOID: Final[dict[str, MetadataValue]] = {"expert_gating_func": 2}
_ENCODER: Final[dict[str, MetadataValue]] = {"attention.causal": False, "pooling_type": 1}
_PLAIN_BY_ARCHITECTURE: Final[dict[str, dict[str, MetadataValue]]] = {
    "qwen2vl": {"rope.dimension_sections": [16, 24, 24, 0]},
    "qwen3vl": {**_SECTIONS, "n_deepstack_layers": 3},
    "qwen3vlmoe": {**_SECTIONS, "n_deepstack_layers": 3},
    "qwen35": {"rope.dimension_sections": [11, 11, 10, 0]},
    "qwen35moe": {"rope.dimension_sections": [11, 11, 10, 0]},
    "lfm2moe": _SIGMOID,
    "kimi-linear": _SIGMOID,
    "exaone-moe": _SIGMOID,
    "deepseek32": _SIGMOID,
    "minimax-m2": _SIGMOID,
    "bert": _ENCODER,
    "nomic-bert": _ENCODER,
    "modern-bert": _ENCODER,
    "gemma-embedding": _ENCODER,
}
_XIELU: Final[dict[str, MetadataValue]] = {"xielu.alpha_n": 0.8, "xielu.alpha_p": 0.8, "xielu.beta": 0.5, "xielu.eps": -1e-6}
"""Apertus' activation; these keys stand without the architecture's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A catalogue entry: its hyperparameters, its exact number of parameters and where to find it.

    `n_params` is the published number without blocks for multi-token prediction, whose weights are `n_params_mtp`;
    `n_unconverted` of them are in no converted file (a pooler; below 0: padding that converters add). `having` names its
    optional tensors as `tensors_of` does.
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
        return tensors_of(Metadata(self.id, self.metadata()), n_vocab=self.n_vocab, tied=self.tied, having=self.having)

    @property
    def shape(self) -> Shape:
        """The numbers that decide its memory."""
        return shape_of(Metadata(self.id, self.metadata()), n_vocab=self.n_vocab)


def expand(architecture: str, hyperparameters: Mapping[str, Any]) -> dict[str, MetadataValue]:
    """GGUF metadata from the catalogue's short form: full names, patterns unrolled, plain values where nothing depends."""
    n_layer = hyperparameters["block_count"]
    values = {**_PLAIN, **_PLAIN_BY_ARCHITECTURE.get(architecture, {}), **hyperparameters}
    found: dict[str, MetadataValue] = {"general.architecture": architecture}
    for key, value in values.items():
        if isinstance(value, dict):
            cycle = value["cycle"]
            value = [cycle[i % len(cycle)] for i in range(n_layer)]
        found[key if key.startswith("tokenizer.") else f"{architecture}.{key}"] = value
    return found | (_XIELU if architecture == "apertus" else {})


PLAIN_DECODERS: Final = frozenset({"llama", "qwen2", "qwen3"})


@cache
def known_models() -> tuple[KnownModel, ...]:
    """All entries, the most downloaded first."""
    rows = json.loads((files("hakaru.models") / "catalogue.json").read_text(encoding="utf-8"))
    return tuple(
        KnownModel(**row | {"hyperparameters": row.pop("metadata"), "having": tuple(row.pop("having", ()))}) for row in rows
    )


def nearest_model(n_params: int) -> KnownModel | None:
    """The known llama-like model whose size is nearest to `n_params`, if one lies within 10 %: the worked example for a
    bare number.

    Of several with the same shape the most downloaded one.
    """
    nearest = min((m for m in known_models() if m.architecture in PLAIN_DECODERS), key=lambda m: abs(m.n_params - n_params))
    return nearest if abs(nearest.n_params / n_params - 1) <= 0.1 else None
