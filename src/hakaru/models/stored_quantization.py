"""How a Hugging Face checkpoint was quantized: its method, how many weights its packed tensors
hold, and which programs run it.

A quantized checkpoint names its method in config.json (`quantization_config`, MLX: `quantization`)
or, by ModelOpt, in hf_quant_config.json. Its tensors are packed: eight weights of 4 bits in one
I32, with scales in tensors beside. For plain packings the number of weights follows from the
shapes; for other packings it stays unknown.

Sources: transformers, quantizers/ and utils/quantization_config.py; compressed-tensors,
compressors/; NVIDIA ModelOpt; mlx-lm, utils.py; llama.cpp, conversion/base.py (dequant_model,
prepare_tensors) for what its converter takes.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec import Struct

from hakaru.models.config_values import TEXT_PARTS

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
"""Methods whose packing does not say how many weights a tensor holds."""
_BESIDE: Final = re.compile(
    r"(\.(qzeros|scales|biases|g_idx|SCB|weight_format|absmax|nested_absmax|nested_quant_map|"
    r"quant_map|bias_correction|zero|scale|meta|"
    r"weight_shape|zero_point|qscale_act|qscale_weight|_scale|_shift|weight\._scale|"
    r"weight\._shift|activation_scale|shape|zeros)"
    r"|\.quant_state\..*"
    r"|(weight|input|output|k|v|activation)(_global)?_scale(_inv|_2|_ub)?"
    r"|weight_zero_point|weight_g_idx|_scales|_scale_inv)$"
)
_PACKED: Final = re.compile(
    r"(\.qweight|\.weight_packed|\.W_q|\.weight\._data|\.weight|_packed|_proj|_blocks)$"
)
_WORD_BITS: Final = {"I32": 32, "U32": 32, "U8": 8, "I64": 64, "I16": 16, "U16": 16}


class StoredQuantization(Struct, frozen=True, kw_only=True):
    """The quantization of a checkpoint, as its configuration states it."""

    method: str  # as transformers spells it, such as "awq"
    label: str  # as people call the method
    bits: float | None  # of a weight
    group: int | None  # weights that share a scale
    runners: tuple[str, ...]  # programs that run the checkpoint as it is
    converter: str  # what llama.cpp's converter does with it: REFUSES, DEQUANTIZES or KEEPS
    by_module: Mapping[str, float]  # bits of single modules (MLX)

    def weights_in(self, name: str, dtype: str, shape: tuple[int, ...]) -> int | None:
        """The number of weights in a stored tensor: 0 for scales and the like, None where the
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


