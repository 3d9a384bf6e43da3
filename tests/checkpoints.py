"""A tiny checkpoint as Hugging Face keeps one: its configuration, and tensors in safetensors."""

import json
import math

from hakaru.models.shape import Shape
from hakaru.testing import llama_tensors


def stored(tensors: dict[str, tuple[str, list[int], int]]) -> bytes:
    """A safetensors file: name to dtype, shape and bytes."""
    rows, end = dict[str, object](), 0
    for name, (dtype, shape, n) in tensors.items():
        rows[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + n]}
        end += n
    header = json.dumps(rows).encode()
    return len(header).to_bytes(8, "little") + header + bytes(end)


def checkpoint_of(shape: Shape) -> tuple[bytes, dict[str, tuple[str, list[int], int]]]:
    """The config.json and the tensors (dtype, shape in PyTorch's order, bytes) of a tiny Llama
    checkpoint in BF16.
    """
    config = {
        "architectures": ["LlamaForCausalLM"], "hidden_size": shape.n_embd,
        "intermediate_size": shape.n_ff, "num_hidden_layers": shape.n_layer,
        "num_attention_heads": shape.n_head, "num_key_value_heads": shape.n_head_kv[0],
        "vocab_size": shape.n_vocab, "max_position_embeddings": 2048, "rms_norm_eps": 1e-5,
        "tie_word_embeddings": False,
    }  # fmt: skip
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
        "attn_norm": "input_layernorm",
             "ffn_norm": "post_attention_layernorm", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
             "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj"}  # fmt: skip
    tensors = {}
    for name, dims in llama_tensors(shape):
        *layer, own, _ = name.split(".")
        prefix = f"model.layers.{layer[1]}." if layer else ""
        tensors[f"{prefix}{names[own]}.weight"] = ("BF16", list(dims), 2 * math.prod(dims))
    return json.dumps(config).encode(), tensors
