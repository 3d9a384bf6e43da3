"""The weights of every model of the catalogue at every type that people run, from a table.

Which type each tensor gets is computed in 5 ms for one model at one type: too long for a search
over all of them. So `scripts/catalogue_sizes.py` computes it once and writes
`catalogue_sizes.jsonl`, one model in a line. Layers that are alike share one entry, and a string
tells the entry of each layer. `make check` computes the table anew.
"""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from hakaru.formats.gguf import Tensor
from hakaru.formats.header_file import header_tensors
from hakaru.formats.metadata import Metadata
from hakaru.models.architectures import architecture, loaded
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.mixture import preset_types
from hakaru.models.presets import NEEDS_IMPORTANCE
from hakaru.models.roster import quantizer_facts, roster
from hakaru.planning.load import INPUT_TENSORS, Load, layer_of, load_of

TYPES: Final = ("Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "IQ4_XS", "Q3_K_M", "Q2_K")
"""The types that are looked through, the largest first."""
BELOW_FOUR_BITS: Final = frozenset({"Q3_K_M", "Q2_K"})
TABLE: Final = Path(__file__).with_name("catalogue_sizes.jsonl")
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_OF_LOAD: Final = ("input_bytes", "output_bytes", "tied_bytes", "shared_bytes", "largest_bytes")


class Matrices(Struct, frozen=True, kw_only=True):
    """The weights of some tensors: what a speed depends on."""

    bytes_by_type: tuple[tuple[str, int], ...] = ()
    n_elements: int = 0  # of matrices, each of which is one product of a token


class ItemMatrices(Struct, frozen=True, kw_only=True):
    """The weights of a layer, or of the output."""

    rest: Matrices
    experts: Matrices = Matrices()


class Sized(Struct, frozen=True, kw_only=True):
    """A model at a type: its pieces, and the size of its file without the vocabulary."""

    load: Load
    items: tuple[ItemMatrices, ...]  # of each layer, then of the output
    file_bytes: int


def types_of(model: KnownModel) -> tuple[str, ...]:
    """The types of `model` that are looked through, the largest first."""
    return architecture(model.architecture).trained_as or TYPES


def measured(model: KnownModel) -> dict[str, Sized]:
    """By type, the model with the types that each of its tensors gets: 30 ms of work."""
    meta = Metadata(model.id, model.metadata())
    entries = roster(quantizer_facts(meta), header_tensors(model.tensors(), "F16"))
    n_layer = model.shape.n_layer
    by_type = {}
    for type_ in types_of(model):
        types = preset_types(entries, type_, has_imatrix=type_ in NEEDS_IMPORTANCE)
        tensors = header_tensors(model.tensors(), types)
        placed = tuple(loaded(meta, tensors))
        by_type[type_] = Sized(
            load=load_of(placed, n_layer),
            items=_items(placed, n_layer),
            file_bytes=sum(tensor.n_bytes for tensor in tensors),
        )
    return by_type


def _items(tensors: Sequence[Tensor], n_layer: int) -> tuple[ItemMatrices, ...]:
    """The weights of each layer, then of the output, to which a tied embedding belongs. Of another
    input a token reads single rows.
    """
    is_tied = all(tensor.name != "output.weight" for tensor in tensors)
    rest: list[dict[str, Tensor]] = [{} for _ in range(n_layer + 1)]
    experts: list[dict[str, Tensor]] = [{} for _ in range(n_layer)]
    for tensor in tensors:
        if tensor.name in INPUT_TENSORS and not (is_tied and tensor.name == "token_embd.weight"):
            continue
        layer = layer_of(tensor.name)
        at = n_layer if layer is None or layer >= n_layer else layer
        (experts if "_exps." in tensor.name and at < n_layer else rest)[at][tensor.name] = tensor
    layers = zip(rest[:n_layer], experts, strict=True)
    return (
        *(
            ItemMatrices(rest=_matrices(r.values()), experts=_matrices(e.values()))
            for r, e in layers
        ),
        ItemMatrices(rest=_matrices(rest[n_layer].values())),
    )


def _matrices(tensors: Iterable[Tensor]) -> Matrices:
    n_bytes: dict[str, int] = {}
    n_elements = 0
    for tensor in tensors:
        n_bytes[tensor.type.name] = n_bytes.get(tensor.type.name, 0) + tensor.n_bytes
        n_elements += tensor.n_elements if len(tensor.shape) > 1 else 0
    return Matrices(bytes_by_type=tuple(sorted(n_bytes.items())), n_elements=n_elements)


def sized(model: KnownModel, type_: str) -> Sized:
    """The model at a type of `types_of`: from the table, or of an entry that did not come with
    hakaru, computed.
    """
    shipped = _shipped().get(model.id)
    if shipped and shipped.hyperparameters == model.hyperparameters and model.id in _lines():
        return _from_table(model.id, type_)
    key = f"{model.id} {model.tied} {model.n_vocab} {json.dumps(model.hyperparameters)}"
    if key not in _COMPUTED:
        _COMPUTED[key] = measured(model)
    return _COMPUTED[key][type_]


_COMPUTED: Final[dict[str, dict[str, Sized]]] = {}
"""The sizes of entries that did not come with hakaru, once computed."""


@cache
def _shipped() -> dict[str, KnownModel]:
    return {model.id: model for model in known_models()}


@cache
def _from_table(model_id: str, type_: str) -> Sized:
    return unpacked(_row(model_id)[type_])


@cache
def _row(model_id: str) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(_lines()[model_id])
    return row


@cache
def _lines() -> dict[str, str]:
    """By model, its line: a line is parsed when its model is looked at."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("\t") for line in lines)
    return {name: row for name, _, row in pairs}


def packed(one: Sized) -> dict[str, Any]:
    """`one` as it stands in the table."""
    load, kinds = one.load, list[list[Any]]()
    digits = ""
    for i, item in enumerate(one.items[:-1]):
        kind = [load.layers[i], load.experts[i], *_packed(item.rest), *_packed(item.experts)]
        if kind not in kinds:
            kinds.append(kind)
        digits += _DIGITS[kinds.index(kind)]
    return {
        "load": [getattr(load, name) for name in _OF_LOAD] + [int(load.always_copied)],
        "kinds": kinds,
        "layers": digits,
        "output": _packed(one.items[-1].rest),
        "file": one.file_bytes,
    }


def unpacked(row: dict[str, Any]) -> Sized:
    """The inverse of `packed`, but for what the plan of an unknown architecture needs."""
    order = [_DIGITS.index(digit) for digit in row["layers"]]
    *sizes, copied = row["load"]
    kinds, items = row["kinds"], [_item(kind[2:]) for kind in row["kinds"]]
    return Sized(
        load=Load(
            **dict(zip(_OF_LOAD, sizes, strict=True)),
            layers=tuple(kinds[i][0] for i in order),
            experts=tuple(kinds[i][1] for i in order),
            always_copied=bool(copied),
        ),
        items=(*(items[i] for i in order), ItemMatrices(rest=_unpacked(*row["output"]))),
        file_bytes=row["file"],
    )


def _packed(matrices: Matrices) -> list[Any]:
    return [dict(matrices.bytes_by_type), matrices.n_elements]


def _unpacked(bytes_by_type: dict[str, int], n_elements: int) -> Matrices:
    return Matrices(bytes_by_type=tuple(bytes_by_type.items()), n_elements=n_elements)


def _item(kind: list[Any]) -> ItemMatrices:
    return ItemMatrices(rest=_unpacked(*kind[:2]), experts=_unpacked(*kind[2:]))
