"""What a GGUF file is, by its header: a language model, or one of the files that lie beside models.

The header decides, since anybody may give a file any name: a projector may be called
`model-q8.gguf`, and "imatrix" in a name mostly says that the model was quantized with importance
data. `likely_role` judges by the name where no header can be read.

Sources: llama.cpp, gguf-py (GGUFType), tools/mtmd/clip.cpp, tools/imatrix, tools/cvector-generator,
convert_hf_to_gguf.py (--mtp), src/llama-arch.cpp; city96/ComfyUI-GGUF for image models.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from hakaru.errors import ModelUnknown
from hakaru.formats.header_values import Array, Value
from hakaru.language import say
from hakaru.models.architectures import architecture as record_of

PROJECTOR, ADAPTER, IMATRIX, CONTROL, DRAFT, VOCABULARY, IMAGES = (
    "mmproj", "adapter", "imatrix", "control vector", "draft", "vocabulary", "image model",
)  # fmt: skip
_BY_TYPE: Final = {
    "mmproj": PROJECTOR,
    "clip-vision": PROJECTOR,
    "adapter": ADAPTER,
    "imatrix": IMATRIX,
}
"""Roles by the value of `general.type`."""
_BY_KEY: Final = {
    "clip.": PROJECTOR,
    "adapter.": ADAPTER,
    "imatrix.": IMATRIX,
    "controlvector.": CONTROL,
}
"""Roles by the beginning of any key."""
_QUANT: Final = re.compile(
    r"(?<![a-z0-9])(i?q\d|[bf]p?16|f32|bf16|mxfp4|nvfp4|tq\d|ud-)", re.IGNORECASE
)


def role_of(
    metadata: Mapping[str, Value], n_tensors: int, names: Collection[str] | None = None
) -> str | None:
    """The role of the file with this metadata beside a model, or None for a language model.

    `names` are the names of the tensors; None if they were not read. They tell a draft head, which
    has the metadata of a whole model but only the last of its layers.
    """
    architecture = str(metadata.get("general.architecture", "")).lower()
    if role := _BY_TYPE.get(str(metadata.get("general.type", "")).lower()):
        return role
    for prefix, role in _BY_KEY.items():
        if any(key.startswith(prefix) for key in metadata):
            return role
    if role := record_of(architecture).role:
        return role
    if not n_tensors:
        return VOCABULARY if isinstance(metadata.get("tokenizer.ggml.tokens"), Array) else None
    if not architecture and names and all(name.endswith((".in_sum2", ".counts")) for name in names):
        return IMATRIX
    n_draft = metadata.get(f"{architecture}.nextn_predict_layers")
    n_layer = metadata.get(f"{architecture}.block_count")
    has_draft = isinstance(n_draft, int) and isinstance(n_layer, int) and 0 < n_draft < n_layer
    if not has_draft or names is None or any(name.startswith("blk.0.") for name in names):
        return None
    return DRAFT


def likely_role(name: str) -> str | None:
    """The role that a file called `name` probably has beside a model, or None. The word "imatrix"
    says nothing in a name that also has a type, such as `model-imatrix-q4_k.gguf`.
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
    """The error for a file of that role in the place of a language model: what the file is, and
    where it belongs.
    """
    architecture = str(metadata.get("general.architecture", ""))[:40]
    keys = ("general.base_model.0.name", "general.base_model.0.repo_url")
    base = next((str(metadata[key])[:80] for key in keys if key in metadata), "?")
    if role == PROJECTOR:
        return ModelUnknown(
            "{path}: is a projector (the eyes or ears of a model), no language model; name the "
            "model's own file, and this one with `mmproj`.",
            path=path,
        )
    if role == ADAPTER:
        return ModelUnknown(
            "{path}: is a LoRA adapter for {base} ({architecture}), no whole model; name that "
            "model's file, or merge the two with llama.cpp's llama-export-lora.",
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


def no_projector(path: Path, role: str | None) -> ModelUnknown:
    """The error for a file of that role (None: a language model) in the place of a projector."""
    words = {
        None: say("a language model"), ADAPTER: say("a LoRA adapter"),
        IMATRIX: say("importance data (an imatrix)"), CONTROL: say("a control vector"),
        DRAFT: say("a draft head"), VOCABULARY: say("a vocabulary without weights"),
        IMAGES: say("an image model"),
    }  # fmt: skip
    return ModelUnknown(
        "`mmproj` {path}: is {what} and no projector (the eyes or ears of a model); name the "
        "projector, which lies beside the model and is mostly called mmproj-….gguf.",
        path=path,
        what=words[role],
    )
