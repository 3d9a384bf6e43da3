"""Before anything is fetched: which files, and what is known of the model from its header alone."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from hakaru.errors import HakaruError, ModelNotFound, ModelUnknown
from hakaru.hardware.machine import hardware_of
from hakaru.memory.context import Context, any_settings_for
from hakaru.models.model import Model, read_language_model
from hakaru.models.sources.address import parts_at
from hakaru.models.sources.choice import choose, named_file, projector, role
from hakaru.models.sources.find import find_model
from hakaru.models.sources.hub_listing import hub_headers
from hakaru.models.sources.huggingface import find_at_hub, of_checkpoint
from hakaru.models.sources.reference import Address
from hakaru.planning.answer import Fit
from hakaru.planning.budget import room_for_weights
from hakaru.planning.extras import projector_extra
from hakaru.planning.fit import fit
from hakaru.planning.shares import FitVerdict
from hakaru.planning.variations import SMALLER_PRESETS
from hakaru.pulling.download import Download
from hakaru.pulling.keeping import File, file_at_address, file_at_hub
from hakaru.pulling.offers import Offer, offers_named
from hakaru.pulling.ready_made import Taken, smallest_source, take
from hakaru.pulling.speed_seen import speed_from
from hakaru.pulling.ways import Way
from hakaru.pulling.whereabouts import Repository
from hakaru.quantization.how_long import seconds_for
from hakaru.session import Session, nobody_listens

SMALLEST = "Q2_K"
"""The preset that must fit where a smaller file is to be made here."""


class Judge:
    """What `fit` says of the offers of one repository. The header of one tells, by our arithmetic,
    the memory of all; what seems to fit is judged by its own header. A projector (`mmproj`) is
    loaded beside each.
    """

    def __init__(
        self, place: Repository, session: Session, context: Context, mmproj: Path | None = None
    ) -> None:
        self._place, self._context, self._mmproj = place, context, mmproj
        self._session = replace(session, note=nobody_listens, warn=nobody_listens)
        self._model: Model | None = None

    def __call__(self, offer: Offer) -> FitVerdict:
        """The verdict on an offer, as `take` asks for it."""
        if self._model and offer.preset and not self.would_fit(offer.preset):
            return "does_not_fit"
        return self.of(offer).verdict

    def of(self, offer: Offer) -> Fit:
        """The answer of `fit` by the offer's own header."""
        answer = fit(
            str(replace(self._place.wanted, file=offer.choice.name)),
            mmproj=self._mmproj,
            session=self._session,
            **self._context,
        )
        self._model = answer.model
        return answer

    @property
    def beside_bytes(self) -> int:
        """What the projector takes of the room for weights; 0 where none is loaded."""
        if self._mmproj is None:
            return 0
        return projector_extra(self._mmproj, ask_engine=False).bytes

    def would_fit(self, preset: str) -> bool:
        """Whether the model would fit at a preset. True also where only its own header can tell."""
        assert self._model  # the header of another offer was read
        answer = _at_preset(self._model, preset, self._session, self._context, self._mmproj)
        return answer is None or answer.verdict != "does_not_fit"

    def making(self, source: Offer) -> tuple[int | None, float | None]:
        """Of the file that can be made here of a source: its bytes at most, and the seconds that it
        takes to find and write the best one. None: not known.
        """
        model, session = self._model, self._session
        assert model  # the header of an offer was read
        machine = session.machine
        n_bytes: int | None = None
        with suppress(HakaruError):
            settings = any_settings_for(model, **self._context)
            room = room_for_weights(model, hardware_of(machine, uses_gpu=machine.has_gpu), settings)
            total = room.total_bytes - self.beside_bytes
            n_bytes = min(total, source.bytes or total) if total > 0 else None
        if (source.bytes or 0) > machine.memory.total_bytes:  # it is read from the disk, each time
            return n_bytes, None
        return n_bytes, seconds_for(model.n_params, session.ledger, machine.fingerprint)


