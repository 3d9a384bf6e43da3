"""The catalogue's models by word: `elyza`, `swallow 8b`, `japanese`, `日本語`, `embedding`.

A model is found by every word that stands in its name, its repository, its architecture, its
licence, its size class, or what it is made for: the catalogue's label (`code`, `vision`, …), that
it gives vectors (by its architecture or name), that it was trained for Japanese (by its name, or by
a maker whose models in the catalogue are all trained for it, `FOR_JAPANESE`). Which other languages
a model speaks, `languages` tells.
"""

import difflib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final

from hakaru.models.architectures import architecture
from hakaru.models.catalogue import KnownModel
from hakaru.models.model import Model
from hakaru.models.own_catalogue import all_models
from hakaru.models.purpose import purpose_of

FOR_JAPANESE: Final = {
    "cyberagent": "サイバーエージェント",
    "elyza": "イライザ",
    "llm-jp": "国立情報学研究所",
    "pfnet": "プリファードネットワークス プラモ",
    "rakuten": "楽天",
    "sakanaai": "サカナ",
    "sbintuitions": "ソフトバンク サラシナ 更科",
    "shisa-ai": "シーサー",
    "stockmark": "ストックマーク",
    "tokyotech-llm": "東京科学大学 東工大 スワロー",
}
"""Makers at Hugging Face whose models in the catalogue are all trained for Japanese, and what
Japanese call them or their models.
"""
_JAPANESE_IN_NAME: Final = re.compile(r"(?:^|[-_.])(?:jp|jpn|ja|japanese)(?:[-_.]|$)")
_EMBEDDING_IN_NAME: Final = re.compile(r"(?:^|[-_.])(?:embed|embedding)(?:[-_.]|$)")
CLASS_PARAMS: Final = (("large", 10**10), ("medium", 10**9))
"""The least number of parameters of each class: a large model has tens of billions, a medium one
billions, a small one hundreds of millions.
"""
JAPANESE: Final = "japanese 日本語 ja jp"
EMBEDDING: Final = "embedding embeddings 埋め込み"
_CLASS_IN_JAPANESE: Final = {"large": "大規模", "medium": "中規模", "small": "小規模"}
"""As the column of `hakaru ls --catalog` calls a class, so that the word can be searched."""


def size_class_of(model: KnownModel | Model) -> str:
    """The class of a model by its parameters: small, medium or large."""
    return next((name for name, least in CLASS_PARAMS if model.n_params >= least), "small")


def maker(model: KnownModel) -> str:
    """Who made it, as Hugging Face spells it."""
    return model.hf_repo.partition("/")[0]


def is_for_japanese(model: KnownModel) -> bool:
    """True if it is known to be trained for Japanese."""
    return maker(model).lower() in FOR_JAPANESE or bool(_JAPANESE_IN_NAME.search(model.id))


def gives_vectors(model: KnownModel) -> bool:
    """True if it turns texts into vectors instead of writing."""
    return architecture(model.architecture).purpose == "embedding" or bool(
        _EMBEDDING_IN_NAME.search(model.id)
    )


def models_with(words: Sequence[str]) -> list[KnownModel]:
    """The models in which every word stands, the most downloaded first; without words, all."""
    return [m for m in all_models() if has_words(_searched(m), words)]


def has_words(texts: Iterable[str], words: Sequence[str]) -> bool:
    """Whether every word stands in the texts, whatever its case and width."""
    searched = _folded(" ".join(texts))
    return all(word in searched for text in words for word in _folded(text).split())


def words_of(model: Model, names: Iterable[str]) -> list[str]:
    """The words by which a model on the disk is found, beside those of its `names`."""
    size_class = size_class_of(model)
    texts = [model.name, model.shape.architecture, size_class, _CLASS_IN_JAPANESE[size_class]]
    for part in [part.lower() for name in names for part in re.split(r"[/:]", name)]:
        if part in FOR_JAPANESE or _JAPANESE_IN_NAME.search(part):
            texts += [JAPANESE, FOR_JAPANESE.get(part, "")]
    if purpose_of(model) == "embedding":
        texts.append(EMBEDDING)
    return texts


def nearest_words(words: Sequence[str], n: int = 3) -> list[str]:
    """Up to `n` names of models and makers that are spelled most like `words`."""
    wanted = _folded("-".join(words))
    names = {
        key: name
        for model in reversed(all_models())
        for name in (maker(model), model.id)
        for key in (name.lower(), *re.split(r"[-_]", name.lower()))
        if len(key) > 3
    }
    near = difflib.get_close_matches(wanted, names, n=3 * n, cutoff=0.6)
    return list(dict.fromkeys(names[key] for key in near))[:n]


def _searched(model: KnownModel) -> list[str]:
    texts = [
        model.id, model.name, model.hf_repo, model.architecture, model.license or "",
        size_class_of(model), _CLASS_IN_JAPANESE[size_class_of(model)], *model.tasks,
    ]  # fmt: skip
    if is_for_japanese(model):
        texts += [JAPANESE, FOR_JAPANESE.get(maker(model).lower(), "")]
    if gives_vectors(model):
        texts.append(EMBEDDING)
    return texts


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()
