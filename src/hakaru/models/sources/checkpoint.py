"""A Hugging Face checkpoint (config.json and safetensors) as the GGUF header that llama.cpp's
converter would write.

Only headers are read, and no weight is converted. The types are those that the converter would
choose: BF16, or F16 for a checkpoint in F16; experts in MXFP4 and matrices in NVFP4 stay as they
are. `Stored` describes the checkpoint itself: its size, its quantization, the programs that run it.
"""

import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from hakaru.errors import HakaruError, ModelDamaged, ModelNotFound, ModelUnknown, system_reason
from hakaru.formats.gguf import Dims, has_weights
from hakaru.formats.header_file import stays_f32, without_vocabulary, write_header_only
from hakaru.formats.safetensors import StoredTensor, read_stored
from hakaru.language import say, together
from hakaru.models.hf_classes import WRITES, kind_in_words
from hakaru.models.hf_config import Converted, converted
from hakaru.models.sources.found import Companion, Found, Stored
from hakaru.models.sources.shards import WeightFiles, refuse_other_folders, weight_files
from hakaru.models.stored_quantization import (
    DEQUANTIZES,
    KEEPS,
    REFUSES,
    StoredQuantization,
    stored_quantization,
)
from hakaru.places import header_dir
from hakaru.text_files import json_reason
from hakaru.units import format_bytes

LARGEST_CONFIG: Final = 2**22
LARGEST_INDEX: Final = 2**24
CONFIG: Final = "config.json"
QUANT_CONFIGS: Final = ("hf_quant_config.json", "quantize_config.json", "quant_config.json")
"""Files beside config.json that state a quantization: by ModelOpt, AutoGPTQ and AutoAWQ."""
_KINDS: Final = {
    "q_proj": "attn_q", "k_proj": "attn_k", "v_proj": "attn_v", "o_proj": "attn_output",
    "gate_proj": "ffn_gate", "up_proj": "ffn_up", "down_proj": "ffn_down", "w1": "ffn_gate",
    "w3": "ffn_up", "w2": "ffn_down",
}  # fmt: skip


