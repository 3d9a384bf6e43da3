"""A new entry of the catalogue, read from a model's own header: `hakaru catalog add FILE|hf:…`.

The entry keeps the header's numbers and its whole tensor table, so that it is answered to the byte
as the file itself would be, also for an architecture of which hakaru has no record. Types are not
kept: every entry stands for the model in 16 bits.
"""

import re
from pathlib import Path
from typing import Final

from msgspec import Struct

from hakaru.errors import Misuse
from hakaru.formats.header_values import Array
from hakaru.models.architectures import architecture
from hakaru.models.catalogue import KnownModel, known_models
from hakaru.models.hyperparameters import without_architecture
from hakaru.models.licences import licence_from_hub
from hakaru.models.model import Model, read_language_model
from hakaru.models.own_catalogue import add_entry
from hakaru.models.sources.find import find_model
from hakaru.models.sources.found import Found
from hakaru.models.sources.reference import HubFile, Word, parse_reference

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_AT_HUB: Final = re.compile(r"https://huggingface\.co/([\w-][\w.-]*/[\w.-]+)/?")
_BASE_KEYS: Final = ("general.base_model.0.repo_url", "general.source.url", "general.repo_url")


class Added(Struct, frozen=True, kw_only=True):
    """An entry that was written."""

    model: KnownModel
    path: Path  # of the entry's file
    source: str  # what the header was read from


def add_model(reference: str, day: str, name: str | None = None) -> Added:
    """Add the model that `reference` means, under `name` or the name of its file or repository.

    Raises Misuse for a name that the catalogue has or that is no name, and what `find_model` and
    `read_language_model` raise.
    """
    if isinstance(parse_reference(reference), Word):
        raise Misuse(
            "'{found}': expected a GGUF file, a folder, hf:org/repo, https://… or ollama:name.",
            found=reference,
        )
    found = find_model(reference)
    header = read_language_model(found.path)
    model = entry_of(header, found, name or default_name(header, found))
    if any(model.id == known.id for known in known_models()):
        raise Misuse(
            "'{name}': the catalogue that comes with hakaru has a model of this name; choose "
            "another `name`.",
            name=model.id,
        )
    return Added(model=model, path=add_entry(model, found.origin, day), source=found.origin)


def default_name(header: Model, found: Found) -> str:
    """The name of the repository without `-GGUF` at its end, else of the file, in small letters."""
    repo = _repo_of(found)
    text = repo.partition("/")[2] if repo else header.title
    text = re.sub(r"[-_.]gguf$", "", text.lower())
    return re.sub(r"[^a-z0-9._-]+", "-", text).strip("-._")


def entry_of(header: Model, found: Found, name: str) -> KnownModel:
    """The entry of a model whose header was read. Raises Misuse if `name` cannot be one."""
    if not _NAME.fullmatch(name):
        raise Misuse(
            "`name` is '{found}', expected small letters, digits, dots and dashes, such as "
            "my-model-8b.",
            found=name,
        )
    made = header.shape.architecture
    repo = _repo_of(found)
    original = found.base_repo or _original_in(header) or repo
    is_gguf = repo is not None and found.stored is None
    return KnownModel(
        id=name,
        name=header.name,
        architecture=made,
        hyperparameters=without_architecture(made, header.metadata),
        n_params=header.n_params,
        n_vocab=header.shape.n_vocab,
        tied=all(tensor.name != "output.weight" for tensor in header.tensors),
        license=licence_from_hub(header.meta.text("general.license")),
        hf_repo=original or "",
        tasks=("embedding",) if architecture(made).purpose == "embedding" else (),
        languages=_languages(header),
        gguf_repos=(repo,) if repo and is_gguf else (),
        table=tuple((tensor.name, tensor.shape) for tensor in header.tensors),
    )


def _repo_of(found: Found) -> str | None:
    """The repository at the Hub from which the header was read."""
    if not found.origin.startswith("hf:"):
        return None
    origin = parse_reference(found.origin)
    return origin.repo if isinstance(origin, HubFile) else None


def _original_in(header: Model) -> str | None:
    """The repository of the original weights, as the converter wrote it into the header."""
    urls = (header.meta.text(key) for key in _BASE_KEYS)
    return next((match[1] for url in urls if url and (match := _AT_HUB.fullmatch(url))), None)


def _languages(header: Model) -> tuple[str, ...]:
    value = header.metadata.get("general.languages")
    texts = value.values or () if isinstance(value, Array) else ()
    return tuple(str(text) for text in texts if re.fullmatch(r"[a-z]{2,3}", str(text)))
