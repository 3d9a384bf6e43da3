"""How a Hugging Face checkpoint was quantized: what its configuration says, how its packed tensors
are counted, who runs it so.

A quantized checkpoint names its method in config.json (`quantization_config`, MLX: `quantization`)
or, by ModelOpt, in hf_quant_config.json. Its tensors are packed: eight weights of 4 bits in one
I32, with scales beside them. What it takes on the disk is the sum of its tensors; how many weights
that are, follows from the packing, where it is one of the plain ones.

Sources: transformers, quantizers/ and utils/quantization_config.py; compressed-tensors,
compressors/; NVIDIA ModelOpt; mlx-lm, utils.py; llama.cpp, conversion/base.py (dequant_model,
prepare_tensors) for what its converter takes.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

REFUSES, DEQUANTIZES, KEEPS = "refuses", "dequantizes", "keeps"
"""What llama.cpp's converter does with a method."""

_VLLM: Final = ("vLLM", "SGLang", "Transformers")
_METHODS: Final[dict[str, tuple[str, tuple[str, ...], str]]] = {
    "awq": ("AWQ", _VLLM, REFUSES), "gptq": ("GPTQ", _VLLM, DEQUANTIZES),
    "auto-round": ("AutoRound", _VLLM, REFUSES),
    "bitsandbytes": ("bitsandbytes", ("Transformers", "vLLM"), REFUSES),
    "fp8": ("FP8", _VLLM, DEQUANTIZES),
    "fbgemm_fp8": ("FP8 (FBGEMM)", ("vLLM", "Transformers"), REFUSES),
    "compressed-tensors": ("compressed-tensors", _VLLM, DEQUANTIZES),
    "modelopt": ("ModelOpt", ("TensorRT-LLM", "vLLM", "SGLang"), DEQUANTIZES),
    "modelopt_fp4": ("ModelOpt", ("TensorRT-LLM", "vLLM", "SGLang"), REFUSES),
    "mxfp4": ("MXFP4", ("llama.cpp", *_VLLM), KEEPS),
    "bitnet": ("BitNet", ("Transformers", "bitnet.cpp"), DEQUANTIZES),
    "quanto": ("Quanto", ("Transformers",), REFUSES),
    "hqq": ("HQQ", ("Transformers", "vLLM"), REFUSES), "aqlm": ("AQLM", ("Transformers",), REFUSES),
    "vptq": ("VPTQ", ("Transformers",), REFUSES), "spqr": ("SpQR", ("Transformers",), REFUSES),
    "higgs": ("HIGGS", ("Transformers",), REFUSES), "eetq": ("EETQ", ("Transformers",), REFUSES),
    "torchao": ("torchao", ("Transformers", "vLLM"), REFUSES),
    "quark": ("Quark", ("vLLM", "SGLang"), REFUSES),
    "fp_quant": ("FP-Quant", ("Transformers", "vLLM"), REFUSES),
    "exl2": ("EXL2", ("ExLlamaV2",), REFUSES), "exl3": ("EXL3", ("ExLlamaV3",), REFUSES),
    "mlx": ("MLX", ("mlx-lm", "LM Studio (Apple)"), REFUSES),
}  # fmt: skip
_UNCOUNTED: Final = {"aqlm", "vptq", "spqr", "higgs", "torchao", "exl2", "exl3", "fp_quant"}
"""Methods whose packing says nothing simple about how many weights a tensor holds."""
_BESIDE: Final = re.compile(
    r"(\.(qzeros|scales|biases|g_idx|SCB|weight_format|absmax|nested_absmax|nested_quant_map|quant_map|bias_correction|zero|scale|meta|"
    r"weight_shape|zero_point|qscale_act|qscale_weight|_scale|_shift|weight\._scale|weight\._shift|activation_scale|shape|zeros)"
    r"|\.quant_state\..*|(weight|input|output|k|v|activation)(_global)?_scale(_inv|_2|_ub)?|weight_zero_point|weight_g_idx|_scales|_scale_inv)$"
)
_PACKED: Final = re.compile(
    r"(\.qweight|\.weight_packed|\.W_q|\.weight\._data|\.weight|_packed|_proj|_blocks)$"
)
_WORD_BITS: Final = {"I32": 32, "U32": 32, "U8": 8, "I64": 64, "I16": 16, "U16": 16}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredQuantization:
    """The method and what it states; None where it states nothing. `by_module` are bits that single
    modules have (MLX).

    `label` is what people call it. `converter` is what llama.cpp's converter does with it,
    `runners` run it as it is.
    """

    method: str
    label: str
    bits: float | None
    group: int | None
    runners: tuple[str, ...]
    converter: str
    by_module: Mapping[str, float]

    def weights_in(self, name: str, dtype: str, shape: tuple[int, ...]) -> int | None:
        """How many weights the stored tensor holds: 0 for scales and the like, None where the
        packing does not tell.
        """
        if _BESIDE.search(name):
            return 0
        if self.method in _UNCOUNTED:
            return None
        word = _WORD_BITS.get(dtype)
        bits = self.by_module.get(name.rpartition(".")[0], self.bits)
        if word is None or not _PACKED.search(name) or not bits or (dtype == "U8" and bits >= 8):
            return math.prod(shape)
        return int(math.prod(shape) * word / bits)

    def is_counted(self) -> bool:
        """Whether the packed tensors tell how many weights they hold."""
        return self.method not in _UNCOUNTED