def from_hub(place: Repository, session: Session, context: Context, *, vision: bool) -> Download:
    """What is to be fetched of a repository. Raises ModelError and Offline."""
    where, wanted, listing = str(place.wanted), place.wanted.file, place.listing
    named = named_file(listing.files, wanted) if wanted else None
    if named and role(named.name, None):
        return _download(place, named.parts, session, origin=str(place.wanted))
    if not place.offers:
        return _checkpoint(place, session, context)
    eyes = projector(listing.files) if vision else None
    if vision and eyes is None:
        raise ModelNotFound(
            "{where}: has no projector, so the model cannot see; leave `vision` out, or name "
            "another repository.",
            where=where,
        )
    header = find_model(str(replace(place.wanted, file=eyes))).path if eyes else None
    judge, taken = Judge(place, session, context, header), None
    if wanted:
        meant = offers_named(where, place.offers, wanted)
        choice = choose(where, tuple(offer.choice for offer in meant), None)
        offer = next(offer for offer in meant if offer.choice == choice)
    else:
        taken = _possible(take(place.offers, judge), judge)
        offer = taken.offer
    answer = judge.of(offer)
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
        beside_bytes=judge.beside_bytes,
        ways=_ways(place, taken, judge, session) if taken else (),
        others=tuple(o.described for o in others if o.preset)[:5],
    )


def _at_preset(
    model: Model, preset: str, session: Session, context: Context, mmproj: Path | None = None
) -> Fit | None:
    """What `fit` says of the model at a preset; None for an architecture without our arithmetic, or
    without a mixture.
    """
    try:
        return fit(
            model, preset=preset, mmproj=mmproj, source="computed", session=session, **context
        )
    except ModelUnknown:
        return None


def _ways(place: Repository, taken: Taken, judge: Judge, session: Session) -> tuple[Way, ...]:
    """What was taken, and the other way beside it. Empty where there is no other: nothing is
    published from which a file can be made, the source itself fits, or nothing does.
    """
    source = smallest_source(place.offers)
    is_ready = taken.way == "ready"
    if source is None or (is_ready and (taken.verdict == "does_not_fit" or taken.offer == source)):
        return ()
    made_bytes, quantizing_s = judge.making(source)
    if made_bytes and source.bytes and made_bytes >= source.bytes:
        return ()
    ready = taken.offer if is_ready else place.offers[-1]  # the smallest
    ways = (
        replace(_way(place, ready, session), fits=is_ready),
        replace(
            _way(place, source, session),
            kind="make",
            made_bytes=made_bytes,
            quantizing_s=quantizing_s,
        ),
    )
    return ways if is_ready else ways[::-1]


def _way(place: Repository, offer: Offer, session: Session) -> Way:
    """A published file as it is."""
    files = _files(place, offer.choice.parts)
    missing = [file.missing_bytes for file in files]
    return Way(
        kind="ready",
        label=offer.label,
        bytes=offer.bytes,
        missing_bytes=None if None in missing else sum(n or 0 for n in missing),
        bytes_per_s=speed_from(session.ledger, files[0].remote.url),
    )


def _files(place: Repository, names: Sequence[str]) -> tuple[File, ...]:
    headers, revision = hub_headers(), place.wanted.revision
    return tuple(file_at_hub(place.listing, name, revision, headers) for name in names)


def _possible(taken: Taken, judge: Judge) -> Taken:
    """What was taken; as it is where not even the smallest file that could be made would fit, or
    where `quantize` would know no budget.
    """
    if taken.way == "make" and not (judge.would_fit(SMALLEST) and judge.making(taken.offer)[0]):
        return replace(taken, way="ready")
    return taken


def _checkpoint(place: Repository, session: Session, context: Context) -> Download:
    """The original weights, from which `quantize` makes a GGUF file. The verdict is that on the
    most exact type that fits, else on the smallest.
    """
    found = find_at_hub(place.wanted)  # says what is there instead, if it is no model
    weights = {path.name for path in found.path.iterdir()} if found.path.is_dir() else set()
    names = of_checkpoint(place.listing.files, weights & set(place.listing.files))
    first = "config.json"  # by its folder the checkpoint is found afterwards
    ordered = (first, *(name for name in names if name != first))
    model = read_language_model(find_model(str(place.wanted)).path)
    download = _download(place, ordered, session, origin=str(place.wanted))
    quiet = replace(session, note=nobody_listens, warn=nobody_listens)
    for preset in SMALLER_PRESETS:
        answer = _at_preset(model, preset, quiet, context)
        if answer is None or answer.verdict == "fits" or preset == SMALLEST:
            return replace(download, model=model, fit=answer, becomes=preset if answer else None)
    raise AssertionError("unreachable")


def _download(
    place: Repository, names: tuple[str, ...], session: Session, *, origin: str
) -> Download:
    listing, files = place.listing, _files(place, names)
    return Download(
        origin=origin,
        files=files,
        model=None,
        fit=None,
        licence=listing.licence,
        is_gated=listing.is_gated,
        entry=place.entry,
        bytes_per_s=speed_from(session.ledger, files[0].remote.url),
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
        bytes_per_s=speed_from(session.ledger, files[0].remote.url),
    )
