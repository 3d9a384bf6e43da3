"""A Hugging Face checkpoint (config.json and safetensors) as the GGUF header that llama.cpp's converter would write.

Only headers are read. The type is the converter's own choice: BF16, or F16 for a checkpoint in F16; experts that are
stored as MXFP4 stay so. Weights are not converted here.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from hakaru.errors import ModelDamaged, ModelNotFound
from hakaru.language import say
from hakaru.models.architectures import Dims, stays_f32
from hakaru.models.header_file import without_vocabulary, write_header_only
from hakaru.models.hf_config import Converted, converted
from hakaru.models.safetensors import StoredTensor, read_stored
from hakaru.models.sources.found import Companion, Found
from hakaru.places import cache_dir

LARGEST_CONFIG: Final = 2**22


def as_gguf(found: Found) -> Found:
    """The stand-in for the checkpoint in the folder `found.path`: a GGUF header with a hole.

    Raises ModelUnknown for a model class that cannot be derived, ModelDamaged and ModelNotFound.
    """
    folder = found.path
    shards = sorted(folder.glob("*.safetensors"))
    if not shards:
        raise ModelNotFound("{path}: has a config.json but no .safetensors files; fetch them into the folder.", path=folder)
    stored = {t.name: t for shard in shards for t in read_stored(shard).tensors}
    made = converted(folder / "config.json", _config(folder / "config.json"), {n: (t.dtype, t.shape) for n, t in stored.items()})
    values = {"general.name": found.origin.rpartition("/")[2], **without_vocabulary(made.metadata, made.n_vocab)}
    types = _types(made, stored)
    content = json.dumps([values, made.tensors, types], sort_keys=True).encode()
    path = cache_dir("checkpoints", hashlib.sha256(content).hexdigest()[:16]) / f"{folder.name or 'model'}.gguf"
    if not path.exists():
        write_header_only(path, values, made.tensors, types)
    towers = (
        (Companion(role="mmproj", name=say("vision and audio towers"), bytes=made.companion_bytes),) if made.companion_bytes else ()
    )
    return replace(
        found,
        path=path,
        complete=False,
        companions=(*found.companions, *towers),
        fetch=found.fetch or f"convert_hf_to_gguf.py {folder}",
        note=_note(made),
    )


def _config(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_CONFIG + 1)
        config = json.loads(raw) if len(raw) <= LARGEST_CONFIG else None
    except OSError as error:
        raise ModelNotFound("{path}: cannot be read ({reason}).", path=path, reason=error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise ModelDamaged("{path}: is no JSON ({reason}); fetch it again.", path=path, reason=error) from error
    if not isinstance(config, dict):
        raise ModelDamaged("{path}: is no configuration of a model; fetch it again.", path=path)
    return config


def _types(made: Converted, stored: Mapping[str, StoredTensor]) -> dict[str, str]:
    matrices = [t for t in stored.values() if len(t.shape) > 1]
    half = sum(t.n_bytes for t in matrices if t.dtype == "F16") * 2 > sum(t.n_bytes for t in matrices)
    packed = any(name.endswith("_blocks") for name in stored)
    return {name: _type(name, shape, "F16" if half else "BF16", packed) for name, shape in made.tensors}


def _type(name: str, shape: Dims, plain: str, packed: bool) -> str:
    if stays_f32(name, shape):
        return "F32"
    return "MXFP4" if packed and name.endswith("_exps.weight") else plain


def _note(made: Converted) -> str | None:
    """Where the checkpoint does not have as many weights as its configuration says, the sizes are not to be trusted."""
    if not made.difference:
        return None
    return say(
        "The checkpoint has {found:,} weights, but its configuration gives {expected:,}; the figures hold for the latter.",
        found=made.n_params_found, expected=made.n_params,
    )  # fmt: skip
