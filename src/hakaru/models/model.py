"""A model as the rest of the house sees it: hyperparameters and tensors, with llama.cpp's names."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One model file, or the first of its `parts`. What the file does not state is None.

    `complete` is False where only the header is here, followed by a hole: such a file can be laid
    out, but not run.
    """

    path: Path
    parts: tuple[Path, ...]
    complete: bool
    name: str
    shape: Shape
    tokenizer_digest: str | None
    file_bytes: int
    data_offset: int
    tensors: tuple[Tensor, ...]
    metadata: dict[str, Value] = field(repr=False, compare=False)

    @property
    def meta(self) -> Metadata:
        """Typed access to the header's keys."""
        return Metadata(self.path, self.metadata)

    @property
    def is_draft_head(self) -> bool:
        """Whether it only drafts for another model (EAGLE, DFlash, a file of MTP layers)."""
        return role_of(self.metadata, len(self.tensors), {t.name for t in self.tensors}) == DRAFT

    @property
    def loaded(self) -> tuple[Tensor, ...]:
        """The tensors that llama.cpp gives a place in memory: without draft layers, with a second
        copy where it makes one.
        """
        return tuple(loaded(self.meta, self.tensors))

    @property
    def layout_digest(self) -> str:
        """What decides its memory: the architecture and the tensor table. Equal for a file, its
        stand-in and its parts.
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
        """Whether matrices of it were quantized; a model in full precision has none."""
        return any(t.type.is_quantized for t in self.tensors if len(t.shape) > 1)

    def type_bytes(self) -> dict[str, int]:
        """Bytes per tensor type, the largest first."""
        return _bytes_by_type(self.tensors)

    @property
    def type_name(self) -> str:
        """The type that most bytes of the layers' matrices have, which is what people call the
        file's type.
        """
        layers = [t for t in self.tensors if t.name.startswith("blk.") and len(t.shape) > 1]
        return next(iter(_bytes_by_type(layers or self.tensors)))


def _bytes_by_type(tensors: Iterable[Tensor]) -> dict[str, int]:
    totals: dict[str, int] = {}
    for tensor in tensors:
        totals[tensor.type.name] = totals.get(tensor.type.name, 0) + tensor.n_bytes
    return dict(sorted(totals.items(), key=lambda item: -item[1]))


def read_model(path: Path) -> Model:
    """The model in the GGUF file at `path`, which may be any part of a split one. Raises what
    `read_parts` raises, and ModelUnknown for a file that is no text model (a projector, an
    adapter).
    """
    parts, header = read_parts(path)
    path = parts[0]
    meta = Metadata(path, header.metadata)
    architecture = meta.text("general.architecture")
    role = role_of(header.metadata, len(header.tensors), {t.name for t in header.tensors})
    if role not in {None, DRAFT}:
        raise no_model(path, header.metadata, role or "")
    if architecture is None or not header.tensors:
        raise ModelUnknown(
            "{path}: a GGUF file without {what}; expected a language model.",
            path=path,
            what="general.architecture" if header.tensors else "tensors",
        )
    if f"{architecture}.block_count" not in header.metadata:
        raise ModelUnknown(
            "{path}: architecture '{found}' states no block_count, so it is no language model (a "
            "projector or an adapter?); "
            "name the language model's own file.",
            path=path,
            found=architecture,
        )
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    n_vocab = tokens.length if isinstance(tokens, Array) else _rows(header, "token_embd.weight")
    return Model(
        path=path,
        parts=parts,
        complete=all(has_weights(p) for p in parts),
        name=meta.text("general.name") or path.stem,
        shape=shape_of(meta, n_vocab=n_vocab),
        tokenizer_digest=tokens.digest if isinstance(tokens, Array) else None,
        file_bytes=header.file_bytes,
        data_offset=header.data_offset,
        tensors=header.tensors,
        metadata=header.metadata,
    )


def read_language_model(path: Path) -> Model:
    """`read_model`, but a head for drafts is refused, which runs only beside its model. Raises what
    `read_model` raises.
    """
    model = read_model(path)
    if model.is_draft_head:
        raise no_model(model.path, model.metadata, DRAFT)
    return model


def as_preset(model: Model, preset: str) -> Model:
    """The model as llama.cpp's quantizer would write it at `preset`: the types of its tensors, and
    nothing on disk.

    Presets that need importance data are taken to have it. Raises Misuse for a preset that nobody
    knows.
    """
    preset = preset_named(preset)
    entries = roster(quantizer_facts(model.meta), model.tensors)
    return with_types(model, preset_types(entries, preset, has_imatrix=preset in NEEDS_IMPORTANCE))


def with_types(model: Model, types: Mapping[str, str]) -> Model:
    """The model with these types by tensor name, the others as they are, and nothing on disk."""
    all_types = {t.name: types.get(t.name, t.type.name) for t in model.tensors}
    return replace(
        model, tensors=header_tensors(((t.name, t.shape) for t in model.tensors), all_types)
    )


def _rows(header: Header, name: str) -> int:
    return next((t.shape[-1] for t in header.tensors if t.name == name), 0)