def stored_quantization(
    config: Mapping[str, Any], beside: Mapping[str, Any] | None = None
) -> StoredQuantization | None:
    """The quantization that config.json and `beside` (hf_quant_config.json) state; None for a
    checkpoint that is not quantized.
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
        is_mlx = "group_size" in stated and "bits" in stated
        method = "mlx" if is_mlx else "bitsandbytes" if _bnb_bits(stated) else "?"
    label, runners, converter = _METHODS.get(method, (method[:40], (), REFUSES))
    bits = _bits(method, stated)
    group = _number(stated.get("group_size", stated.get("q_group_size")))
    if method == "compressed-tensors":
        label, bits, group, converter = _compressed(stated)
    if method in {"modelopt", "modelopt_fp4"}:
        label, bits, converter = _modelopt(stated)
    if method == "gptq" and bits not in {2, 4, 8}:
        converter = REFUSES  # llama.cpp, conversion/base.py: 3 bits are not implemented
    if field in {"compression_config", "beside"}:
        converter = REFUSES  # it reads quantization_config and hf_quant_config.json alone
    by_module = {
        module: float(module_bits)
        for module, fields in stated.items()
        if isinstance(fields, dict) and (module_bits := _number(fields.get("bits")))
    }
    return StoredQuantization(
        method=method, label=label, bits=bits, group=int(group) if group and group > 0 else None,
        runners=runners, converter=converter, by_module=by_module,
    )  # fmt: skip


def _stated(config: Mapping[str, Any]) -> tuple[str | None, dict[str, Any] | None]:
    """The name and the value of the field that states a quantization, in the whole configuration or
    in the language model's part; None, None without such a field.
    """
    parts = [config, *(config[part] for part in TEXT_PARTS if isinstance(config.get(part), dict))]
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
        return _first_number(stated.get("weights"))
    if method == "hqq":
        inner = stated.get("quant_config", stated)
        inner = inner.get("weight_quant_params", inner) if isinstance(inner, dict) else {}
        return _number(inner.get("nbits")) if isinstance(inner, dict) else None
    if method == "quark":
        whole = stated.get("global_quant_config")
        weight = whole.get("weight") if isinstance(whole, dict) else None
        weight = weight[0] if isinstance(weight, list) and weight else weight
        return _first_number(weight.get("dtype")) if isinstance(weight, dict) else None
    if method == "aqlm":
        n_books, book_bits, n_in, n_out = (
            _number(stated.get(key))
            for key in ("num_codebooks", "nbits_per_codebook", "in_group_size", "out_group_size")
        )
        if not (n_books and book_bits and n_in):
            return None
        return n_books * book_bits / (n_in * (n_out or 1))
    return _first(_number(stated.get(key)) for key in ("bits", "w_bit", "nbits", "weight_bits"))


def _bnb_bits(stated: Mapping[str, Any]) -> float | None:
    if stated.get("load_in_4bit") or stated.get("_load_in_4bit"):
        return 4
    return 8 if stated.get("load_in_8bit") or stated.get("_load_in_8bit") else None


def _compressed(stated: Mapping[str, Any]) -> tuple[str, float | None, float | None, str]:
    """Label, bits, group and what the converter does, of the method compressed-tensors. Source:
    llama.cpp, conversion/base.py (dequant_model).
    """
    groups = stated.get("config_groups")
    values = groups.values() if isinstance(groups, dict) else ()
    rows = [row for row in values if isinstance(row, dict)]
    weights = [fields for row in rows if isinstance(fields := row.get("weights"), dict)]
    bits = _first(_number(fields.get("num_bits")) for fields in weights)
    group = _first(_number(fields.get("group_size")) for fields in weights)
    strategy = weights[0].get("strategy") if weights else None
    kind = str(stated.get("format") or "")
    nvfp4 = kind == "nvfp4-pack-quantized" or (
        kind == "mixed-precision"
        and bool(rows)
        and all(row.get("format") == "nvfp4-pack-quantized" for row in rows)
    )
    label = f"compressed-tensors, {kind[:40]}" if kind else "compressed-tensors"
    if nvfp4:
        return label, 4, 16, KEEPS
    if kind == "pack-quantized":
        converts = strategy == "group" and weights[0].get("type", "int") == "int"
    else:
        plain = {"float-quantized", "int-quantized", "naive-quantized"}
        converts = kind in plain and strategy in {"channel", "block"}
    usual_bits = 4 if "pack" in kind or "mxfp4" in kind else 8
    converter = DEQUANTIZES if converts and len(rows) == 1 else REFUSES
    return label, bits or usual_bits, group, converter


def _modelopt(stated: Mapping[str, Any]) -> tuple[str, float | None, str]:
    """Label, bits and what the converter does, of ModelOpt's methods."""
    layers = stated.get("quantized_layers")
    by_layer = layers.values() if isinstance(layers, dict) else ()
    mixed = {str(layer.get("quant_algo")) for layer in by_layer if isinstance(layer, dict)}
    algorithm = str(stated.get("quant_algo") or "").upper()
    if "NVFP4" in algorithm or any("NVFP4" in of_layer for of_layer in mixed):
        return f"ModelOpt, {algorithm or 'NVFP4'}", 4, KEEPS
    bits = 8 if "FP8" in algorithm or "INT8" in algorithm else 4 if "4" in algorithm else None
    converter = DEQUANTIZES if "FP8" in algorithm else REFUSES
    return f"ModelOpt, {algorithm[:40] or '?'}", bits, converter


def _number(value: Any) -> float | None:
    """`value` as a number above 0, or None."""
    if isinstance(value, str) and value.isdecimal() and len(value) < 8:
        value = int(value)
    if type(value) not in {int, float} or not 0 < value < 2**20:
        return None
    return float(value)


def _first_number(text: Any) -> float | None:
    """The first number in a text such as `int4`."""
    digits = re.search(r"\d+", str(text))
    return float(digits[0]) if digits else None


def _first(numbers: Iterable[float | None]) -> float | None:
    """The first number that is not None."""
    return next((number for number in numbers if number), None)
