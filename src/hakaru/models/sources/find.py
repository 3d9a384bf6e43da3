"""The front door: from the text that a person typed to a local file that can be read.

A model on another machine becomes a stand-in, a true header and a hole, so that everything behind
this door works on local files alone. `reference` lists the texts that a person can type.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from hakaru.errors import (
    HakaruError,
    ModelDamaged,
    ModelNotFound,
    ModelUnknown,
    check_name,
    system_reason,
)
from hakaru.formats.gguf import has_weights, read_header
from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.formats.pieces import cut_up, joining, piece_of, pieces_beside
from hakaru.formats.split import part_names
from hakaru.models.by_id import entry_called
from hakaru.models.catalogue import KnownModel
from hakaru.models.model import Model, read_language_model
from hakaru.models.presets import USUAL
from hakaru.models.sources.checkpoint import LARGEST_CONFIG, as_gguf
from hakaru.models.sources.choice import choices, choose, companions_of, roles_of_files
from hakaru.models.sources.found import Found, Stored
from hakaru.models.sources.reference import (
    Address,
    HubFile,
    Local,
    OllamaName,
    Origin,
    Word,
    parse_reference,
)
from hakaru.models.sources.shards import refuse_other_folders
from hakaru.models.stored_quantization import REFUSES
from hakaru.places import header_dir

_HUB_NAME = re.compile(r"[\w-][\w.-]*/(?!.*\.gguf)[\w-][\w.:-]*", re.IGNORECASE)
"""`org/repo`, as Hugging Face's pages show it to be copied, and no path of a GGUF file."""
Reference = str | Path | Model
"""What names a model: a text that `reference` lists, a path, or the model that was read before."""


def find_model(reference: Reference) -> Found:
    """The model that `reference` means. Nothing but headers is fetched.

    Raises Misuse (no reference), ModelNotFound, ModelDamaged, ModelUnknown and Offline.
    """
    if isinstance(reference, Model):
        path, complete = reference.path, reference.complete
        return Found(path=path, origin=str(path), complete=complete)
    found = _find(reference)
    return as_gguf(found) if found.path.is_dir() else found


def _find(reference: str | Path) -> Found:
    match parsed(reference):
        case Local(path=path):
            if _HUB_NAME.fullmatch(str(reference)) and not path.exists():
                raise ModelNotFound(
                    "{path}: there is no such file; a repository of Hugging Face is named {hub}.",
                    path=path,
                    hub=f"hf:{reference}",
                )
            return _find_local(path)
        case HubFile() as wanted:
            from hakaru.models.sources.huggingface import find_at_hub

            return find_at_hub(wanted)
        case Address() as address:
            from hakaru.models.sources.address import find_at_address

            return find_at_address(address)
        case OllamaName() as name:
            from hakaru.models.sources.ollama import find_in_ollama

            return find_in_ollama(name)
        case Word(text=text):
            return _find_in_catalogue(text)


def whole_model(reference: Reference) -> Model:
    """The model that `reference` means, with its weights on this machine. Raises what `find_model`
    and `read_whole` raise.
    """
    found = find_model(reference)
    return _whole(reference, found) if isinstance(reference, Model) else read_whole(found)


def read_whole(found: Found, *, preset: str | None = None) -> Model:
    """The model at `found`, with its weights on this machine. `preset` is the type that is asked
    for.

    Raises what `read_model` raises, and ModelNotFound for a stand-in, with the command that brings
    the rest.
    """
    return _whole(read_language_model(found.path), found, preset)


def _whole(model: Model, found: Found, preset: str | None = None) -> Model:
    if model.complete:
        return model
    if found.stored:
        raise _unconverted(found, found.stored)
    if found.fetch is None and found.gguf_search is None:
        raise ModelNotFound(
            "{path}: is only a header, its weights are not here; name a whole file.",
            path=found.path,
        )
    raise _not_fetched(found, preset)


def _unconverted(found: Found, stored: Stored) -> HakaruError:
    """The reason why a checkpoint cannot be run, quantized or measured as it is."""
    if stored.converter == REFUSES:
        return ModelUnknown(
            "{origin}: is a checkpoint ({label}) that llama.cpp's converter refuses; fetch a GGUF "
            "file of the model, or start from the original checkpoint.",
            origin=found.origin,
            label=stored.quantization or stored.class_name,
        )
    if stored.complete:
        return ModelNotFound(
            "{origin}: is a Hugging Face checkpoint, which becomes a GGUF file first; make one "
            "with: {command}",
            origin=found.origin,
            command=found.fetch,
        )
    return _not_fetched(found)


