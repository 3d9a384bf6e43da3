"""What the Hub tells of the catalogue's models: licence, gating, last change, base model, and the
repositories with GGUF files that were made of them.

One request lists the repositories of a maker, and one for each model the GGUF files made of it.
Hyperparameters are not asked again: a model that changes gets a new name. Models that the catalogue
does not have are told, not added: their numbers must be read from their own header first, which
`catalogue_entry` does.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlencode

import httpx
from msgspec import Struct

from hakaru.errors import ModelDamaged, ModelNotFound
from hakaru.formats.bounded_json import bounded_json
from hakaru.language import say
from hakaru.models.by_word import maker
from hakaru.models.catalogue import KnownModel, catalogue_date
from hakaru.models.hf_classes import CLASSES
from hakaru.models.licences import licence_from_hub
from hakaru.models.own_catalogue import HubFacts, all_models, remember_hub
from hakaru.models.sources.hub_listing import hub_endpoint, hub_headers, no_hub
from hakaru.models.sources.shelf import AT_ONCE
from hakaru.models.sources.web import read_small, web_client
from hakaru.pool import impatient_pool

Row = Mapping[str, Any]
"""What the Hub's API says of one repository."""
FIELDS: Final = (
    "cardData", "gated", "lastModified", "createdAt", "baseModels", "config", "pipeline_tag",
)  # fmt: skip
PER_MAKER: Final = 500
"""Repositories of a maker that one request lists, the newest first; an older one is asked alone."""
MOST_GGUFS: Final = 5
"""Repositories with GGUF files that are kept of a model."""
_REPO: Final = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}")


class Heard(Struct, frozen=True, kw_only=True):
    """What the Hub told."""

    facts: Mapping[str, HubFacts]  # by the models' ids
    missing: tuple[str, ...]  # ids of models whose repository the Hub does not show
    new: tuple[str, ...]  # repositories of known makers that the catalogue does not have


class Change(Struct, frozen=True, kw_only=True):
    """A field of an entry that is other than before."""

    id: str
    field: str  # of HUB_FIELDS
    before: object
    after: object


HUB_FIELDS: Final = ("license", "gated", "languages", "base_repo", "gguf_repos")
"""Fields of which the Hub's word counts, and a change is told."""


def update_catalogue(
    day: str, watch: Callable[[str, int, int], None]
) -> tuple[Heard, list[Change]]:
    """Ask the Hub of all entries, and write what it told on `day`. Returns what it told, and what
    is other than before. Raises what `ask_hub` raises; then nothing is written.
    """
    before = all_models()
    heard = ask_hub(before, catalogue_date(), watch)
    remember_hub(heard.facts, day, hub_endpoint())
    return heard, [
        Change(id=old.id, field=field, before=getattr(old, field), after=getattr(new, field))
        for old, new in zip(before, all_models(), strict=True)
        for field in HUB_FIELDS
        if _plain(getattr(old, field)) != _plain(getattr(new, field))
    ]


def _plain(value: object) -> object:
    """The value; of a text in small letters, since names are not spelled alike everywhere."""
    return value.casefold() if isinstance(value, str) else value


def ask_hub(
    models: Iterable[KnownModel], since: str, watch: Callable[[str, int, int], None]
) -> Heard:
    """Ask the Hub of every model that has a repository, and of what its makers published after
    the day `since`. Raises Offline, and ModelDamaged for an answer that is none of a Hub.
    """
    asked = [model for model in models if _REPO.fullmatch(model.hf_repo)]
    makers = sorted({maker(model) for model in asked}, key=str.lower)
    n_steps = len(makers) + len(asked)
    with web_client() as client, impatient_pool(AT_ONCE) as pool:
        hub = _Hub(client)
        rows: dict[str, Row] = {}
        for done, found in enumerate(pool.map(hub.repositories_of, makers)):
            rows |= {row["id"].lower(): row for row in found}
            watch(say("asking {hub}", hub=hub.endpoint), done + 1, n_steps)
        facts: dict[str, HubFacts] = {}
        missing: list[str] = []
        told = pool.map(lambda m: hub.facts_of(m.hf_repo, rows.get(m.hf_repo.lower())), asked)
        for done, (model, answer) in enumerate(zip(asked, told, strict=True)):
            watch(say("asking {hub}", hub=hub.endpoint), len(makers) + done + 1, n_steps)
            if answer is None:
                missing.append(model.id)
            else:
                facts[model.id] = answer
    have = {model.hf_repo.lower() for model in asked}
    return Heard(facts=facts, missing=tuple(missing), new=tuple(_new(rows, have, since)))


