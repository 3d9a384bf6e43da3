"""The table of sizes says what the tensors say."""

import pytest
from msgspec.structs import replace

from hakaru.formats.header_file import header_tensors
from hakaru.formats.metadata import Metadata
from hakaru.memory.compute import is_known
from hakaru.models.architectures import loaded
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.mixture import preset_types
from hakaru.models.roster import quantizer_facts, roster
from hakaru.planning.load import Load
from hakaru.planning.token_work import ItemWork, TokenWork, item_works, total
from hakaru.selection.catalogue_sizes import Sized, measured, sized, types_of
from hakaru.selection.row_speeds import works

KNOWN = [model for model in known_models() if is_known(model.shape)]
SAMPLE = KNOWN[::23]


def pieces(load: Load) -> tuple[object, ...]:
    """What a placement counts with: not what the plan of an unknown architecture needs."""
    return (
        load.input_bytes, load.layers, load.experts, load.output_bytes, load.tied_bytes,
        load.always_copied, load.shared_bytes, load.largest_bytes,
    )  # fmt: skip


def told(one: Sized) -> tuple[object, ...]:
    return pieces(one.load), one.items, one.file_bytes


@pytest.mark.parametrize("model", SAMPLE, ids=lambda m: m.id)
def test_the_table_says_what_the_tensors_say(model: KnownModel) -> None:
    """Every type of a sample of models; `make check` compares the whole table."""
    for type_, one in measured(model).items():
        assert told(sized(model, type_)) == told(one), type_


def test_every_model_with_arithmetic_is_in_the_table() -> None:
    """At each of its types, of which the last is not larger than the first."""
    for model in KNOWN:
        sizes = [sized(model, type_).file_bytes for type_ in types_of(model)]
        assert 0 < sizes[-1] <= sizes[0] < 2 * model.n_params * 9 / 8, model.id


def summed(items: tuple[ItemWork, ...]) -> TokenWork:
    """The sum, layer by layer: of equal layers each is an object of its own."""
    return total(replace(part) for item in items for part in (item.rest, item.experts))


@pytest.mark.parametrize("model", SAMPLE, ids=lambda m: m.id)
def test_a_speed_from_the_table_is_a_speed_from_the_tensors(model: KnownModel) -> None:
    """The work of a token is the same by both ways, so that `choose` and `fit` predict alike."""
    type_ = types_of(model)[-1]
    meta = Metadata(model.id, model.metadata())
    entries = roster(quantizer_facts(meta), header_tensors(model.tensors(), "F16"))
    tensors = header_tensors(model.tensors(), preset_types(entries, type_))
    once = {tensor.name: tensor for tensor in loaded(meta, tensors)}
    ours = summed(works(sized(model, type_), model.shape, "q8_0", "q8_0"))
    theirs = summed(item_works(tuple(once.values()), model.shape, type_k="q8_0", type_v="q8_0"))
    assert ours.read == pytest.approx(theirs.read)
    assert ours.stored == pytest.approx(theirs.stored)
    assert ours.products == pytest.approx(theirs.products)
    assert ours.expert_products == pytest.approx(theirs.expert_products)
    assert ours.attention == theirs.attention
    assert (ours.n_layer, ours.n_expert_layer) == (theirs.n_layer, theirs.n_expert_layer)


def test_an_entry_of_ones_own_is_computed() -> None:
    """A model that did not come with hakaru has no line in the table."""
    model = KNOWN[1]
    layers = {**model.hyperparameters, "block_count": model.hyperparameters["block_count"] // 2}
    half = replace(model, id="half-of-it", hyperparameters=layers)
    assert told(sized(half, "Q4_K_M")) == told(measured(half)["Q4_K_M"])
    assert sized(half, "Q4_K_M").file_bytes < sized(model, "Q4_K_M").file_bytes
    renamed = replace(half, id=model.id)
    assert told(sized(renamed, "Q4_K_M")) == told(sized(half, "Q4_K_M"))
