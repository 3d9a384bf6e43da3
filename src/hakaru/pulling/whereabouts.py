"""From what a person typed to the repository that is meant: by its name, its address, or as one
that the catalogue names.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import httpx
from msgspec import Struct

from hakaru.errors import ModelNotFound
from hakaru.language import say
from hakaru.models.catalogue import KnownModel
from hakaru.models.own_catalogue import all_models
from hakaru.models.sources.found import search_for_gguf
from hakaru.models.sources.hub_listing import Listing, hub_endpoint, hub_headers, list_files
from hakaru.models.sources.reference import HubFile, Word
from hakaru.models.sources.web import web_client
from hakaru.pulling.offers import Offer, offers_named, offers_of

MAKERS_OF_LLAMA_CPP: Final = "ggml-org"
Ask = Callable[[str, Sequence[str]], int]
"""Asks a person a question with these answers, and returns the number of the one taken."""


class Repository(Struct, frozen=True, kw_only=True):
    """A repository of the Hub as it is now, and what of it was asked for."""

    wanted: HubFile
    listing: Listing
    entry: KnownModel | None = None  # of the catalogue, by whose name it was asked for

    @property
    def offers(self) -> tuple[Offer, ...]:
        """The models there."""
        return offers_of(self.listing)


def repository(reference: HubFile | Word, ask: Ask | None) -> Repository:
    """The repository that is meant. Raises ModelNotFound and Offline."""
    with web_client() as client:
        if isinstance(reference, HubFile):
            listing = list_files(client, reference, hub_headers())
            return Repository(wanted=reference, listing=listing)
        return _of_catalogue(client, reference.text, ask)


def _of_catalogue(client: httpx.Client, text: str, ask: Ask | None) -> Repository:
    """The repository with GGUF files of a model of the catalogue: its makers' own, or that of
    llama.cpp's makers, or the only one, or the one that is chosen.
    """
    name, _, type_ = text.partition(":")
    entry = entry_named(text)
    assert entry  # the caller looked
    found = [
        Repository(wanted=wanted, listing=listing, entry=entry)
        for wanted in places_of(entry, text)
        if (listing := _listing_or_none(client, wanted))
    ]
    if not found and entry.gguf_repos:
        raise ModelNotFound(
            "{word}: none of the repositories with its GGUF files that the catalogue names is at "
            "{hub} any more ({listed}). Newer ones are told by: {command}",
            word=name,
            hub=hub_endpoint(),
            listed=say(", ").join(entry.gguf_repos),
            command="hakaru catalog update",
        )
    if not found:
        raise ModelNotFound(
            "{word}: the catalogue has no repository with its GGUF files. Name one, as {command}; "
            "they are listed by: {search}",
            word=name,
            command=f"hakaru pull hf:ORG/REPO:{type_ or 'Q4_K_M'}",
            search=search_for_gguf(entry.hf_repo),
        )
    if type_:
        found = _with_type(found, type_) or found[:1]
    for maker in (_maker(entry.hf_repo), MAKERS_OF_LLAMA_CPP):
        for place in found:
            if _maker(place.wanted.repo) == maker:
                return place
    return _asked(name, found, ask)


def entry_named(text: str) -> KnownModel | None:
    """The model of the catalogue that is named, with or without a type: `qwen3-8b:Q4_K_M`."""
    name = text.partition(":")[0].lower()
    return next((entry for entry in all_models() if entry.id == name), None)


def places_of(entry: KnownModel, text: str) -> list[HubFile]:
    """The repositories with GGUF files of this model, each with the type that is named."""
    type_ = text.partition(":")[2] or None
    return [HubFile(repo=repo, revision=None, file=type_) for repo in entry.gguf_repos]


def _listing_or_none(client: httpx.Client, wanted: HubFile) -> Listing | None:
    """The repository, or None if it is gone or was closed."""
    with suppress(ModelNotFound):
        return list_files(client, wanted, hub_headers())
    return None


def _with_type(found: list[Repository], type_: str) -> list[Repository]:
    places = []
    for place in found:
        with suppress(ModelNotFound):
            if offers_named(place.wanted.repo, place.offers, type_):
                places.append(place)
    return places


def _asked(name: str, found: list[Repository], ask: Ask | None) -> Repository:
    """The only one, or the one that a person takes. Raises ModelNotFound where nobody is there."""
    if len(found) == 1:
        return found[0]
    places = [str(place.wanted) for place in found]
    if ask is None:
        raise ModelNotFound(
            "{word}: is published at {n} places; name one of them: {listed}.",
            word=name,
            n=len(places),
            listed=say(", ").join(places),
        )
    return found[ask(say("{word} is published at {n} places:", word=name, n=len(places)), places)]


def _maker(repo: str) -> str:
    return repo.partition("/")[0].lower()
