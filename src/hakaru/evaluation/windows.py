"""Windows: the pieces of text on which two models are compared, and the units of the statistics.

A window is a run of tokens from one document. Its first tokens are context and are not scored. A
document at hand gives one window from its middle; an answer of the reference gives one window whose
context is the prompt.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from hakaru.evaluation.sequences import LEAST_WINDOWS
from hakaru.evaluation.texts import Document

N_TOKENS: Final = 128
"""Tokens of a document in one window."""
N_CONTEXT: Final = 16
"""Tokens of those that are context."""
LEAST_SCORED: Final = 8
"""Tokens of an answer that must be scored at least."""
OWN: Final = ("own", "answers-own")
"""The kinds of text that the person named."""
TEST_VERSION: Final = 6
"""To be raised when the windows, the scoring or the speed test change: results of another version
are not reused.
"""


class Window(Struct, frozen=True, kw_only=True):
    """One piece of a document."""

    domain: str  # the kind of text
    tokens: tuple[int, ...]
    first: int  # tokens of context; scoring begins behind them

    @property
    def n_scored(self) -> int:
        """Next-token distributions that are compared."""
        return len(self.tokens) - 1 - self.first

    def as_json(self) -> dict[str, Any]:
        """The form in which the engine takes it."""
        return {"tokens": list(self.tokens), "first": self.first}


def windows_of_documents(
    documents: Sequence[Document],
    tokens: Sequence[Sequence[int]],
    opening: Sequence[int] = (),
    *,
    per_document: int = 1,
) -> list[Window]:
    """Up to `per_document` windows of each document, evenly spread and never overlapping; documents
    shorter than a window give none.

    Every window begins with the model's `opening` (its beginning-of-text token, if it has one):
    without that token, some models give distributions that nobody will ever see.
    """
    windows = []
    for document, ids in zip(documents, tokens, strict=True):
        n_windows = min(per_document, len(ids) // N_TOKENS)
        for i in range(n_windows):
            begin = i * N_TOKENS + (len(ids) - n_windows * N_TOKENS) * (i + 1) // (n_windows + 1)
            cut = (*opening, *ids[begin : begin + N_TOKENS])
            first = len(opening) + N_CONTEXT
            windows.append(Window(domain=document.domain, tokens=cut, first=first))
    return windows


def window_of_answer(domain: str, answer: Mapping[str, Any]) -> Window | None:
    """The window of one of the reference's answers; None where fewer than LEAST_SCORED tokens could
    be scored.
    """
    window = Window(domain=domain, tokens=tuple(answer["tokens"]), first=answer["n_prompt"])
    return window if window.n_scored >= LEAST_SCORED else None


def least_to_read(domains: Sequence[str]) -> int:
    """The number of windows to read before stopping is allowed, so that each kind of the person's
    own text was seen LEAST_WINDOWS times, or as often as that kind occurs. `domains`: the kind of
    text of every window, in the order of reading.
    """
    places = [[i for i, domain in enumerate(domains, 1) if domain == own] for own in OWN]
    return max((some[:LEAST_WINDOWS][-1] for some in places if some), default=0)


def windows_digest(windows: Sequence[Window]) -> str:
    """What identifies a set of windows in the ledger."""
    text = json.dumps([w.as_json() for w in windows], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