def _not_fetched(found: Found, preset: str | None = None) -> ModelNotFound:
    if found.gguf_search:
        return ModelNotFound(
            "{origin}: its weights are not on this machine, only its header. Fetch one of its GGUF "
            "files and name that file. {check} checks one and says how to fetch it; this lists "
            "them: {command}",
            origin=found.origin,
            check=f"hakaru fit hf:ORG/REPO:{preset or USUAL[4]}",
            command=found.gguf_search,
        )
    return ModelNotFound(
        "{origin}: its weights are not on this machine, only its header; fetch them with: "
        "{command}",
        origin=found.origin,
        command=found.fetch_at(preset),
    )


def parsed(reference: str | Path) -> Origin:
    """The reference taken apart. Raises Misuse."""
    if isinstance(reference, Path):
        return Local(path=reference.absolute())
    if reference.lower().startswith(("http:", "https:")):
        from hakaru.models.sources.hub_listing import hub_endpoint

        return parse_reference(reference, endpoint=hub_endpoint())
    return parse_reference(reference)


def _find_local(path: Path) -> Found:
    """The model at `path`: a file, any part of a split model, or a folder."""
    check_name(str(path))
    try:
        return _find_at(path)
    except OSError as error:
        raise ModelNotFound(
            "{path}: cannot be read ({reason}).", path=path, reason=system_reason(error)
        ) from error


def _find_at(path: Path) -> Found:
    if path.is_dir():
        return _find_in_folder(path)
    first = path.with_name(part_names(path.name)[0])
    path = first if first.exists() else path
    _refuse_piece(path)
    return Found(path=path, origin=str(path), complete=path.is_file() and has_weights(path))


def _refuse_piece(path: Path) -> None:
    """Raises ModelUnknown or ModelNotFound if `path` is a piece of a file that was cut up, or a
    missing file whose pieces are there.
    """
    if not path.exists():
        names = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
        if pieces := cut_up(names).get(path.name):
            raise joining(path, path.name, pieces)
        return
    piece = piece_of(path.name)
    if piece is None or not (pieces := pieces_beside(path)):
        return
    try:
        if not piece.certain:
            read_header(path)
            return
    except ModelDamaged as error:
        raise joining(path, piece.whole, pieces) from error
    raise joining(path, piece.whole, pieces)


def _find_in_folder(folder: Path) -> Found:
    """The only GGUF model in the folder, or the folder itself if it is a Hugging Face
    checkpoint.
    """
    sizes: dict[str, int | None] = {
        file.name: file.stat().st_size for file in folder.iterdir() if file.is_file()
    }
    paths = {name: folder / name for name in sizes}
    roles = roles_of_files(paths)
    models = choices(sizes, roles)
    if not models:
        refuse_other_folders(
            folder, _with_subfolders(folder, sizes), lambda name: _small(folder / name)
        )
        if "config.json" in sizes:
            return Found(path=folder, origin=str(folder), complete=False)
    path = folder / choose(str(folder), models, None, sizes, roles).name
    return Found(
        path=path,
        origin=str(path),
        complete=has_weights(path),
        companions=companions_of(sizes, roles, paths),
    )


def _with_subfolders(folder: Path, sizes: Mapping[str, int | None]) -> dict[str, int | None]:
    """The folder's files, and the names of files one folder below, by which formats of other
    programs are told.
    """
    below = {f"{file.parent.name}/{file.name}": None for file in folder.glob("*/*")}
    return {**below, **sizes}


def _small(path: Path) -> bytes | None:
    with suppress(OSError), path.open("rb") as file:
        return file.read(LARGEST_CONFIG)
    return None


def _find_in_catalogue(word: str) -> Found:
    return _stand_in_for(entry_called(word))


def _stand_in_for(entry: KnownModel) -> Found:
    """A header from the hyperparameters of a catalogue's entry, in F16, and a hole in the place of
    the weights.
    """
    values = {"general.name": entry.name, **without_vocabulary(entry.metadata(), entry.n_vocab)}
    content = json.dumps([values, [*entry.tensors()]]).encode()
    path = header_dir("catalogue", hashlib.sha256(content).hexdigest()[:16]) / f"{entry.id}.gguf"
    if not path.exists():
        write_header_only(path, values, entry.tensors())
    return Found(
        path=path,
        origin=f"catalogue:{entry.id}",
        complete=False,
        fetch=f"hakaru pull {entry.id}" if entry.gguf_repos else None,
        base_repo=None if entry.gguf_repos else entry.hf_repo or None,
    )
