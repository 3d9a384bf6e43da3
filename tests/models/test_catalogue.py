"""The catalogue's numbers hang together: each model's weights follow from its hyperparameters."""

import math

import pytest

from hakaru.formats.metadata import Metadata
from hakaru.models.architectures import ARCHITECTURES, is_loaded
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.hyperparameters import expand

BY_CONVERTERS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")


def counted(model: KnownModel) -> tuple[int, int]:
    """Weights of the model proper, and of its blocks for multi-token prediction: without what
    converters compute and without the unused keys of shared layers, which no card counts.
    """
    meta = Metadata(model.id, model.metadata())
    n_layer = meta.integer(meta.arch_key("block_count")) or 0
    n_main = n_layer - (meta.integer(meta.arch_key("nextn_predict_layers")) or 0)
    first_unused = n_layer - (meta.integer(meta.arch_key("attention.shared_kv_layers")) or 0)
    main = nextn = 0
    for name, shape in model.tensors():
        layer = int(name.split(".")[1]) if name.startswith("blk.") else 0
        if name in BY_CONVERTERS or (
            layer >= first_unused and ("attn_k" in name or "attn_v" in name)
        ):
            continue
        if layer < n_main:
            main += math.prod(shape)
        else:
            nextn += math.prod(shape)
    return main, nextn


@pytest.mark.parametrize("model", known_models(), ids=lambda m: m.id)
def test_the_published_number_of_parameters_follows_from_the_hyperparameters(
    model: KnownModel,
) -> None:
    """To one in a hundred thousand; most to the last weight."""
    main, nextn = counted(model)
    assert main + model.n_unconverted == pytest.approx(model.n_params, rel=1e-5)
    assert nextn == pytest.approx(model.n_params_mtp, rel=1e-5)


def test_most_counts_are_exact() -> None:
    """What is left are routing biases that cards do not count."""
    exact = sum(counted(m)[0] + m.n_unconverted == m.n_params for m in known_models())
    assert len(known_models()) >= 232
    assert len(known_models()) - exact <= 5


def test_names_are_unique_and_known() -> None:
    """One line per model, each of an architecture with a table."""
    models = known_models()
    assert len({m.id for m in models}) == len(models)
    assert {m.architecture for m in models} <= {a.name for a in ARCHITECTURES.values() if a.tensors}


def test_a_pattern_is_unrolled_over_the_layers() -> None:
    """Gemma 3: five layers with a window, one without."""
    model = next(m for m in known_models() if m.id == "gemma-3-1b-it")
    pattern = model.metadata()["gemma3.attention.sliding_window_pattern"]
    assert isinstance(pattern, list)
    assert pattern[:7] == [True] * 5 + [False, True]
    assert len(pattern) == model.metadata()["gemma3.block_count"] == 26


def test_keys_get_the_architecture_s_name() -> None:
    """All but the tokenizer's."""
    found = expand("bert", {"block_count": 2, "tokenizer.ggml.token_type_count": 2})
    assert found["bert.block_count"] == 2
    assert found["tokenizer.ggml.token_type_count"] == 2


def test_the_unloaded_part_is_what_the_card_calls_mtp() -> None:
    """GLM-4.5-Air: 3,616,573,568 weights stay on disk."""
    model = next(m for m in known_models() if m.id == "glm-4.5-air")
    meta = Metadata(model.id, model.metadata())
    assert (
        sum(math.prod(s) for name, s in model.tensors() if not is_loaded(meta, name))
        == 3_616_573_568
    )
