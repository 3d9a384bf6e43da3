"""What the headers of a model on the disk say, read once.

A vocabulary takes most of the time in which a header is read, and no list shows it. So the header
without its vocabulary is kept in the cache, under a hash of the files' names, sizes and times, and
read there from the second time on. Files that lie beside models have small headers and are read
anew.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import HakaruError, ModelDamaged
from hakaru.formats.gguf import has_weights
from hakaru.formats.header_file import without_vocabulary, write_header_only
from hakaru.formats.header_values import Array
from hakaru.formats.metadata import MetadataValue
from hakaru.models.kinds import DRAFT, likely_role
from hakaru.models.model import Model, read_model
from hakaru.models.sources.checkpoint import as_gguf
from hakaru.models.sources.choice import role_of_file
from hakaru.models.sources.found import Found
from hakaru.models.sources.on_disk import OnDisk
from hakaru.models.spoken_type import OWN_RECIPE, preset_of
from hakaru.places import header_dir

PRESET: Final = "hakaru.listed.preset"
"""The key of the preset in a header that is kept; an empty text for none."""
CHECKPOINT: Final = "checkpoint"


class Content(Struct, frozen=True, kw_only=True):
    """What a model on the disk is. At most one of `model` and `problem` is there."""

    role: str | None = None  # beside a model, as in `kinds`; None: a model
    model: Model | None = None
    preset: str = ""  # whose types the tensors have; empty for none
    is_checkpoint: bool = False  # safetensors, which become a GGUF file first
    problem: HakaruError | None = None


def content_of(item: OnDisk) -> Content:
    """What `item` is. No error is raised: it is a part of the answer."""
    is_checkpoint = not item.path.name.lower().endswith(".gguf") and item.path.is_dir()
    try:
        if item.problem:
            raise item.problem
        if not (known := _known(item)) and not is_checkpoint and (role := role_of_file(item.path)):
            return Content(role=role)
        model, preset = known or _read(item, is_checkpoint=is_checkpoint)
    except HakaruError as error:
        role = likely_role(item.path.name)
        return Content(role=role, problem=error, is_checkpoint=is_checkpoint)
    except OSError as error:
        damage = ModelDamaged(
            "{path}: cannot be read ({reason}).", path=item.path, reason=error.strerror
        )
        return Content(problem=damage)
    role = DRAFT if model.is_draft_head else None
    return Content(role=role, model=model, preset=preset, is_checkpoint=is_checkpoint)


def _read(item: OnDisk, *, is_checkpoint: bool) -> tuple[Model, str]:
    """The model and its preset, from its own files; its header is kept."""
    if is_checkpoint:
        found = as_gguf(Found(path=item.path, origin=str(item.path), complete=True))
        complete = all(has_weights(file) for file in item.files)
        model = replace(read_model(found.path), complete=complete, file_bytes=item.bytes)
    else:
        model = read_model(item.path)
    preset = preset_of(model) or ""
    _keep(item, model, preset)
    return model, preset


def _known(item: OnDisk) -> tuple[Model, str] | None:
    """The same from the header that was kept; None where there is none, or none that is whole."""
    with suppress(HakaruError, OSError):
        kept = read_model(_kept(item))
        complete = all(has_weights(file) for file in item.files)
        model = replace(
            kept, path=item.path, parts=item.files, file_bytes=item.bytes, complete=complete
        )
        return model, str(kept.metadata.get(PRESET, ""))
    return None


def _keep(item: OnDisk, model: Model, preset: str) -> None:
    own = (f"{model.shape.architecture}.", "general.")
    values: Mapping[str, MetadataValue | None] = {
        key: value.values if isinstance(value, Array) else value
        for key, value in model.metadata.items()
        if (key.startswith(own) and key != "general.alignment") or key == OWN_RECIPE
    }
    plain = {key: value for key, value in values.items() if value is not None}
    plain |= {PRESET: preset, "general.name": model.name}
    types = {t.name: t.type.name for t in model.tensors}
    with suppress(HakaruError):
        write_header_only(
            _kept(item),
            without_vocabulary(plain, model.shape.n_vocab),
            [(t.name, t.shape) for t in model.tensors],
            types,
        )


def _kept(item: OnDisk) -> Path:
    stats = [(str(file), (s := file.stat()).st_size, s.st_mtime_ns) for file in item.files]
    key = hashlib.sha256(repr((str(item.path), stats)).encode()).hexdigest()
    return header_dir("listed") / f"{key[:24]}.gguf"
