"""Known models by shape, so that questions about a model that nobody has downloaded yet get exact answers.

`catalogue.json` holds public hyperparameters of dense llama-like models whose parameter count follows from them to the
last weight; docs/facts.md tells where they were read.
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from hakaru.models.caches import full_attention
from hakaru.models.shape import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A catalogue entry: its shape, its exact number of parameters and where to find it."""

    id: str
    name: str
    shape: Shape
    n_params: int
    tied: bool
    license: str | None
    hf_repo: str


@cache
def known_models() -> tuple[KnownModel, ...]:
    """All entries, the most downloaded first."""
    rows = json.loads((files("hakaru.models") / "catalogue.json").read_text(encoding="utf-8"))
    entries = []
    for row in rows:
        entry = {key: row.pop(key) for key in ("id", "name", "n_params", "tied", "license", "hf_repo")}
        row["n_head_kv"] = (row["n_head_kv"],) * row["n_layer"]
        row["n_embd_head_v"] = row["n_embd_head_v"] or row["n_embd_head_k"]
        row["caches"] = full_attention(row["n_head_kv"], row["n_embd_head_k"], row["n_embd_head_v"])
        entries.append(KnownModel(shape=Shape(**row), **entry))
    return tuple(entries)


def nearest_model(n_params: int) -> KnownModel | None:
    """The known model whose size is nearest to `n_params`, if one lies within 10 %: the worked example for a bare number.

    Of several with the same shape the most downloaded one.
    """
    nearest = min(known_models(), key=lambda m: abs(m.n_params - n_params))
    return nearest if abs(nearest.n_params / n_params - 1) <= 0.1 else None
