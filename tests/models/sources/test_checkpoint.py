"""Hugging Face folders: what lies there, how it is quantized, who runs it, and what llama.cpp's
converter makes of it.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hakaru.errors import HakaruError, ModelDamaged, ModelNotFound, ModelUnknown
from hakaru.formats.imatrix import Activations, Imatrix, write_imatrix
from hakaru.formats.safetensors import BITS
from hakaru.models.model import read_model
from hakaru.models.sources.checkpoint import convertible
from hakaru.models.sources.conversion import needs_conversion
from hakaru.models.sources.find import find_model, whole_model
from hakaru.models.sources.found import Found
from hakaru.testing import write_tiny_llama
from loopback import Loopback

Tensors = dict[str, tuple[str, tuple[int, ...]]]
D, FF, HEADS, KV, LAYERS, VOCAB = 256, 512, 4, 2, 2, 1000


def llama() -> Tensors:
    """The tensors of a tiny Llama in BF16, under transformers' names."""
    found: Tensors = {
        "model.embed_tokens.weight": ("BF16", (VOCAB, D)),
        "model.norm.weight": ("BF16", (D,)),
        "lm_head.weight": ("BF16", (VOCAB, D)),
    }
    for i in range(LAYERS):
        shapes = {
            "input_layernorm": (D,), "post_attention_layernorm": (D,), "self_attn.q_proj": (D, D),
            "self_attn.k_proj": (D // 2, D), "self_attn.v_proj": (D // 2, D),
            "self_attn.o_proj": (D, D), "mlp.gate_proj": (FF, D), "mlp.up_proj": (FF, D),
            "mlp.down_proj": (D, FF),
        }  # fmt: skip
        found |= {
            f"model.layers.{i}.{name}.weight": ("BF16", shape) for name, shape in shapes.items()
        }
    return found


CONFIG: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": D,
    "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV,
    "intermediate_size": FF, "vocab_size": VOCAB, "max_position_embeddings": 4096,
}  # fmt: skip
N_PARAMS = sum(math.prod(shape) for _, shape in llama().values())


def stored(tensors: Tensors) -> bytes:
    """A whole safetensors file."""
    rows, end = dict[str, object](), 0
    for name, (dtype, shape) in tensors.items():
        n = math.prod(shape) * BITS[dtype] // 8
        rows[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + n]}
        end += n
    header = json.dumps(rows).encode()
    return len(header).to_bytes(8, "little") + header + b"\1" * end


def folder(path: Path, files: Mapping[str, Tensors | bytes], **fields: Any) -> Path:
    """A checkpoint's folder: config.json with these fields changed (None: written as null), and the
    files.
    """
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG | fields))
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(content if isinstance(content, bytes) else stored(content))
    return path


