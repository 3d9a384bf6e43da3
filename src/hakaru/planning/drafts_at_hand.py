"""Draft models for a model that lie on this disk: of its vocabulary by the engine's own rule, and
so much smaller that guessing with them can pay.
"""

from collections.abc import Iterator
from typing import Final

from hakaru.errors import HakaruError
from hakaru.models.model import Model, read_language_model
from hakaru.models.purpose import purpose_of
from hakaru.models.sources.contents import content_of
from hakaru.models.sources.look_around import look_around
from hakaru.models.sources.model_folders import model_folders
from hakaru.models.vocabulary import MOST_MORE_TOKENS, why_not_drafted_by
from hakaru.planning.extras import LARGEST_DRAFT
from hakaru.session import Session

EXACT_ENOUGH: Final = 4.0
"""Bits per weight of a draft that guesses as its source does: assumed."""


def drafts_at_hand(session: Session, target: Model) -> list[Model]:
    """The drafts on this disk, the smallest first. Of one model at several types it is the smallest
    of at least EXACT_ENOUGH bits, else the largest.
    """
    by_params: dict[int, list[Model]] = {}
    for draft in _fitting(session, target):
        by_params.setdefault(draft.n_params, []).append(draft)
    return sorted((_best(models) for models in by_params.values()), key=lambda m: m.weights_bytes)


def _fitting(session: Session, target: Model) -> Iterator[Model]:
    items, _ = look_around(model_folders(), session.ledger.hashed_files())
    for item in items:
        content = content_of(item)
        model = content.model
        if model is None or content.role or content.is_checkpoint or not _may_draft(model, target):
            continue
        try:
            draft = read_language_model(item.path)  # the listed one lacks its vocabulary
        except HakaruError:
            continue
        if draft.tokenizer_digest and why_not_drafted_by(target, draft) is None:
            yield draft


def _may_draft(model: Model, target: Model) -> bool:
    """Whether a look into the vocabulary is worth while."""
    sizes = model.shape.n_vocab, target.shape.n_vocab
    return (
        model.complete
        and model.weights_bytes <= LARGEST_DRAFT * target.weights_bytes
        and abs(sizes[0] - sizes[1]) <= MOST_MORE_TOKENS
        and purpose_of(model) == "text"
    )


def _best(models: list[Model]) -> Model:
    exact = [model for model in models if model.bpw >= EXACT_ENOUGH]
    if exact:
        return min(exact, key=lambda model: model.weights_bytes)
    return max(models, key=lambda model: model.weights_bytes)
