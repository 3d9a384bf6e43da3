"""A GGUF file of a small Llama as the checkpoint that vLLM reads: safetensors in BF16, its
configuration, and its tokenizer.

Source of what is undone: llama.cpp, conversion/llama.py, which puts the two halves of each head of
queries and keys between each other.
"""

import json
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
from numpy.typing import NDArray

_NAMES: Final = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
    "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}  # fmt: skip
_CONTROL: Final = 3
"""The type of a token that no text makes. Source: llama.cpp, LLAMA_TOKEN_TYPE_CONTROL."""


def write_checkpoint(source: Path, folder: Path) -> Path:
    """Write the model in `source` to `folder`, which is returned."""
    reader = gguf.GGUFReader(source)
    keys = {name: field.contents() for name, field in reader.fields.items()}
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(_weights(reader, keys))
    for name, content in {
        "config.json": _config(keys, {tensor.name for tensor in reader.tensors}),
        "tokenizer.json": _tokenizer(keys),
        "tokenizer_config.json": {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "chat_template": keys["tokenizer.chat_template"],
            "eos_token": keys["tokenizer.ggml.tokens"][keys["tokenizer.ggml.eos_token_id"]],
        },
    }.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    return folder


def _weights(reader: gguf.GGUFReader, keys: dict[str, Any]) -> bytes:
    rows, parts, end = dict[str, object](), list[bytes](), 0
    for tensor in reader.tensors:
        *layer, own, _ = tensor.name.split(".")
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        if own in {"attn_q", "attn_k"}:
            heads = keys["llama.attention.head_count" + ("_kv" if own == "attn_k" else "")]
            values = _halves_apart(values, heads)
        prefix = f"model.layers.{layer[1]}." if layer else ""
        parts.append(_bf16(values))
        rows[f"{prefix}{_NAMES[own]}.weight"] = {
            "dtype": "BF16",
            "shape": list(values.shape),
            "data_offsets": [end, end := end + len(parts[-1])],
        }
    header = json.dumps(rows).encode()
    return len(header).to_bytes(8, "little") + header + b"".join(parts)


def _halves_apart(values: NDArray[np.float32], n_head: int) -> NDArray[np.float32]:
    """Rows 0, 2, 4, … of each head first, then rows 1, 3, 5, …"""
    rows, columns = values.shape
    pairs = values.reshape(n_head, rows // n_head // 2, 2, columns)
    return pairs.swapaxes(1, 2).reshape(rows, columns)


def _bf16(values: NDArray[np.float32]) -> bytes:
    """The upper 16 bits, rounded to the nearest, and to even in the middle."""
    bits = np.ascontiguousarray(values, dtype=np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2").tobytes()


def _config(keys: dict[str, Any], tensors: set[str]) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "hidden_size": keys["llama.embedding_length"],
        "intermediate_size": keys["llama.feed_forward_length"],
        "num_hidden_layers": keys["llama.block_count"],
        "num_attention_heads": keys["llama.attention.head_count"],
        "num_key_value_heads": keys["llama.attention.head_count_kv"],
        "max_position_embeddings": keys["llama.context_length"],
        "rms_norm_eps": keys["llama.attention.layer_norm_rms_epsilon"],
        "rope_theta": keys["llama.rope.freq_base"],
        "vocab_size": len(keys["tokenizer.ggml.tokens"]),
        "tie_word_embeddings": "output.weight" not in tensors,
        "bos_token_id": keys["tokenizer.ggml.bos_token_id"],
        "eos_token_id": keys["tokenizer.ggml.eos_token_id"], "hidden_act": "silu",
    }  # fmt: skip


def _tokenizer(keys: dict[str, Any]) -> dict[str, Any]:
    """Byte-level BPE; digits stand alone, as `tokenizer.ggml.pre` = "smollm" means."""
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None,
        "added_tokens": [
            {"id": i, "content": token, "special": True} | special
            for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
            if kind == _CONTROL
        ],
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {**byte_level, "use_regex": True},
            ],
        },
        "post_processor": None,
        "decoder": {**byte_level, "use_regex": True},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": keys["tokenizer.ggml.merges"],
        },
    }  # fmt: skip
