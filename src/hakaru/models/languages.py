"""Which language a model speaks, and where that is known from.

trained     its makers trained it for the language (`by_word.FOR_JAPANESE`, or its name says so)
listed      its makers list the language, or the catalogue's label does (docs/facts.md)
measured    a board measured it in the language: its scores tell how well

A model for which none of these holds may speak the language all the same: nobody here knows.
"""

from typing import Final, Literal, get_args

from hakaru.models.by_word import is_for_japanese
from hakaru.models.catalogue import KnownModel
from hakaru.models.scores import scores_in

Reason = Literal["trained", "listed", "measured"]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


def speaks(model: KnownModel, language: str) -> tuple[Reason, ...]:
    """Why the model is taken to speak a language ("ja", "en"), the strongest reason first; empty
    where nothing is known.
    """
    holds = {
        "trained": language == "ja" and is_for_japanese(model),
        "listed": language in model.languages,
        "measured": bool(scores_in(model, language)),
    }
    return tuple(reason for reason in REASONS if holds[reason])
