"""What a GGUF file is, by its header: a language model, or one of the files that lie beside models.

The header decides, since names are anybody's: a projector may be called `model-q8.gguf`, and
"imatrix" in a name mostly says that the model was quantized with importance data. `likely_role`
judges by the name where no header can be read.

Sources: llama.cpp, gguf-py (GGUFType), tools/mtmd/clip.cpp, tools/imatrix, tools/cvector-generator,
convert_hf_to_gguf.py (--mtp), src/llama-arch.cpp; city96/ComfyUI-GGUF for image models.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from hakaru.errors import ModelUnknown
from hakaru.formats.header_cursor import Array, Value
from hakaru.models.architectures import architecture as record_of

PROJECTOR, ADAPTER, IMATRIX, CONTROL, DRAFT, VOCABULARY, IMAGES = (
    "mmproj", "adapter", "imatrix", "control vector", "draft", "vocabulary", "image model",
)  # fmt: skip
_TYPES: Final = {
    "mmproj": PROJECTOR,
    "clip-vision": PROJECTOR,
    "adapter": ADAPTER,
    "imatrix": IMATRIX,
}
_KEYS: Final = {
    "clip.": PROJECTOR,
    "adapter.": ADAPTER,
    "imatrix.": IMATRIX,
    "controlvector.": CONTROL,
}
_QUANT: Final = re.compile(
    r"(?<![a-z0-9])(i?q\d|[bf]p?16|f32|bf16|mxfp4|nvfp4|tq\d|ud-)", re.IGNORECASE
)


def role_of(
    metadata: Mapping[str, Value], n_tensors: int, names: Collection[str] | None = None
) -> str | None:
    """What the file with these keys is beside a model, or None for a language model.

    `names` are its tensors', where they are known: a head for multi-token prediction has a whole
    model's keys, but of the layers only the last.
    """
    architecture = str(metadata.get("general.architecture", "")).lower()
    stated = _TYPES.get(str(metadata.get("general.type", "")).lower())
    stated = stated or next(
        (role for prefix, role in _KEYS.items() if any(key.startswith(prefix) for key in metadata)),
        None,
    )
    if stated:
        return stated
    if role := record_of(architecture).role:
        return role
    if not n_tensors:
        return VOCABULARY if isinstance(metadata.get("tokenizer.ggml.tokens"), Array) else None
    if not architecture and names and all(name.endswith((".in_sum2", ".counts")) for name in names):
        return IMATRIX
    heads, layers = (
        metadata.get(f"{architecture}.nextn_predict_layers"),
        metadata.get(f"{architecture}.block_count"),
    )
    if (
        isinstance(heads, int)
        and isinstance(layers, int)
        and 0 < heads < layers
        and names is not None
    ):
        return None if any(name.startswith("blk.0.") for name in names) else DRAFT
    return None


def likely_role(name: str) -> str | None:
    """What a file called `name` probably is beside a model, or None. "imatrix" says nothing where a
    type stands, too.
    """
    stem = name.rpartition("/")[2].lower().removesuffix(".gguf")
    if "mmproj" in stem:
        return PROJECTOR
    if "imatrix" in stem and not _QUANT.search(stem):
        return IMATRIX
    if re.search(r"(^|[-_.])(lora|adapter)$|^(lora|adapter)[-_.]", stem):
        return ADAPTER
    return DRAFT if stem.startswith("mtp-") else None


def no_model(path: Path, metadata: Mapping[str, Value], role: str) -> ModelUnknown:
    """The error for a file in `role` where a language model is wanted: what it is, and where it
    belongs.
    """
    architecture = str(metadata.get("general.architecture", ""))[:40]
    base = next(
        (
            str(metadata[k])[:80]
            for k in ("general.base_model.0.name", "general.base_model.0.repo_url")
            if k in metadata
        ),
        "?",
    )
    if role == PROJECTOR:
        return ModelUnknown(
            "{path}: is a projector (the eyes or ears of a model), no language model; name the "
            "model's own file, and this one with "
            "`mmproj`.",
            path=path,
        )
    if role == ADAPTER:
        return ModelUnknown(
            "{path}: is a LoRA adapter for {base} ({architecture}), no whole model; name that "
            "model's file, or merge the two with "
            "llama.cpp's llama-export-lora.",
            path=path,
            base=base,
            architecture=architecture or "?",
        )
    if role == IMATRIX:
        return ModelUnknown(
            "{path}: is importance data (an imatrix), no model; give it to hakaru quantize with "
            "`importance`.",
            path=path,
        )
    if role == CONTROL:
        return ModelUnknown(
            "{path}: is a control vector, no model; llama-server takes it beside a model with "
            "--control-vector.",
            path=path,
        )
    if role == VOCABULARY:
        return ModelUnknown(
            "{path}: holds a vocabulary without weights; name the model's own file.", path=path
        )
    if role == IMAGES:
        return ModelUnknown(
            "{path}: architecture '{found}' makes pictures or films, not text; ComfyUI-GGUF or "
            "stable-diffusion.cpp runs it.",
            path=path,
            found=architecture,
        )
    return ModelUnknown(
        "{path}: is a draft head ({architecture}), which runs only beside its model; name the "
        "model's file, and this one with `draft`.",
        path=path,
        architecture=architecture,
    )
