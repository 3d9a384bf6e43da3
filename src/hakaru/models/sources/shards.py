"""Which files of a Hugging Face folder are the model's weights: what the index names, else the
numbered or the only one.

Beside them often lie the same weights in another form (`consolidated.safetensors`, `original/`,
`pytorch_model.bin`), adapters and a training's state: they are neither counted nor fetched. A file
that the index or the numbers promise, and that is not there, is named.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hakaru.errors import ModelDamaged, ModelNotFound, ModelUnknown
from hakaru.formats.bounded_json import bounded_json
from hakaru.units import format_bytes

MAX_SHARDS: Final = 4096
INDEXES: Final = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_NUMBERED: Final = re.compile(
    r"(?P<stem>.+)-(?P<no>\d{1,5})-of-(?P<count>\d{1,5})(?P<ending>\.safetensors|\.bin)"
)
_BESIDE: Final = re.compile(
    r"(consolidated|adapter|training_args|optimizer|scheduler|rng_state|scaler|tokenizer|non_lora|lora)",
    re.IGNORECASE,
)

ReadFile = Callable[[str], bytes | None]
"""The content of a small file of the folder by its name, or None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFiles:
    """The files with the weights in order. `index` says which tensor stands in which, where the
    folder has one.
    """

    names: tuple[str, ...]
    index: Mapping[str, str]

    @property
    def is_pickled(self) -> bool:
        """Whether they are PyTorch's pickles, which nobody opens without running what stands in
        them.
        """
        return bool(self.names) and not self.names[0].endswith(".safetensors")


def weight_files(where: Path | str, files: Mapping[str, int | None], read: ReadFile) -> WeightFiles:
    """The weights among `files` (name to bytes) of the folder `where`.

    Raises ModelNotFound (a file is missing, or there are no weights), ModelDamaged (an index
    without sense), ModelUnknown (a folder of another kind, told which).
    """
    for index_name, stem, ending in zip(
        INDEXES, ("model", "pytorch_model"), (".safetensors", ".bin"), strict=True
    ):
        index = _index(f"{where}/{index_name}", read(index_name)) if index_name in files else {}
        if index:
            names = tuple(sorted(set(index.values())))
            _refuse_missing(where, names, files, index_name)
            return WeightFiles(names=names, index=index)
        own = sorted(
            n for n in files if n.endswith(ending) and "/" not in n and not _BESIDE.match(n)
        )
        own = [n for n in own if ending == ".safetensors" or n.startswith((stem, "model-"))]
        if f"{stem}{ending}" in own:
            return WeightFiles(names=(f"{stem}{ending}",), index={})
        if own:
            names = _numbered(own[:MAX_SHARDS])
            _refuse_missing(where, names, files, None)
            return WeightFiles(names=names, index={})
    only = tuple(
        sorted(n for n in files if n.startswith("consolidated") and n.endswith(".safetensors"))
    )
    if only:
        return WeightFiles(names=only, index={})
    raise ModelNotFound(
        "{path}: has a config.json but no weights (.safetensors or pytorch_model.bin); fetch "
        "them into the folder.",
        path=where,
    )


def refuse_other_folders(
    where: Path | str, files: Mapping[str, int | None], read: ReadFile
) -> None:
    """Raises ModelUnknown for a folder that is no checkpoint of a language model: an adapter,
    pictures, another program's format.
    """
    if "adapter_config.json" in files and not _has_model(files):
        raise _lora(where, _fields(read("adapter_config.json")))
    config = _fields(read("config.json")) if "config.json" in files else {}
    if config.get("peft_type") and not config.get("hidden_size"):
        raise _lora(where, config)
    if "model_index.json" in files:
        name = str(_fields(read("model_index.json")).get("_class_name") or "?")[:60]
        raise ModelUnknown(
            "{path}: is a pipeline of diffusers ({name}), which makes pictures or sound and no "
            "text; diffusers runs it.",
            path=where,
            name=name,
        )
    if _has_model(files) or any(n.endswith(".gguf") for n in files):
        return
    for program, sign in _OTHERS.items():
        if any(re.fullmatch(sign, n) for n in files):
            raise ModelUnknown(
                "{path}: is a model in the format of {program}, which llama.cpp does not read; "
                "fetch the model as GGUF or as safetensors.",
                path=where,
                program=program,
            )