class _Hub:
    """The Hub's API, as far as the catalogue asks it."""

    def __init__(self, client: httpx.Client) -> None:
        self.endpoint = hub_endpoint()
        self._client, self._headers = client, hub_headers()

    def repositories_of(self, author: str) -> list[Row]:
        """The newest repositories of a maker; empty where the Hub shows none."""
        query = {"author": author, "sort": "createdAt", "limit": PER_MAKER, "expand[]": FIELDS}
        with suppress(ModelNotFound):
            return self._rows(f"/api/models?{urlencode(query, doseq=True)}")
        return []

    def facts_of(self, repo: str, row: Row | None) -> HubFacts | None:
        """What the Hub tells of a repository, of which its maker's list may have told already."""
        query = {"filter": [f"base_model:quantized:{repo}", "gguf"], "sort": "downloads"}
        ggufs = f"/api/models?{urlencode({**query, 'limit': MOST_GGUFS}, doseq=True)}"
        try:
            if row is None:
                row = self._json(f"/api/models/{repo}?{urlencode({'expand[]': FIELDS}, True)}")
            made = [other["id"] for other in self._rows(ggufs)]
        except ModelNotFound:
            return None
        return _facts(row, made)

    def _rows(self, path: str) -> list[Row]:
        answer = self._json(path)
        if not isinstance(answer, list):
            raise self._no_hub(path)
        return [row for row in answer if isinstance(row, dict) and _is_repo(row.get("id"))]

    def _json(self, path: str) -> Any:
        try:
            return bounded_json(read_small(self._client, self.endpoint + path, self._headers))
        except ValueError as error:
            raise self._no_hub(path) from error

    def _no_hub(self, path: str) -> ModelDamaged:
        return no_hub(self.endpoint + path.partition("?")[0])


def _facts(row: Row, ggufs: Iterable[str]) -> HubFacts:
    card = row.get("cardData")
    card = card if isinstance(card, dict) else {}
    gated = row.get("gated")
    modified = _DAY.match(str(row.get("lastModified")))
    return HubFacts(
        license=licence_from_hub(card.get("license"), card.get("license_name")),
        gated=None if gated is None else gated is not False,
        languages=_languages(card.get("language")),
        modified=modified[0] if modified else None,
        base_repo=_trained_from(row),
        gguf_repos=tuple(ggufs),
    )


def _languages(stated: object) -> tuple[str, ...]:
    """Codes of languages, of a card that names one or a list of them."""
    texts = stated if isinstance(stated, list) else [stated]
    return tuple(t for t in texts if isinstance(t, str) and re.fullmatch("[a-z]{2,3}", t))


def _trained_from(row: Row) -> str | None:
    """The one model that this one is a fine-tune of; None for a merge, a quantization, or where
    the Hub does not tell.
    """
    base = row.get("baseModels")
    if not isinstance(base, dict) or base.get("relation") != "finetune":
        return None
    parents = base.get("models")
    ids = [p.get("id") for p in parents if isinstance(p, dict)] if isinstance(parents, list) else []
    return ids[0] if len(ids) == 1 and _is_repo(ids[0]) else None


def _new(rows: Mapping[str, Row], have: set[str], since: str) -> list[str]:
    """Repositories made after `since` that hold a language model's own weights, of a class that
    llama.cpp's converter takes; the newest first.
    """
    fresh = [
        (str(row.get("createdAt")), row["id"])
        for repo, row in rows.items()
        if repo not in have and str(row.get("createdAt"))[:10] > since and _is_original(row)
    ]
    return [repo for _, repo in sorted(fresh, reverse=True)]


def _is_original(row: Row) -> bool:
    config = row.get("config")
    names = config.get("architectures") if isinstance(config, dict) else None
    is_known = isinstance(names, list) and any(name in CLASSES for name in names)
    base = row.get("baseModels")
    is_quantized = isinstance(base, dict) and base.get("relation") == "quantized"
    return is_known and not is_quantized and not (config or {}).get("quantization_config")


def _is_repo(text: object) -> bool:
    return isinstance(text, str) and len(text) < 200 and _REPO.fullmatch(text) is not None