def halves() -> tuple[Tensors, Tensors]:
    rows = list(llama().items())
    return dict(rows[: len(rows) // 2]), dict(rows[len(rows) // 2 :])


def index_of(**shards: Tensors) -> bytes:
    return json.dumps(
        {"weight_map": {name: shard for shard, tensors in shards.items() for name in tensors}}
    ).encode()


ONE, TWO = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


@pytest.mark.parametrize("with_index", [True, False])
@pytest.mark.parametrize("missing", [ONE, TWO])
def test_a_missing_shard_is_named(tmp_path: Path, missing: str, with_index: bool) -> None:
    """By the index, and without one by the numbers; never a size of half a model."""
    parts = dict(zip((ONE, TWO), halves(), strict=True))
    files: dict[str, Tensors | bytes] = {
        name: part for name, part in parts.items() if name != missing
    }
    if with_index:
        files["model.safetensors.index.json"] = index_of(**parts)
    with pytest.raises(
        ModelNotFound,
        match=rf"1 of its 2 weight files are missing, the first of them {missing}, as .* tells",
    ):
        find_model(folder(tmp_path / "x", files))


def test_a_missing_shard_at_the_hub_is_named_as_well(hub: Loopback) -> None:
    """From the listing, before anything is fetched."""
    first, second = halves()
    index = index_of(**{ONE: first, TWO: second})
    hub.add_repository(
        "org/x",
        {
            "config.json": json.dumps(CONFIG).encode(),
            ONE: stored(first),
            "model.safetensors.index.json": index,
        },
    )
    with pytest.raises(
        ModelNotFound, match=rf"the first of them {TWO}, as model\.safetensors\.index\.json tells"
    ):
        find_model("hf:org/x")


def test_a_tensor_that_its_shard_lacks_is_named(tmp_path: Path) -> None:
    """The index and the files are of two versions."""
    first, second = halves()
    index = index_of(**{ONE: {**first, "model.extra.weight": ("BF16", (1,))}, TWO: second})
    with pytest.raises(ModelDamaged, match=rf"{ONE}: lacks the tensor model\.extra\.weight"):
        find_model(
            folder(tmp_path / "x", {ONE: first, TWO: second, "model.safetensors.index.json": index})
        )


OTHER_NAMES = {
    name.replace("model.", "").replace("self_attn.q_proj", "attention.wq"): row
    for name, row in llama().items()
}
ADAPTER: Tensors = {
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": ("F32", (16, D))
}
BESIDE: dict[str, dict[str, Tensors | bytes]] = {
    "the same weights for another program": {"consolidated.safetensors": OTHER_NAMES},
    "an adapter": {"adapter_model.safetensors": ADAPTER, "adapter_config.json": b"{}"},
    "pickles of the same": {"pytorch_model.bin": b"x" * 100},
    "Meta's own files": {
        "original/consolidated.00.pth": b"x" * 100,
        "original/model.safetensors": OTHER_NAMES,
    },
    "a training's state": {
        "optimizer.bin": b"x",
        "training_args.bin": b"x",
        "scheduler.safetensors": ADAPTER,
    },
}


@pytest.mark.parametrize("kind", BESIDE)
def test_what_lies_beside_the_weights_is_neither_counted_nor_an_alarm(
    tmp_path: Path, kind: str
) -> None:
    """The model has its weights once, and no sentence says otherwise."""
    found = find_model(folder(tmp_path / "x", {"model.safetensors": llama(), **BESIDE[kind]}))
    assert (found.note, found.stored and found.stored.n_files) == (None, 1)
    assert read_model(found.path).n_params == N_PARAMS
    assert (
        found.stored and found.stored.bytes == (tmp_path / "x" / "model.safetensors").stat().st_size
    )
    assert found.stored.complete


def quantized(per_matrix: Any) -> Tensors:
    """The checkpoint with every matrix of its layers packed by `per_matrix(module, rows,
    columns)`.
    """
    found: Tensors = {}
    for name, (dtype, shape) in llama().items():
        module = name.removesuffix(".weight")
        found |= per_matrix(module, *shape) if "_proj" in module else {name: (dtype, shape)}
    return found


def awq(m: str, o: int, i: int) -> Tensors:
    return {
        f"{m}.qweight": ("I32", (i, o // 8)),
        f"{m}.qzeros": ("I32", (i // 128, o // 8)),
        f"{m}.scales": ("F16", (i // 128, o)),
    }


def gptq(bits: int) -> Any:
    return lambda m, o, i: {
        f"{m}.qweight": ("I32", (i * bits // 32, o)),
        f"{m}.qzeros": ("I32", (i // 128, o * bits // 32)),
        f"{m}.scales": ("F16", (i // 128, o)),
        f"{m}.g_idx": ("I32", (i,)),
    }


def mlx(bits: int) -> Any:
    return lambda m, o, i: {
        f"{m}.weight": ("U32", (o, i * bits // 32)),
        f"{m}.scales": ("BF16", (o, i // 64)),
        f"{m}.biases": ("BF16", (o, i // 64)),
    }


def bnb4(m: str, o: int, i: int) -> Tensors:
    return {
        f"{m}.weight": ("U8", (o * i // 2, 1)), f"{m}.weight.absmax": ("U8", (o * i // 64,)),
        f"{m}.weight.quant_map": ("F32", (16,)), f"{m}.weight.nested_absmax": ("F32", (8,)),
        f"{m}.weight.quant_state.bitsandbytes__nf4": ("U8", (100,)),
    }  # fmt: skip


def bnb8(m: str, o: int, i: int) -> Tensors:
    return {
        f"{m}.weight": ("I8", (o, i)),
        f"{m}.SCB": ("F32", (o,)),
        f"{m}.weight_format": ("U8", ()),
    }


def fp8(m: str, o: int, i: int) -> Tensors:
    return {f"{m}.weight": ("F8_E4M3", (o, i)), f"{m}.weight_scale_inv": ("F32", (1, i // 128))}


def packed(m: str, o: int, i: int) -> Tensors:
    return {
        f"{m}.weight_packed": ("I32", (o, i // 8)),
        f"{m}.weight_scale": ("BF16", (o, i // 128)),
        f"{m}.weight_shape": ("I64", (2,)),
        f"{m}.weight_zero_point": ("I32", (o // 8, i // 128)),
    }


def nvfp4(m: str, o: int, i: int) -> Tensors:
    return {
        f"{m}.weight": ("U8", (o, i // 2)),
        f"{m}.weight_scale": ("F8_E4M3", (o, i // 16)),
        f"{m}.weight_scale_2": ("F32", ()),
        f"{m}.input_scale": ("F32", ()),
    }


def ct_nvfp4(m: str, o: int, i: int) -> Tensors:
    return {
        f"{m}.weight_packed": ("U8", (o, i // 2)),
        f"{m}.weight_scale": ("F8_E4M3", (o, i // 16)),
        f"{m}.weight_global_scale": ("F32", (1,)),
        f"{m}.input_global_scale": ("F32", (1,)),
    }


def quanto(m: str, o: int, i: int) -> Tensors:
    return {
        f"{m}.weight._data": ("I8", (o, i)),
        f"{m}.weight._scale": ("BF16", (o, 1)),
        f"{m}.input_scale": ("BF16", ()),
    }


def hqq(m: str, o: int, i: int) -> Tensors:
    return {
        f"{m}.W_q": ("U8", (o // 2, i)),
        f"{m}.scale": ("F16", (o * i // 64, 1)),
        f"{m}.zero": ("F16", (o * i // 64, 1)),
    }


def groups(**weights: Any) -> dict[str, Any]:
    return {"config_groups": {"group_0": {"weights": weights}}}


CT = {"quant_method": "compressed-tensors"}
METHODS: dict[str, tuple[dict[str, Any], Any, str, str]] = {
    "awq": ({"quant_method": "awq", "bits": 4, "group_size": 128}, awq,
        "AWQ, 4 bits in groups of 128", "refuses"),
    "gptq": ({"quant_method": "gptq", "bits": 4, "group_size": 128}, gptq(4),
        "GPTQ, 4 bits in groups of 128", "dequantizes"),
    "gptq 8": ({"quant_method": "gptq", "bits": 8, "group_size": -1}, gptq(8), "GPTQ, 8 bits",
        "dequantizes"),
    "gptq 3": ({"quant_method": "gptq", "bits": 3, "group_size": 128}, gptq(3),
        "GPTQ, 3 bits in groups of 128", "refuses"),
    "auto-round": ({"quant_method": "auto-round", "bits": 4, "group_size": 128}, gptq(4),
        "AutoRound, 4 bits in groups of 128", "refuses"),
    "bnb4": ({"quant_method": "bitsandbytes", "load_in_4bit": True}, bnb4, "bitsandbytes, 4 bits",
        "refuses"),
    "bnb8": ({"quant_method": "bitsandbytes", "load_in_8bit": True}, bnb8, "bitsandbytes, 8 bits",
        "refuses"),
    "bnb4 unnamed": ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, bnb4,
        "bitsandbytes, 4 bits", "refuses"),
    "fp8": ({"quant_method": "fp8", "weight_block_size": [128, 128]}, fp8, "FP8, 8 bits",
        "dequantizes"),
    "ct int4": (
        {**CT, "format": "pack-quantized",
            **groups(num_bits=4, group_size=128, strategy="group", type="int")}, packed,
        "compressed-tensors, pack-quantized, 4 bits in groups of 128", "dequantizes",
    ),
    "ct fp8": (
        {**CT, "format": "float-quantized", **groups(num_bits=8, strategy="channel", type="float")},
        fp8, "compressed-tensors, float-quantized, 8 bits", "dequantizes",
    ),
    "ct fp8 tensor": (
        {**CT, "format": "float-quantized", **groups(num_bits=8, strategy="tensor", type="float")},
        fp8, "compressed-tensors, float-quantized, 8 bits", "refuses",
    ),
    "ct nvfp4": (
        {**CT, "format": "nvfp4-pack-quantized", **groups(num_bits=4, group_size=16)}, ct_nvfp4,
        "compressed-tensors, nvfp4-pack-quantized, 4 bits in groups of 16", "keeps",
    ),
    "modelopt": ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, nvfp4,
        "ModelOpt, NVFP4, 4 bits", "keeps"),
    "modelopt fp8": ({"quant_method": "modelopt", "quant_algo": "FP8"}, fp8,
        "ModelOpt, FP8, 8 bits", "dequantizes"),
    "quanto": ({"quant_method": "quanto", "weights": "int8"}, quanto, "Quanto, 8 bits", "refuses"),
    "hqq": ({"quant_method": "hqq",
        "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}}, hqq,
        "HQQ, 4 bits", "refuses"),
    "a new one": ({"quant_method": "zipnn9", "bits": 4}, awq, "zipnn9, 4 bits", "refuses"),
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_a_quantized_checkpoint_is_understood(tmp_path: Path, method: str) -> None:
    """Its true size and bits, every packed weight counted, and what llama.cpp's converter does with
    it.
    """
    fields, per_matrix, label, converter = METHODS[method]
    found = find_model(
        folder(
            tmp_path / "x", {"model.safetensors": quantized(per_matrix)}, quantization_config=fields
        )
    )
    size = (tmp_path / "x" / "model.safetensors").stat().st_size
    assert found.stored
    assert (found.stored.quantization, found.stored.converter, found.stored.bytes) == (
        label,
        converter,
        size,
    )
    assert found.stored.bpw == pytest.approx(8 * size / N_PARAMS)
    assert found.note and f"The checkpoint is quantized: {label};" in found.note
    assert "its configuration gives" not in found.note  # all weights were counted
    assert read_model(found.path).n_params == N_PARAMS
    assert ("convert_hf_to_gguf.py" in (found.fetch or "")) is (converter != "refuses")


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_mlx_s_checkpoints_are_understood(tmp_path: Path, bits: int) -> None:
    """They state bits in a field of their own; single modules may have others."""
    special = {"model.layers.0.mlp.down_proj": {"bits": 8, "group_size": 64}}
    tensors = quantized(mlx(bits)) | mlx(8)("model.layers.0.mlp.down_proj", D, FF)
    found = find_model(
        folder(
            tmp_path / "x",
            {"model.safetensors": tensors},
            quantization={"group_size": 64, "bits": bits, **special},
        )
    )
    assert found.stored and found.stored.quantization == f"MLX, {bits} bits in groups of 64"
    assert (found.stored.converter, "its configuration gives" in (found.note or "")) == (
        "refuses",
        False,
    )


def test_modelopt_s_own_file_tells_as_well(tmp_path: Path) -> None:
    """hf_quant_config.json, where config.json says nothing."""
    beside = json.dumps(
        {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4"}}
    ).encode()
    found = find_model(
        folder(
            tmp_path / "x", {"model.safetensors": quantized(nvfp4), "hf_quant_config.json": beside}
        )
    )
    assert found.stored and found.stored.quantization == "ModelOpt, NVFP4, 4 bits"


@pytest.mark.parametrize(
    ("name", "content", "label", "per_matrix"),
    [
        (
            "quantize_config.json",
            {"bits": 4, "group_size": 128, "desc_act": False},
            "GPTQ, 4 bits in groups of 128",
            gptq(4),
        ),
        (
            "quant_config.json",
            {"w_bit": 4, "q_group_size": 128, "zero_point": True},
            "AWQ, 4 bits in groups of 128",
            awq,
        ),
    ],
)
def test_the_files_of_older_quantizers_tell_as_well(
    tmp_path: Path, name: str, content: dict[str, Any], label: str, per_matrix: Any
) -> None:
    """Before 2024 the method stood beside config.json, where llama.cpp's converter does not
    look.
    """
    found = find_model(
        folder(
            tmp_path / "x",
            {"model.safetensors": quantized(per_matrix), name: json.dumps(content).encode()},
        )
    )
    assert found.stored and (found.stored.quantization, found.stored.converter) == (
        label,
        "refuses",
    )
    assert "its configuration gives" not in (found.note or "")


@pytest.mark.parametrize(
    "fields",
    [
        {"quantization_config": {"quant_method": "awq", "bits": "4", "group_size": 128}},
        {"text_config": {"quantization_config": {"quant_method": "awq", "bits": 4}}},
        {"quantization_config": {"quant_method": "AWQ", "w_bit": 4, "q_group_size": 128}},
    ],
)
def test_a_method_is_found_however_it_is_written(tmp_path: Path, fields: dict[str, Any]) -> None:
    """Numbers as text, in the language model's part, under older names."""
    found = find_model(folder(tmp_path / "x", {"model.safetensors": quantized(awq)}, **fields))
    assert found.stored and (found.stored.quantization or "").startswith("AWQ, 4 bits")
    assert "its configuration gives" not in (found.note or "")


def test_an_older_field_of_compressed_tensors(tmp_path: Path) -> None:
    """compression_config, which llama.cpp's converter does not read."""
    fields = {
        "format": "pack-quantized",
        **groups(num_bits=4, group_size=128, strategy="group", type="int"),
    }
    found = find_model(
        folder(tmp_path / "x", {"model.safetensors": quantized(packed)}, compression_config=fields)
    )
    assert found.stored and found.stored.converter == "refuses"
    assert (
        found.stored.quantization == "compressed-tensors, pack-quantized, 4 bits in groups of 128"
    )


@pytest.mark.parametrize(
    "head",
    ["score.weight", "classifier.weight", "qa_outputs.weight", "model.v_head.summary.weight"],
)
def test_the_head_of_a_classifier_is_no_difference(tmp_path: Path, head: str) -> None:
    """It stands on top of a body that has all its weights."""
    body = {name: row for name, row in llama().items() if name != "lm_head.weight"}
    found = find_model(
        folder(
            tmp_path / "x",
            {"model.safetensors": body | {head: ("BF16", (1, D))}},
            architectures=["LlamaForSequenceClassification"],
        )
    )
    assert (
        found.note
        and "is a classifier or reranker" in found.note
        and "its configuration gives" not in found.note
    )


def test_kept_nvfp4_has_its_own_size(tmp_path: Path) -> None:
    """The file that the converter would write has NVFP4 where the checkpoint has it, and 16 bits
    elsewhere.
    """
    found = find_model(
        folder(
            tmp_path / "x",
            {"model.safetensors": quantized(nvfp4)},
            quantization_config=METHODS["modelopt"][0],
        )
    )
    types = {t.name: t.type.name for t in read_model(found.path).tensors}
    assert (types["blk.1.ffn_down.weight"], types["blk.0.attn_q.weight"]) == ("NVFP4", "NVFP4")
    assert (types["token_embd.weight"], types["output.weight"], types["output_norm.weight"]) == (
        "BF16",
        "BF16",
        "F32",
    )


def test_a_quantized_output_matrix_is_one(tmp_path: Path) -> None:
    """lm_head.qweight is an output matrix; without any the embedding serves as one."""
    tensors = quantized(awq)
    del tensors["lm_head.weight"]
    both = find_model(
        folder(
            tmp_path / "x",
            {"model.safetensors": tensors | awq("lm_head", VOCAB, D)},
            quantization_config=METHODS["awq"][0],
        )
    )
    tied = find_model(
        folder(
            tmp_path / "y", {"model.safetensors": tensors}, quantization_config=METHODS["awq"][0]
        )
    )
    assert read_model(both.path).n_params - read_model(tied.path).n_params == VOCAB * D


@pytest.mark.parametrize("method", ["awq", "bnb4", "ct fp8 tensor"])
def test_what_the_converter_refuses_is_refused_before(tmp_path: Path, method: str) -> None:
    """By `quantize`, and wherever weights are needed: with the reason, and not after an hour of
    converting.
    """
    fields, per_matrix, label, _ = METHODS[method]
    path = folder(
        tmp_path / "x", {"model.safetensors": quantized(per_matrix)}, quantization_config=fields
    )
    with pytest.raises(
        ModelUnknown, match=rf"is quantized as {label}, which llama\.cpp's converter refuses"
    ):
        convertible(path)
    with pytest.raises(ModelUnknown, match="converter refuses; fetch a GGUF file"):
        whole_model(str(path))


def test_importance_data_beside_a_checkpoint_is_no_model(tmp_path: Path) -> None:
    """The folder is still a checkpoint that is converted first."""
    path = folder(tmp_path / "x", {"model.safetensors": llama()})
    write_imatrix(
        path / "data.gguf",
        Imatrix(
            entries={"a": Activations(sums=np.ones(4, np.float32), counts=np.ones(1, np.float32))}
        ),
    )
    assert needs_conversion(str(path))
    write_tiny_llama(path / "model.gguf")
    assert not needs_conversion(str(path))


def test_what_the_converter_turns_back_is_said_before(tmp_path: Path) -> None:
    """Quantizing 16 bits that were 8 loses twice."""
    fields, per_matrix, *_ = METHODS["fp8"]
    path = folder(
        tmp_path / "x", {"model.safetensors": quantized(per_matrix)}, quantization_config=fields
    )
    assert "turns it back into 16 bits, and quantizing that loses twice" in (
        convertible(path) or ""
    )
    assert convertible(folder(tmp_path / "y", {"model.safetensors": llama()})) is None
    with pytest.raises(
        ModelNotFound, match=r"becomes a GGUF file first; make one with: convert_hf_to_gguf\.py"
    ):
        whole_model(str(tmp_path / "y"))


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"adapter_config.json": b'{"peft_type": "LORA", "r": 16, '
                                  b'"base_model_name_or_path": "org/base"}',
          "adapter_model.safetensors": b""},
         "is a LORA adapter of rank 16 for org/base"),
        ({"model_index.json": b'{"_class_name": "FluxPipeline"}', "unet/x.safetensors": b""},
            r"a pipeline of diffusers \(FluxPipeline\)"),
        ({"mlc-chat-config.json": b"{}", "params_shard_0.bin": b"x"}, "in the format of MLC"),
        ({"onnx/model.onnx": b"x", "config.json": b"{}"}, "in the format of ONNX"),
        ({"flax_model.msgpack": b"x", "config.json": b"{}"}, "in the format of Flax"),
        ({"params.json": b"{}", "consolidated.00.pth": b"x"},
            "in the format of Meta's own checkpoints"),
        ({"config.json": json.dumps(CONFIG).encode()}, r"has a config\.json but no weights"),
    ],
)  # fmt: skip
def test_a_folder_of_another_kind_says_which(
    tmp_path: Path, hub: Loopback, files: dict[str, bytes], words: str
) -> None:
    """Here and at the Hub alike."""
    path = tmp_path / "x"
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    hub.add_repository("org/x", {**files})
    for reference in (str(path), "hf:org/x"):
        with pytest.raises(HakaruError, match=words) as caught:
            find_model(reference)
        assert caught.value.exit_code == 4


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    """The sizes follow from the configuration; that is said, and a missing part is named."""
    found = find_model(folder(tmp_path / "x", {"pytorch_model.bin": b"x" * 1000}))
    assert read_model(found.path).n_params == N_PARAMS
    assert (
        found.note and "Its weights are pickled (1,000 B in pytorch_model.bin files)" in found.note
    )
    with pytest.raises(ModelNotFound, match=r"the first of them pytorch_model-00002-of-00003\.bin"):
        find_model(
            folder(
                tmp_path / "y",
                {
                    "pytorch_model-00001-of-00003.bin": b"x",
                    "pytorch_model-00003-of-00003.bin": b"x",
                },
            )
        )


def remote(hub: Loopback, files: dict[str, Tensors | bytes], **fields: Any) -> Found:
    """The same folder at the Hub."""
    rows = {
        name: content if isinstance(content, bytes) else stored(content)
        for name, content in files.items()
    }
    hub.add_repository("org/x", {"config.json": json.dumps(CONFIG | fields).encode(), **rows})
    return find_model("hf:org/x")


def test_a_repository_tells_what_its_folder_would(hub: Loopback, tmp_path: Path) -> None:
    """The same size, quantization and sentences, and what the download brings."""
    files: dict[str, Tensors | bytes] = {"model.safetensors": quantized(awq)}
    here = find_model(folder(tmp_path / "x", files, quantization_config=METHODS["awq"][0]))
    there = remote(hub, files, quantization_config=METHODS["awq"][0])
    assert here.stored and there.stored
    assert there.note == here.note
    assert (there.stored.bytes, there.stored.bpw) == (here.stored.bytes, here.stored.bpw)
    assert (there.stored.complete, here.stored.complete) == (False, True)
    assert there.fetch == "hakaru pull hf:org/x"
    assert (
        there.download_bytes == here.stored.bytes + (tmp_path / "x" / "config.json").stat().st_size
    )


def test_a_download_leaves_the_same_weights_in_other_forms(
    hub: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And its size is what the command brings."""
    monkeypatch.setattr("hakaru.models.sources.huggingface.LARGE", 1000)
    found = remote(
        hub,
        {
            "model.safetensors": llama(),
            "consolidated.safetensors": OTHER_NAMES,
            "original/x.pth": b"x" * 2000,
            "README.md": b"hi",
        },
    )
    assert found.stored and found.download_bytes == found.stored.bytes + len(json.dumps(CONFIG)) + 2


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "sub/x.safetensors", "..", "a\\b"]
)
def test_an_index_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    """Whatever it names is not read."""
    index = json.dumps({"weight_map": {"a": name}}).encode()
    with pytest.raises(ModelDamaged, match="which is no file of this folder"):
        find_model(
            folder(
                tmp_path / "x",
                {"model.safetensors.index.json": index, "model.safetensors": llama()},
            )
        )


@pytest.mark.parametrize(
    "index",
    [
        b"{",
        b"[]",
        b'{"weight_map": {}}',
        b'{"weight_map": 3}',
        b'{"weight_map": {"a": 1}}',
        b"[" * 10**5,
    ],
)
def test_an_index_without_sense_is_damage(tmp_path: Path, index: bytes) -> None:
    """One sentence."""
    with pytest.raises(ModelDamaged, match="index"):
        find_model(
            folder(
                tmp_path / "x",
                {"model.safetensors.index.json": index, "model.safetensors": llama()},
            )
        )


@pytest.mark.parametrize(
    "fields",
    [
        {"sliding_window": -1},
        {"sliding_window": None, "use_sliding_window": False},
        {"rope_scaling": None},
        {"head_dim": None},
        {"head_dim": 64.0},
        {"max_position_embeddings": 1e6},
        {"max_position_embeddings": -1},
        {"num_local_experts": -1},
        {"num_experts": None, "num_local_experts": 0},
        {"attn_logit_softcapping": math.nan, "rope_theta": math.inf},
        {"max_position_embeddings": math.nan},
        {"quantization_config": None},
        {"quantization_config": {}},
        {"text_config": None},
        {"layer_types": None},
    ],
)
def test_values_that_the_architecture_ignores_are_no_damage(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    """-1, null, NaN and floats for whole numbers, as transformers and people write them."""
    found = find_model(folder(tmp_path / "x", {"model.safetensors": llama()}, **fields))
    assert (read_model(found.path).n_params, found.note) == (N_PARAMS, None)


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden_size": -1},
        {"num_hidden_layers": "two"},
        {"num_attention_heads": 2.5},
        {"intermediate_size": -5},
    ],
)
def test_values_without_which_there_is_no_model_are_damage(
    tmp_path: Path, fields: dict[str, Any]
) -> None:
    """Nobody guesses a width."""
    with pytest.raises(ModelDamaged, match=f"the field {next(iter(fields))} is"):
        find_model(folder(tmp_path / "x", {"model.safetensors": llama()}, **fields))
