"""The weight files of a Hugging Face folder: those that the index names, else the numbered files,
else the only file.

Beside them often lie the same weights in another form (`consolidated.safetensors`, `original/`,
`pytorch_model.bin`), adapters and the state of a training; such files are neither counted nor
fetched. If the index or the numbers promise a file that is missing, the error names that file.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

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


class WeightFiles(Struct, frozen=True, kw_only=True):
    """The files with the weights."""

    names: tuple[str, ...]  # in order
    index: Mapping[str, str]  # the file of every tensor; empty for a folder without an index

    @property
    def is_pickled(self) -> bool:
        """True for PyTorch's pickles: to open a pickle is to run the code in it."""
        return bool(self.names) and not self.names[0].endswith(".safetensors")


def weight_files(where: Path | str, files: Mapping[str, int | None], read: ReadFile) -> WeightFiles:
    """The weights among `files` (name to bytes) of the folder `where`.

    Raises ModelNotFound if a file is missing or there are no weights, ModelDamaged for an index
    without sense.
    """
    for index_name, stem, ending in zip(
        INDEXES, ("model", "pytorch_model"), (".safetensors", ".bin"), strict=True
    ):
        index = _index(f"{where}/{index_name}", read(index_name)) if index_name in files else {}
        if index:
            names = tuple(sorted(set(index.values())))
            _refuse_missing(where, names, files, index_name)
            return WeightFiles(names=names, index=index)
        shards = sorted(
            name
            for name in files
            if name.endswith(ending) and "/" not in name and not _BESIDE.match(name)
        )
        if ending == ".bin":
            shards = [name for name in shards if name.startswith((stem, "model-"))]
        if f"{stem}{ending}" in shards:
            return WeightFiles(names=(f"{stem}{ending}",), index={})
        if shards:
            names = _numbered(shards[:MAX_SHARDS])
            _refuse_missing(where, names, files, None)
            return WeightFiles(names=names, index={})
    consolidated = [name for name in files if re.fullmatch(r"consolidated.*\.safetensors", name)]
    if consolidated:
        return WeightFiles(names=tuple(sorted(consolidated)), index={})
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
    if _has_model(files) or any(name.endswith(".gguf") for name in files):
        return
    for program, sign in _OTHER_PROGRAMS.items():
        if any(re.fullmatch(sign, name) for name in files):
            raise ModelUnknown(
                "{path}: is a model in the format of {program}, which llama.cpp does not read; "
                "fetch the model as GGUF or as safetensors.",
                path=where,
                program=program,
            )


_OTHER_PROGRAMS: Final = {
    "MLC": r"mlc-chat-config\.json|params_shard_\d+\.bin", "TensorRT-LLM": r"rank\d+\.engine",
    "CTranslate2": r"model\.bin", "OpenVINO": r"openvino_model.*\.(xml|bin)",
    "ONNX": r"(onnx/)?[\w.-]+\.onnx(_data)?", "Core ML": r".+\.(mlpackage|mlmodelc)/.+",
    "Keras or TensorFlow": r"tf_model\.h5|.+\.keras", "Flax": r"flax_model.*\.msgpack",
    "NeMo": r".+\.nemo",
    "Meta's own checkpoints": r"consolidated\.\d+\.pth|.+/consolidated\.\d+\.pth",
    "LiteRT": r".+\.(tflite|task|litertlm)",
}  # fmt: skip


def _has_model(files: Mapping[str, int | None]) -> bool:
    """True if the folder has the configuration and weights of a checkpoint."""
    weights = (name for name in files if name.endswith((".safetensors", ".bin")))
    return "config.json" in files and any(
        "/" not in name and not name.startswith("adapter") for name in weights
    )


def _lora(where: Path | str, config: Mapping[str, Any]) -> ModelUnknown:
    base = str(config.get("base_model_name_or_path") or "?")[:100]
    return ModelUnknown(
        "{path}: is a {kind} adapter of rank {rank} for {base}, no whole model; name that model, "
        "merged with it by peft's merge_and_unload, or turn the adapter into GGUF with "
        "llama.cpp's convert_lora_to_gguf.py and give it to llama-server --lora.",
        path=where,
        kind=str(config.get("peft_type") or "LoRA")[:20],
        rank=str(config.get("r", "?"))[:8],
        base=base,
    )


def _fields(raw: bytes | None) -> dict[str, Any]:
    """The fields of a JSON file; none if it is no JSON object."""
    try:
        fields = bounded_json(raw or b"{}")
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}


def _index(where: str, raw: bytes | None) -> dict[str, str]:
    """The file of every tensor. Raises ModelDamaged, also for a file outside of the folder."""
    rows = _fields(raw).get("weight_map")
    if not isinstance(rows, dict) or not rows:
        raise ModelDamaged("{path}: is no index of a checkpoint; fetch it again.", path=where)
    strange = next((name for name in rows.values() if not _is_plain(name)), None)
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


def _numbered(names: list[str]) -> tuple[str, ...]:
    """All files of the set to which the first numbered file belongs, also missing ones. Without a
    numbered file, `names`.
    """
    parts = [match for name in names if (match := _NUMBERED.fullmatch(name))]
    if not parts:
        return tuple(names)
    part = parts[0]
    width, count = len(part["no"]), min(int(part["count"]), MAX_SHARDS)
    first = 0 if any(int(match["no"]) == 0 for match in parts) else 1
    return tuple(
        f"{part['stem']}-{no:0{width}d}-of-{part['count']}{part['ending']}"
        for no in range(first, count + first)
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
        "tells; there are {have}: fetch the rest into the folder.",
        path=where,
        n=len(missing),
        count=len(names),
        name=missing[0],
        by=index or names[0],
        have=format_bytes(have),
    )
