"""From what a person names to the settings of an engine."""

import re
from pathlib import Path

import pytest

from hakaru.errors import Misuse
from hakaru.memory.context import any_settings_for, settings_for
from hakaru.memory.settings import ContextSettings
from hakaru.models.model import Model, read_model
from hakaru.testing import tiny_hyperparameters, write_tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model that was trained for 2,048 tokens."""
    values = tiny_hyperparameters("llama", context_length=2048)
    path: Path = write_tiny(tmp_path_factory.mktemp("context") / "tiny.gguf", values)
    return read_model(path)


def test_what_is_left_out_has_its_default(model: Model) -> None:
    """The context is what the model was trained for, where that is less than 4096."""
    assert any_settings_for(model) == ContextSettings(n_ctx=2048)
    assert any_settings_for(model, n_ctx=64, type_k="q8_0") == ContextSettings(
        n_ctx=64, type_k="q8_0"
    )


def test_more_than_was_trained_for_is_refused_by_the_name_of_the_field(model: Model) -> None:
    """Whoever imports hakaru typed no option. A pool that conversations share is one context."""
    most = any_settings_for(model, n_ctx=4096, n_parallel=2)
    assert most.tokens_each == 2048
    with pytest.raises(Misuse, match=re.escape("`n_ctx` 4097 gives 4097 tokens per conversation")):
        any_settings_for(model, n_ctx=4097)
    with pytest.raises(Misuse, match=re.escape("ask for `n_ctx` 2048 or less")):
        any_settings_for(model, n_ctx=4096, n_parallel=2, kv_unified=True)


def test_too_little_to_serve_is_refused_only_where_it_is_served(model: Model) -> None:
    """`fit` may ask for any context."""
    assert any_settings_for(model, n_ctx=63).n_ctx == 63
    assert settings_for(model, n_ctx=64).n_ctx == 64
    with pytest.raises(Misuse, match="expected at least 64"):
        settings_for(model, n_ctx=63)