def stored_quantization(
    config: Mapping[str, Any], beside: Mapping[str, Any] | None = None
) -> StoredQuantization | None:
    """What config.json and `beside` (hf_quant_config.json) say; None for a checkpoint that is not
    quantized.
    """
    field, stated = _stated(config)
    if beside and isinstance(beside.get("quantization"), dict):
        producer = beside.get("producer")
        name = str(producer.get("name") or "modelopt") if isinstance(producer, dict) else "modelopt"
        stated = {"quant_method": name.lower(), **beside["quantization"], **(stated or {})}
    elif beside and stated is None:  # what AutoGPTQ and AutoAWQ wrote until 2023
        field, stated = "beside", {"quant_method": "awq" if "w_bit" in beside else "gptq", **beside}
    if stated is None:
        return None
    if field == "compression_config":
        stated = {"quant_method": "compressed-tensors", **stated}
    method = (
        str(stated.get("quant_method") or stated.get("quant_type_method") or "")
        .lower()
        .replace("intel/", "")
    )
    if not method:
        method = (
            "mlx"
            if "group_size" in stated and "bits" in stated
            else "bitsandbytes"
            if _bnb_bits(stated)
            else "?"
        )
    label, runners, converter = _METHODS.get(method, (method[:40], (), REFUSES))
    bits, group = (
        _bits(method, stated),
        _number(stated.get("group_size", stated.get("q_group_size"))),
    )
    if method == "compressed-tensors":
        label, bits, group, converter = _compressed(stated)
    if method in {"modelopt", "modelopt_fp4"}:
        label, bits, converter = _modelopt(stated)
    if method == "gptq" and bits not in {2, 4, 8}:
        converter = REFUSES  # llama.cpp, conversion/base.py: 3 bits are not implemented
    if field in {"compression_config", "beside"}:
        converter = REFUSES  # it reads quantization_config and hf_quant_config.json alone
    by_module = {
        k: float(b)
        for k, v in stated.items()
        if isinstance(v, dict) and (b := _number(v.get("bits")))
    }
    return StoredQuantization(
        method=method, label=label, bits=bits, group=int(group) if group and group > 0 else None,
        runners=runners, converter=converter, by_module=by_module,
    )  # fmt: skip