_OTHERS: Final = {
    "MLC": r"mlc-chat-config\.json|params_shard_\d+\.bin", "TensorRT-LLM": r"rank\d+\.engine",
    "CTranslate2": r"model\.bin", "OpenVINO": r"openvino_model.*\.(xml|bin)",
    "ONNX": r"(onnx/)?[\w.-]+\.onnx(_data)?", "Core ML": r".+\.(mlpackage|mlmodelc)/.+",
    "Keras or TensorFlow": r"tf_model\.h5|.+\.keras", "Flax": r"flax_model.*\.msgpack",
    "NeMo": r".+\.nemo",
    "Meta's own checkpoints": r"consolidated\.\d+\.pth|.+/consolidated\.\d+\.pth",
    "LiteRT": r".+\.(tflite|task|litertlm)",
}  # fmt: skip


def _has_model(files: Mapping[str, int | None]) -> bool:
    """Whether the folder has a checkpoint's configuration and weights."""
    weights = (n for n in files if n.endswith((".safetensors", ".bin")) and "/" not in n)
    return "config.json" in files and any(not n.startswith("adapter") for n in weights)


def _lora(where: Path | str, config: Mapping[str, Any]) -> ModelUnknown:
    base = str(config.get("base_model_name_or_path") or "?")[:100]
    return ModelUnknown(
        "{path}: is a {kind} adapter of rank {rank} for {base}, no whole model; name that model, "
        "merged with it by peft's "
        "merge_and_unload, or turn the adapter into GGUF with llama.cpp's "
        "convert_lora_to_gguf.py and give it to llama-server --lora.",
        path=where,
        kind=str(config.get("peft_type") or "LoRA")[:20],
        rank=str(config.get("r", "?"))[:8],
        base=base,
    )


def _fields(raw: bytes | None) -> dict[str, Any]:
    try:
        found = bounded_json(raw or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _index(where: str, raw: bytes | None) -> dict[str, str]:
    """Which tensor stands in which file. Raises ModelDamaged, also for a file that would lie
    outside of the folder.
    """
    rows = _fields(raw).get("weight_map")
    if not isinstance(rows, dict) or not rows:
        raise ModelDamaged("{path}: is no index of a checkpoint; fetch it again.", path=where)
    strange = next((v for v in rows.values() if not _is_plain(v)), None)
    if strange is not None or len(set(rows.values())) > MAX_SHARDS:
        raise ModelDamaged(
            "{path}: names '{found}', which is no file of this folder; fetch it again.",
            path=where,
            found=str(strange)[:80],
        )
    return rows


def _is_plain(name: object) -> bool:
    return (
        isinstance(name, str)
        and 0 < len(name) < 250
        and name.isprintable()
        and not set(name) & {"/", "\\"}
        and name not in {".", ".."}
    )


def _numbered(own: list[str]) -> tuple[str, ...]:
    """All files of the first numbered set, also those that are not there; else all that are."""
    part = next((m for name in own if (m := _NUMBERED.fullmatch(name))), None)
    if part is None:
        return tuple(own)
    width, count = len(part["no"]), min(int(part["count"]), MAX_SHARDS)
    first = 0 if any((m := _NUMBERED.fullmatch(n)) and int(m["no"]) == 0 for n in own) else 1
    numbers = range(first, count + first)
    return tuple(
        f"{part['stem']}-{i:0{width}d}-of-{part['count']}{part['ending']}" for i in numbers
    )


def _refuse_missing(
    where: Path | str, names: tuple[str, ...], files: Mapping[str, int | None], index: str | None
) -> None:
    missing = [name for name in names if name not in files]
    if not missing:
        return
    have = sum(files[name] or 0 for name in names if name in files)
    raise ModelNotFound(
        "{path}: {n} of its {count} weight files are missing, the first of them {name}, as {by} "
        "tells; there are {have}: fetch the rest into the "
        "folder.",
        path=where,
        n=len(missing),
        count=len(names),
        name=missing[0],
        by=index or names[0],
        have=format_bytes(have),
    )