def as_gguf(found: Found) -> Found:
    """The stand-in for the checkpoint in the folder `found.path`: a GGUF header with a hole.

    Raises ModelUnknown for a folder or a model class that is not that of a language model,
    ModelDamaged and ModelNotFound.
    """
    folder = found.path
    config, files = _config(folder / CONFIG), _files(folder)
    quantization = _quantization(folder, config)
    tensors = {} if files.is_pickled else _tensors(folder, files)
    checkpoint = {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
    made = converted(folder / CONFIG, config, checkpoint, quantization)
    stored = _stored(folder, files, made, quantization)
    values = {
        "general.name": found.origin.rpartition("/")[2],
        **without_vocabulary(made.metadata, made.n_vocab),
    }
    types = _types(made, tensors, config, quantization)
    content = json.dumps([values, made.tensors, types], sort_keys=True).encode()
    room = header_dir("checkpoints", hashlib.sha256(content).hexdigest()[:16])
    path = room / f"{folder.name or 'model'}.gguf"
    if not path.exists():
        write_header_only(path, values, made.tensors, types)
    name = say("vision and audio towers")
    towers = [Companion(role="mmproj", name=name, bytes=made.companion_bytes)]
    can_convert = stored.converter != REFUSES and stored.complete
    fetch = f"convert_hf_to_gguf.py {shlex.quote(str(folder))}" if can_convert else None
    return replace(
        found,
        path=path,
        complete=False,
        companions=(*found.companions, *(towers if made.companion_bytes else ())),
        fetch=found.fetch or fetch,
        note=together([*_sentences(stored, made), *([found.note] if found.note else [])]) or None,
        stored=stored,
    )


def convertible(folder: Path) -> str | None:
    """What a person must know before llama.cpp's converter makes a GGUF file of the folder, or
    None.

    Raises what `as_gguf` raises, and ModelUnknown for a checkpoint that the converter refuses. A
    class whose sizes hakaru cannot derive, and weights of a kind that hakaru does not know, are
    left to the converter.
    """
    if not any(folder.glob("*.safetensors*")) and not any(folder.glob("*.bin*")):
        return None
    config, files = _config(folder / CONFIG), _files(folder)
    quantization = _quantization(folder, config)
    if not files.is_pickled:
        _tensors(folder, files)
    if quantization and quantization.converter == REFUSES:
        raise ModelUnknown(
            "{path}: is quantized as {label}, which llama.cpp's converter refuses; quantize the "
            "original checkpoint, or fetch a GGUF file of the model.",
            path=folder,
            label=_label(quantization),
        )
    if quantization and quantization.converter == DEQUANTIZES:
        return say(
            "The checkpoint is quantized ({label}); llama.cpp's converter turns it back into 16 "
            "bits, and quantizing that loses twice.",
            label=_label(quantization),
        )
    return None


def _files(folder: Path) -> WeightFiles:
    """The weight files of the folder. Raises ModelNotFound if one is missing, ModelUnknown for
    another kind of folder.
    """
    try:
        sizes: dict[str, int | None] = {
            file.name: file.stat().st_size for file in folder.iterdir() if file.is_file()
        }
    except OSError as error:
        raise ModelNotFound(
            "{path}: cannot be read ({reason}).", path=folder, reason=system_reason(error)
        ) from error

    def read(name: str) -> bytes | None:
        return _content(folder / name, LARGEST_INDEX) if name in sizes else None

    refuse_other_folders(folder, sizes, read)
    return weight_files(folder, sizes, read)


def _tensors(folder: Path, files: WeightFiles) -> dict[str, StoredTensor]:
    """All tensors of the weight files. Raises ModelDamaged if a tensor of the index is missing."""
    tensors = {t.name: t for name in files.names for t in read_stored(folder / name).tensors}
    lacking = next((name for name in files.index if name not in tensors), None)
    if lacking is not None:
        raise ModelDamaged(
            "{path}: lacks the tensor {name}, which the index promises in it; fetch the file and "
            "the index again.",
            path=folder / files.index[lacking],
            name=lacking[:100],
        )
    return tensors


def _content(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(limit + 1)
    except OSError as error:
        raise ModelNotFound(
            "{path}: cannot be read ({reason}).", path=path, reason=system_reason(error)
        ) from error
    if len(raw) > limit:
        raise ModelDamaged("{path}: is no configuration of a model; fetch it again.", path=path)
    return raw


def _config(path: Path) -> Mapping[str, Any]:
    """The fields of a configuration. NaN and Infinity, which Python's JSON writes, count as
    absent.
    """
    try:
        config = json.loads(_content(path, LARGEST_CONFIG), parse_constant=lambda name: None)
    except (ValueError, RecursionError) as error:
        raise ModelDamaged(
            "{path}: is no JSON ({reason}); fetch it again.", path=path, reason=json_reason(error)
        ) from error
    if not isinstance(config, dict):
        raise ModelDamaged("{path}: is no configuration of a model; fetch it again.", path=path)
    return config


def _quantization(folder: Path, config: Mapping[str, Any]) -> StoredQuantization | None:
    beside = None
    if name := next((name for name in QUANT_CONFIGS if (folder / name).is_file()), None):
        with suppress(HakaruError):
            beside = _config(folder / name)
    quantization = stored_quantization(config, beside)
    names = config.get("architectures")
    is_gpt_oss = isinstance(names, list) and "GptOssForCausalLM" in names
    if quantization and quantization.method == "mxfp4" and not is_gpt_oss:
        # llama.cpp: only conversion/gpt_oss.py takes MXFP4
        return replace(quantization, converter=REFUSES)
    return quantization


def _stored(
    folder: Path, files: WeightFiles, made: Converted, quantization: StoredQuantization | None
) -> Stored:
    sizes = [(folder / name).stat().st_size for name in files.names]
    converter = quantization.converter if quantization else "converts"
    return Stored(
        n_files=len(sizes),
        bytes=sum(sizes),
        is_pickled=files.is_pickled,
        complete=all(has_weights(folder / name) for name in files.names),
        class_name=made.model_class.name,
        kind=made.model_class.kind,
        quantization=_label(quantization) if quantization else None,
        method=quantization.method if quantization else None,
        bpw=8 * (sum(sizes) - made.companion_bytes) / made.n_params,
        runners=quantization.runners if quantization else (),
        converter=converter if made.model_class.is_converted else REFUSES,
    )


def _label(quantization: StoredQuantization) -> str:
    """The method as people call it, with its bits."""
    if quantization.bits is None:
        return quantization.label
    bits = f"{quantization.bits:g}"
    if quantization.group:
        return say(
            "{label}, {bits} bits in groups of {group}",
            label=quantization.label,
            bits=bits,
            group=quantization.group,
        )
    return say("{label}, {bits} bits", label=quantization.label, bits=bits)


def _types(
    made: Converted,
    stored: Mapping[str, StoredTensor],
    config: Mapping[str, Any],
    quantization: StoredQuantization | None,
) -> dict[str, str]:
    """The type of every tensor in the converted file, by name."""
    matrices = [tensor for tensor in stored.values() if len(tensor.shape) > 1]
    f16_bytes = sum(tensor.n_bytes for tensor in matrices if tensor.dtype == "F16")
    half = 2 * f16_bytes > sum(tensor.n_bytes for tensor in matrices)
    if quantization or not stored:
        half = "float16" in {str(config.get(key)) for key in ("torch_dtype", "dtype")}
    packed = any(name.endswith("_blocks") for name in stored)
    keeps = quantization and quantization.converter == KEEPS and not packed
    nvfp4 = _nvfp4_names(stored) if keeps else set()
    plain = "F16" if half else "BF16"
    return {name: _type(name, shape, plain, packed, nvfp4) for name, shape in made.tensors}


def _type(name: str, shape: Dims, plain: str, packed: bool, nvfp4: set[str]) -> str:
    if stays_f32(name, shape):
        return "F32"
    if name in nvfp4 and not shape[0] % 64:
        return "NVFP4"
    return "MXFP4" if packed and name.endswith("_exps.weight") else plain


def _nvfp4_names(stored: Mapping[str, StoredTensor]) -> set[str]:
    """The names in the converted file of matrices that are NVFP4 in the checkpoint: two weights a
    byte, with a scale per tensor.
    """
    names = set()
    for name, tensor in stored.items():
        module = re.sub(r"\.weight(_packed)?$", "", name)
        scales = {f"{module}.weight_scale_2", f"{module}.weight_global_scale"}
        if tensor.dtype != "U8" or module == name or not scales & stored.keys():
            continue
        kind, layer = _KINDS.get(module.rpartition(".")[2]), re.search(r"layers\.(\d+)\.", module)
        if kind and layer:
            kind += (
                "_shexp" if "shared_expert" in module else "_exps" if ".experts." in module else ""
            )
            names.add(f"blk.{layer[1]}.{kind}.weight")
        elif module.endswith("lm_head"):
            names.add("output.weight")
    return names


def _sentences(stored: Stored, made: Converted) -> list[str]:
    """Sentences that a person must read before the figures: on the kind of the model, on its
    quantization, and on what is uncertain.
    """
    sentences = []
    if stored.kind != WRITES:
        sentences.append(
            say("{name} is {kind}.", name=stored.class_name, kind=kind_in_words(stored.kind))
        )
    if not made.model_class.is_named:
        sentences.append(
            say(
                "config.json names no class, which llama.cpp's converter asks for; taken is "
                "{name}, as its model_type suggests.",
                name=stored.class_name,
            )
        )
    elif not made.model_class.is_converted:
        sentences.append(
            say(
                "llama.cpp's converter does not take the class as it is named here; the figures "
                "are of its body."
            )
        )
    if stored.quantization:
        sentences += _about_quantization(stored)
    if stored.is_pickled:
        sentences.append(
            say(
                "Its weights are pickled ({size} in pytorch_model.bin files), which hakaru does "
                "not open, since opening them runs what stands "
                "in them; the figures follow from config.json alone.",
                size=format_bytes(stored.bytes),
            )
        )
    if made.difference:
        sentences.append(
            say(
                "The checkpoint has {found:,} weights, but its configuration gives {expected:,}; "
                "the figures hold for the latter.",
                found=made.n_params_found,
                expected=made.n_params,
            )
        )
    return sentences


def _about_quantization(stored: Stored) -> list[str]:
    """Sentences on how a quantized checkpoint is stored, which programs run it, and what
    llama.cpp's converter makes of it.
    """
    sentences = [
        say(
            "The checkpoint is quantized: {label}; {size} as stored, {bpw:.2f} bits per weight.",
            label=stored.quantization,
            size=format_bytes(stored.bytes),
            bpw=stored.bpw,
        )
    ]
    if stored.runners:
        sentences.append(say("So it runs in {programs}.", programs=say(", ").join(stored.runners)))
    if stored.converter == KEEPS:
        sentences.append(say("llama.cpp's converter keeps these weights as they are."))
    elif stored.converter == DEQUANTIZES:
        sentences.append(
            say(
                "llama.cpp's converter turns it back into 16 bits, of which the figures here "
                "are; quantizing that loses twice."
            )
        )
    else:
        sentences.append(
            say(
                "llama.cpp's converter refuses it: the figures here are of the model in 16 bits. "
                "Start from the original checkpoint, or take a GGUF file of it."
            )
        )
    return sentences
