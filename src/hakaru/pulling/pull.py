"""A model from elsewhere onto this disk: the verb behind `hakaru pull`."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Unpack

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import HakaruError, ModelError, Offline
from hakaru.memory.context import Context
from hakaru.models.model import Model, as_preset, read_model
from hakaru.models.sources.address import pulled_from
from hakaru.models.sources.find import find_model, parsed, read_whole
from hakaru.models.sources.found import Found
from hakaru.models.sources.huggingface import in_cache
from hakaru.models.sources.reference import Address, HubFile, Local, OllamaName, Word
from hakaru.planning.here import limited
from hakaru.pulling.download import Download
from hakaru.pulling.fetch import Fetched, fetch
from hakaru.pulling.offers import type_in
from hakaru.pulling.prepare import from_address, from_hub
from hakaru.pulling.whereabouts import Ask, entry_named, places_of, repository
from hakaru.session import Session, nobody_listens
from hakaru.units import size_in_bytes


class Pulled(Struct, frozen=True, kw_only=True):
    """A model on this disk."""

    origin: str  # by which it is found
    path: Path
    download: Download | None  # None: nothing of it is elsewhere
    fetched: Fetched | None  # None: nothing was fetched
    model: Model | None  # as it lies there; None for a projector or a checkpoint
    predicted_bytes: int | None = None
    """Of the weights, as the catalogue's hyperparameters say; None where nothing was predicted."""
    made: Path | None = None  # the smaller file that was made of it

    @property
    def is_as_judged(self) -> bool | None:
        """Whether its header is that by which it was judged; None: no header was judged."""
        judged = self.download.model if self.download else None
        if self.model is None or judged is None:
            return None
        return self.model.layout_digest == judged.layout_digest


def pull(
    model: str | Path,
    *,
    vision: bool = False,
    force: bool = False,
    memory: str | int | None = None,
    dry_run: bool = False,
    ask: Ask | None = None,
    hear: Callable[[Download], None] = lambda download: None,
    session: Session | None = None,
    **context: Unpack[Context],
) -> Pulled:
    """Fetch `model` onto this disk and check it.

    Example: `pull("hf:Qwen/Qwen3-8B-GGUF").path`.

    `model` names a repository of the Hugging Face Hub, a web address or a model of the catalogue,
    with or without a type. Without one the type is taken that fits this machine best; if no
    published one fits, a source is fetched, and a file that fits is made of it. `vision` also
    fetches the projector. `hear` is called with what will be fetched before the first byte comes;
    with `dry_run` none comes. What was interrupted goes on where it was when the call is made
    again. `ask` chooses where a name has several places; None: nobody is there to be asked. With
    `force` a model that does not fit this machine is fetched, too. `memory` is the most that may be
    used of this machine, as in `fit`.

    Raises Misuse, ModelError, Offline, DoesNotFit, and MachineError for a full disk.
    """
    session = _limited(session or Session.here(keeps=False), memory)
    origin = parsed(model)
    if isinstance(origin, Local | OllamaName):
        return _here(find_model(model))
    try:
        download = _prepared(origin, session, context, vision=vision, ask=ask)
    except Offline:
        if here := _without_network(model):
            return here
        raise
    hear(download)
    if download.missing_bytes != 0:
        if not force:
            download.check_memory()
        download.check_disk()
    if dry_run:
        return Pulled(
            origin=download.origin, path=download.path, download=download, fetched=None, model=None
        )
    fetched = fetch(download.files, session)
    pulled = _checked(download, fetched)
    return replace(pulled, made=_made(download, session, context)) if download.makes else pulled


def already_here(model: str | Path) -> Path | None:
    """Where the model lies that `model` means, if it can only mean one on this disk; None where
    something has to be fetched, or to be chosen. The network is not asked. Raises Misuse.
    """
    origin = parsed(model)
    with suppress(ModelError):
        if isinstance(origin, HubFile) and (found := in_cache(origin)):
            return found.path
        if isinstance(origin, Word) and (entry := entry_named(origin.text)):
            cached = [
                found.path for place in places_of(entry, origin.text) if (found := in_cache(place))
            ]
            return cached[0] if len(cached) == 1 else None
        if isinstance(origin, Address):
            return pulled_from(origin)
    return None


def _limited(session: Session, memory: str | int | None) -> Session:
    """The session on a machine of which no more than `memory` may be used."""
    if memory is None:
        return session
    limit, real = size_in_bytes(memory), session.machine_now
    return replace(
        session,
        machine=limited(session.machine, limit, session.warn),
        look=lambda: limited(real(), limit, nobody_listens),
    )


def _prepared(
    origin: HubFile | Address | Word,
    session: Session,
    context: Context,
    *,
    vision: bool,
    ask: Ask | None,
) -> Download:
    if isinstance(origin, Address):
        return from_address(origin, session, context)
    if isinstance(origin, Word) and not entry_named(origin.text):
        find_model(origin.text)  # raises what is wrong with the word
    return from_hub(repository(origin, ask), session, context, vision=vision)


def _here(found: Found) -> Pulled:
    """A model that was named by its file or its Ollama name. Raises what `read_whole` raises."""
    model = read_whole(found)
    return Pulled(origin=found.origin, path=found.path, download=None, fetched=None, model=model)


def _without_network(model: str | Path) -> Pulled | None:
    """The model where it lies whole on this disk; None where it does not."""
    try:
        found = find_model(model)
    except HakaruError:
        return None
    return _here(found) if found.complete and found.path.is_file() else None


def _checked(download: Download, fetched: Fetched) -> Pulled:
    """The model as it lies on the disk now."""
    is_model = download.fit is not None and download.becomes is None
    model = read_model(download.path) if is_model else None
    return Pulled(
        origin=download.origin,
        path=download.path,
        download=download,
        fetched=fetched if fetched.bytes else None,
        model=model,
        predicted_bytes=_predicted(download) if model else None,
    )


def _made(download: Download, session: Session, context: Context) -> Path:
    """The file that fits, made of the source that was fetched. Raises what `quantize` raises."""
    from hakaru.quantization.quantize import quantize

    if download.beside_bytes:  # `fit` knows of no projector
        size = download.made_bytes
        return quantize(download.origin, size=size, session=session, **context).path
    return quantize(download.origin, fit=True, session=session, **context).path


def _predicted(download: Download) -> int | None:
    """The bytes of the weights that the catalogue predicts for this type."""
    type_ = type_in(download.path.name)
    if download.entry is None or type_ is None:
        return None
    try:
        stand_in = read_model(find_model(download.entry.id).path)
        return as_preset(stand_in, type_).weights_bytes
    except HakaruError:  # a type of somebody's own, or an architecture without a mixture
        return None
