"""How a server guesses tokens ahead, several of which the model then checks in one pass.

The answers stay those of the model. What is guessed wrong is thrown away, so guessing pays only
where it is cheap and often right. Source: llama.cpp, common/speculative.cpp, common/ngram-map.cpp.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from hakaru.memory.settings import ContextSettings

Means = Literal["draft", "mtp", "ngram"]
"""What guesses: a smaller model, the model's own layers for multi-token prediction, or the text so
far, of which what followed the same few tokens is repeated.
"""


class Speculation(Struct, frozen=True, kw_only=True):
    """One way to guess."""

    means: Means
    n_max: int  # tokens that are guessed at once
    draft: Path | None = None  # the file of the smaller model, for `draft`

    def as_json(self) -> dict[str, object]:
        """The form in which the ledger and evidence keep it, and a server's child gets it."""
        draft = str(self.draft) if self.draft else None
        return {"means": self.means, "n_max": self.n_max, "draft": draft}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Speculation":
        """The inverse of `as_json`."""
        draft = Path(data["draft"]) if data["draft"] else None
        return cls(means=data["means"], n_max=data["n_max"], draft=draft)

    def n_outputs(self, settings: ContextSettings) -> int:
        """Tokens of a batch that get logits: every conversation's next token and its guesses."""
        return settings.n_parallel * (1 + self.n_max)
