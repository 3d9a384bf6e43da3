"""A model as all rooms above see it: hyperparameters and tensors, with llama.cpp's names."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from hakaru.errors import ModelUnknown
from hakaru.formats.gguf import Header, Tensor, has_weights
from hakaru.formats.header_file import header_tensors
from hakaru.formats.header_values import Array, Value
from hakaru.formats.metadata import Metadata
from hakaru.formats.split import read_parts
from hakaru.models.architectures import loaded
from hakaru.models.kinds import DRAFT, no_model, role_of
from hakaru.models.mixture import preset_types
from hakaru.models.presets import NEEDS_IMPORTANCE, preset_named
from hakaru.models.roster import quantizer_facts, roster
from hakaru.models.shape import Shape, shape_of


class Model(Struct, frozen=True, kw_only=True):
    """A model in one file or several. A value that the file does not state is None."""

    path: Path  # of the first part
    parts: tuple[Path, ...]
    complete: bool  # False: a header, then a hole; llama.cpp can lay the file out, but not run it
    name: str
    shape: Shape
    tokenizer_digest: str | None  # equal digests mean equal tokens
    file_bytes: int  # of all parts
    data_offset: int  # the byte of the first part at which the weights begin
    tensors: tuple[Tensor, ...]  # of all parts
    metadata: dict[str, Value]

    def __repr__(self) -> str:  # without the vocabulary in its header
        return f"Model(name={self.name!r}, path={str(self.path)!r}, type={self.type_name!r})"

    @property
    def meta(self) -> Metadata:
        """Typed access to the header's keys."""
        return Metadata(self.path, self.metadata)

    @property
    def title(self) -> str:
        """The name by which its owner knows the model: that of its file without `.gguf` and without
        the number of a part. A file that is only named by a hash has the name in its header.
        """
        stem = re.sub(r"-\d{5}-of-\d{5}$", "", self.path.stem)
        return self.name if re.fullmatch(r"(sha256[-:])?[0-9a-f]{32,}", stem) else stem

    @property
    def is_draft_head(self) -> bool:
        """True if the model only drafts for another model (EAGLE, DFlash, a file of MTP layers)."""
        return role_of(self.metadata, len(self.tensors), {t.name for t in self.tensors}) == DRAFT

    @property
    def loaded(self) -> tuple[Tensor, ...]:
        """The tensors that llama.cpp loads: without draft layers; a tensor of which llama.cpp makes
        two copies stands twice.
        """
        return tuple(loaded(self.meta, self.tensors))

    @property
    def layout_digest(self) -> str:
        """A hash of all that decides the memory of the model: the shape and the tensor table. Equal
        for a file, its stand-in and its parts.
        """
        rows = [(t.name, t.shape, t.type.name) for t in self.tensors]
        return hashlib.sha256(repr((self.shape, rows)).encode()).hexdigest()

    @property
    def n_params(self) -> int:
        """Weights in the file, as llama.cpp counts them: every element of every tensor."""
        return sum(t.n_elements for t in self.tensors)

    @property
    def weights_bytes(self) -> int:
        """Bytes of all tensors, as `llama_model_size` counts them: without padding."""
        return sum(t.n_bytes for t in self.tensors)

    @property
    def bpw(self) -> float:
        """Bits per weight over the whole model."""
        return 8 * self.weights_bytes / self.n_params

    @property
    def is_quantized(self) -> bool:
        """True if any matrix is quantized; False for a model in full precision."""
        return any(t.type.is_quantized for t in self.tensors if len(t.shape) > 1)

    def type_bytes(self) -> dict[str, int]:
        """Bytes per tensor type, the largest first."""
        return _bytes_by_type(self.tensors)

    @property
    def type_name(self) -> str:
        """The type of the file, as people call it: the type of most bytes of the layers'
        matrices.
        """
        layers = [t for t in self.tensors if t.name.startswith("blk.") and len(t.shape) > 1]
        return next(iter(_bytes_by_type(layers or self.tensors)))


def _bytes_by_type(tensors: Iterable[Tensor]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for tensor in tensors:
        totals[tensor.type.name] = totals.get(tensor.type.name, 0) + tensor.n_bytes
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def read_model(path: Path) -> Model:
    """The model in the GGUF file at `path`, which may be any part of a split model. Raises what
    `read_parts` raises, and ModelUnknown for a file that is no language model (a projector, an
    adapter).
    """
    parts, header = read_parts(path)
    path = parts[0]
    meta = Metadata(path, header.metadata)
    architecture = meta.text("general.architecture")
    role = role_of(header.metadata, len(header.tensors), {t.name for t in header.tensors})
    if role and role != DRAFT:
        raise no_model(path, header.metadata, role)
    if architecture is None or not header.tensors:
        raise ModelUnknown(
            "{path}: a GGUF file without {what}; expected a language model.",
            path=path,
            what="general.architecture" if header.tensors else "tensors",
        )
    if f"{architecture}.block_count" not in header.metadata:
        raise ModelUnknown(
            "{path}: architecture '{found}' states no block_count, so it is no language model (a "
            "projector or an adapter?); name the language model's own file.",
            path=path,
            found=architecture,
        )
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    n_vocab = tokens.length if isinstance(tokens, Array) else _rows(header, "token_embd.weight")
    return Model(
        path=path,
        parts=parts,
        complete=all(has_weights(part) for part in parts),
        name=meta.text("general.name") or path.stem,
        shape=shape_of(meta, n_vocab=n_vocab),
        tokenizer_digest=tokens.digest if isinstance(tokens, Array) else None,
        file_bytes=header.file_bytes,
        data_offset=header.data_offset,
        tensors=header.tensors,
        metadata=header.metadata,
    )


def read_language_model(path: Path) -> Model:
    """As `read_model`, but raises ModelUnknown for a draft head, too, which runs only beside its
    model.
    """
    model = read_model(path)
    if model.is_draft_head:
        raise no_model(model.path, model.metadata, DRAFT)
    return model


def as_preset(model: Model, preset: str) -> Model:
    """The model with the types of tensors that llama.cpp's quantizer would choose for `preset`;
    nothing is written. A preset that needs importance data is taken to have it. Raises Misuse for
    an unknown preset.
    """
    preset = preset_named(preset)
    entries = roster(quantizer_facts(model.meta), model.tensors)
    return with_types(model, preset_types(entries, preset, has_imatrix=preset in NEEDS_IMPORTANCE))


def with_types(model: Model, types: Mapping[str, str]) -> Model:
    """The model with other types for the tensors that `types` names; nothing is written."""
    all_types = {t.name: types.get(t.name, t.type.name) for t in model.tensors}
    shapes = ((t.name, t.shape) for t in model.tensors)
    return replace(model, tensors=header_tensors(shapes, all_types))


def _rows(header: Header, name: str) -> int:
    return next((t.shape[-1] for t in header.tensors if t.name == name), 0)
