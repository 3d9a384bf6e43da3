"""The catalogue by word."""

import pytest

from hakaru.models.by_word import (
    FOR_JAPANESE,
    gives_vectors,
    is_for_japanese,
    maker,
    models_with,
    nearest_words,
    size_class_of,
)
from hakaru.models.catalogue import known_models


def ids(*words: str) -> list[str]:
    return [model.id for model in models_with(words)]


def test_a_word_finds_names_makers_and_what_a_model_is_for() -> None:
    """Whatever its case and width; several words are all there."""
    assert "llama-3-elyza-jp-8b" in ids("elyza")
    assert ids("elyza") == ids("ＥＬＹＺＡ")
    assert set(ids("swallow")) > {"tinyswallow-1.5b-instruct", "gpt-oss-swallow-20b-rl-v0.1"}
    assert ids("swallow", "8b") == ids("swallow 8b")
    assert all("8b" in name for name in ids("swallow 8b"))
    assert "gpt-oss-20b" in ids("openai")
    assert {"bge-m3", "qwen3-embedding-8b"} <= set(ids("embedding"))
    assert ids("埋め込み") == [m.id for m in known_models() if gives_vectors(m)]
    assert ids("小規模") == [m.id for m in known_models() if size_class_of(m) == "small"]
    assert ids("日本語　小規模") == ids("japanese", "small") != []
    assert ids() == [m.id for m in known_models()]
    assert ids("no such model") == []


def test_japanese_finds_what_is_known_to_be_made_for_it() -> None:
    """By the maker, or by the name; each maker of the list is in the catalogue."""
    found = ids("日本語")
    assert found == ids("japanese") == [m.id for m in known_models() if is_for_japanese(m)]
    assert {"gemma-2-2b-jpn-it", "lfm2.5-1.2b-jp-202606", "llm-jp-4.1-8b-thinking"} <= set(found)
    assert not {"qwen3-8b", "gemma-2-9b-it", "llama-3.1-8b-instruct"} & set(found)
    assert {maker(m).lower() for m in known_models()} >= FOR_JAPANESE.keys()
    assert set(ids("スワロー")) < set(ids("swallow"))
    assert ids("イライザ") == [m.id for m in known_models() if maker(m) == "elyza"]


@pytest.mark.parametrize(
    ("name", "size_class"),
    [
        ("smollm2-135m-instruct", "small"),
        ("llama-3.1-8b-instruct", "medium"),
        ("llama-3.1-70b-instruct", "large"),
    ],
)
def test_the_class_of_a_model_is_the_articles(name: str, size_class: str) -> None:
    """Hundreds of millions of parameters, billions, tens of billions."""
    (model,) = (m for m in known_models() if m.id == name)
    assert size_class_of(model) == size_class


def test_a_misspelt_word_finds_the_nearest() -> None:
    """A maker or a model."""
    assert any("elyza" in name for name in nearest_words(["elyzza"]))
    assert any("swallow" in name for name in nearest_words(["swalow"]))
    assert nearest_words(["zzzzqq"]) == []