def _stated(config: Mapping[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
    """The field that tells and what it says, in the whole configuration or its language model's
    part.
    """
    parts = [
        config,
        *(
            config[p]
            for p in ("text_config", "llm_config", "language_config")
            if isinstance(config.get(p), dict)
        ),
    ]
    for key in ("quantization_config", "compression_config", "quantization"):
        for part in parts:
            if isinstance(part.get(key), dict) and part[key]:
                return key, dict(part[key])
    return None, None


def _bits(method: str, stated: Mapping[str, Any]) -> float | None:
    """Bits of a packed weight, as stated."""
    if method == "bitsandbytes":
        return _bnb_bits(stated)
    if method in {"fp8", "fbgemm_fp8", "eetq"}:
        return 8
    if method == "mxfp4":
        return 4
    if method == "bitnet":
        return 2
    if method == "quanto":
        found = re.search(r"\d+", str(stated.get("weights", "")))
        return float(found[0]) if found else None
    if method == "hqq":
        inner = stated.get("quant_config", stated)
        inner = inner.get("weight_quant_params", inner) if isinstance(inner, dict) else {}
        return _number(inner.get("nbits")) if isinstance(inner, dict) else None
    if method == "quark":
        whole = stated.get("global_quant_config")
        weight = whole.get("weight") if isinstance(whole, dict) else None
        weight = weight[0] if isinstance(weight, list) and weight else weight
        found = (
            re.search(r"\d+", str(weight.get("dtype", ""))) if isinstance(weight, dict) else None
        )
        return float(found[0]) if found else None
    if method == "aqlm":
        books, book = (
            _number(stated.get("num_codebooks")),
            _number(stated.get("nbits_per_codebook")),
        )
        size = (_number(stated.get("in_group_size")) or 0) * (
            _number(stated.get("out_group_size")) or 1
        )
        return books * book / size if books and book and size else None
    return next(
        (n for key in ("bits", "w_bit", "nbits", "weight_bits") if (n := _number(stated.get(key)))),
        None,
    )


def _bnb_bits(stated: Mapping[str, Any]) -> float | None:
    if stated.get("load_in_4bit") or stated.get("_load_in_4bit"):
        return 4
    return 8 if stated.get("load_in_8bit") or stated.get("_load_in_8bit") else None


def _compressed(stated: Mapping[str, Any]) -> tuple[str, float | None, float | None, str]:
    """Label, bits, group and what the converter does, by format. Source: llama.cpp,
    conversion/base.py (dequant_model).
    """
    groups = stated.get("config_groups")
    rows = [g for g in groups.values() if isinstance(g, dict)] if isinstance(groups, dict) else []
    weights = [w for g in rows if isinstance(w := g.get("weights"), dict)]
    bits = next((n for w in weights if (n := _number(w.get("num_bits")))), None)
    group = next((n for w in weights if (n := _number(w.get("group_size")))), None)
    strategy = weights[0].get("strategy") if weights else None
    kind = str(stated.get("format") or "")
    nvfp4 = kind == "nvfp4-pack-quantized" or (
        kind == "mixed-precision"
        and bool(rows)
        and all(g.get("format") == "nvfp4-pack-quantized" for g in rows)
    )
    label = f"compressed-tensors, {kind[:40]}" if kind else "compressed-tensors"
    if nvfp4:
        return label, 4, 16, KEEPS
    if kind == "pack-quantized":
        takes = len(rows) == 1 and strategy == "group" and weights[0].get("type", "int") == "int"
    else:
        takes = (
            kind in {"float-quantized", "int-quantized", "naive-quantized"}
            and len(rows) == 1
            and strategy in {"channel", "block"}
        )
    return (
        label,
        bits or (4 if "pack" in kind or "mxfp4" in kind else 8),
        group,
        DEQUANTIZES if takes else REFUSES,
    )


def _modelopt(stated: Mapping[str, Any]) -> tuple[str, float | None, str]:
    """Label, bits and what the converter does, by algorithm."""
    layers = stated.get("quantized_layers")
    mixed = (
        {str(v.get("quant_algo")) for v in layers.values() if isinstance(v, dict)}
        if isinstance(layers, dict)
        else set()
    )
    algorithm = str(stated.get("quant_algo") or "").upper()
    if "NVFP4" in algorithm or any("NVFP4" in a for a in mixed):
        return f"ModelOpt, {algorithm or 'NVFP4'}", 4, KEEPS
    bits = 8 if "FP8" in algorithm or "INT8" in algorithm else 4 if "4" in algorithm else None
    return (
        f"ModelOpt, {algorithm[:40] or '?'}",
        bits,
        DEQUANTIZES if "FP8" in algorithm else REFUSES,
    )


def _number(value: Any) -> float | None:
    if isinstance(value, str) and value.isdecimal() and len(value) < 8:
        value = int(value)
    return (
        float(value)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 2**20
        else None
    )
