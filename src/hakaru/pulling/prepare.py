"""Before anything is fetched: which files, and what is known of the model from its header alone."""

from dataclasses import replace
from pathlib import Path

from hakaru.errors import ModelNotFound, ModelUnknown
from hakaru.memory.context import Context
from hakaru.models.model import Model, read_language_model
from hakaru.models.sources.address import parts_at
from hakaru.models.sources.choice import choose, named_file, projector, role
from hakaru.models.sources.find import find_model
from hakaru.models.sources.hub_listing import hub_headers
from hakaru.models.sources.huggingface import find_at_hub, of_checkpoint
from hakaru.models.sources.reference import Address
from hakaru.planning.answer import Fit
from hakaru.planning.fit import fit
from hakaru.planning.shares import FitVerdict
from hakaru.pulling.download import Download
from hakaru.pulling.fetch import usual_speed
from hakaru.pulling.keeping import File, file_at_address, file_at_hub
from hakaru.pulling.offers import Offer, offers_named
from hakaru.pulling.ready_made import Taken, take
from hakaru.pulling.whereabouts import Repository
from hakaru.session import Session, nobody_listens

SMALLEST = "Q2_K"
"""The preset that must fit where a smaller file is to be made here."""


class Judge:
    """What `fit` says of the offers of one repository. The header of one tells, by our arithmetic,
    the memory of all; what seems to fit is judged by its own header.
    """

    def __init__(self, place: Repository, session: Session, context: Context) -> None:
        self._place, self._context = place, context
        self._session = replace(session, note=nobody_listens, warn=nobody_listens)
        self._model: Model | None = None

    def __call__(self, offer: Offer) -> FitVerdict:
        """The verdict on an offer, as `take` asks for it."""
        if self._model and offer.preset and not self.would_fit(offer.preset):
            return "does_not_fit"
        return self.of(offer).verdict

    def of(self, offer: Offer, mmproj: Path | None = None) -> Fit:
        """The answer of `fit` by the offer's own header."""
        answer = fit(
            str(replace(self._place.wanted, file=offer.choice.name)),
            mmproj=mmproj,
            session=self._session,
            **self._context,
        )
        self._model = answer.model
        return answer

    def would_fit(self, preset: str) -> bool:
        """Whether the model would fit at a preset. True also where only its own header can tell."""
        assert self._model  # the header of another offer was read
        try:
            answer = fit(
                self._model,
                preset=preset,
                source="computed",
                session=self._session,
                **self._context,
            )
        except ModelUnknown:  # an architecture without our arithmetic, or without a mixture
            return True
        return answer.verdict != "does_not_fit"


def from_hub(place: Repository, session: Session, context: Context, *, vision: bool) -> Download:
    """What is to be fetched of a repository. Raises ModelError and Offline."""
    where, wanted, listing = str(place.wanted), place.wanted.file, place.listing
    named = named_file(listing.files, wanted) if wanted else None
    if named and role(named.name, None):
        return _download(place, named.parts, session, origin=str(place.wanted))
    if not place.offers:
        return _checkpoint(place, session)
    judge, taken = Judge(place, session, context), None
    if wanted:
        meant = offers_named(where, place.offers, wanted)
        choice = choose(where, tuple(offer.choice for offer in meant), None)
        offer = next(offer for offer in meant if offer.choice == choice)
    else:
        taken = _possible(take(place.offers, judge), judge)
        offer = taken.offer
    eyes = projector(listing.files) if vision else None
    if vision and eyes is None:
        raise ModelNotFound(
            "{where}: has no projector, so the model cannot see; leave `vision` out, or name "
            "another repository.",
            where=where,
        )
    header = find_model(str(replace(place.wanted, file=eyes))).path if eyes else None
    answer = judge.of(offer, header)
    others = [o for o in place.offers if (o.bytes or 0) < (offer.bytes or 0)]
    download = _download(
        place,
        (*offer.choice.parts, *([eyes] if eyes else [])),
        session,
        origin=str(replace(place.wanted, file=offer.choice.name)),
    )
    return replace(
        download,
        model=answer.model,
        fit=answer,
        taken=taken,
        others=tuple(o.described for o in others if o.preset)[:5],
    )


def _possible(taken: Taken, judge: Judge) -> Taken:
    """What was taken; as it is where not even the smallest file that could be made would fit."""
    if taken.way == "make" and not judge.would_fit(SMALLEST):
        return replace(taken, way="ready")
    return taken


def _checkpoint(place: Repository, session: Session) -> Download:
    """The original weights, from which `quantize` makes a GGUF file."""
    found = find_at_hub(place.wanted)  # says what is there instead, if it is no model
    weights = {path.name for path in found.path.iterdir()} if found.path.is_dir() else set()
    names = of_checkpoint(place.listing.files, weights & set(place.listing.files))
    first = "config.json"  # by its folder the checkpoint is found afterwards
    ordered = (first, *(name for name in names if name != first))
    model = read_language_model(find_model(str(place.wanted)).path)
    return replace(_download(place, ordered, session, origin=str(place.wanted)), model=model)


def _download(
    place: Repository, names: tuple[str, ...], session: Session, *, origin: str
) -> Download:
    listing, headers = place.listing, hub_headers()
    files = tuple(file_at_hub(listing, name, place.wanted.revision, headers) for name in names)
    return Download(
        origin=origin,
        files=files,
        model=None,
        fit=None,
        licence=listing.licence,
        is_gated=listing.is_gated,
        entry=place.entry,
        bytes_per_s=usual_speed(files, session),
    )


def from_address(address: Address, session: Session, context: Context) -> Download:
    """What is to be fetched from a web address. Raises ModelError and Offline."""
    found = find_model(str(address))
    answer = fit(str(address), session=replace(session, note=nobody_listens), **context)
    files: list[File] = []
    for (url, kept), header in zip(parts_at(address), answer.model.parts, strict=True):
        file = file_at_address(url, kept)
        size = header.stat().st_size
        files.append(replace(file, remote=replace(file.remote, bytes=size)))
    return Download(
        origin=found.origin,
        files=tuple(files),
        model=answer.model,
        fit=answer,
        bytes_per_s=usual_speed(files, session),
    )
