"""Tiny models for tests: those of hakaru, and those of programs that use it.

`write_tiny_projector` makes the eyes of such a model (mmproj), which llama.cpp's server loads.
`write_tiny_llama` makes a whole, loadable model of the llama architecture in a few hundred
kilobytes: random weights, a byte-level vocabulary, the chat template ChatML. `write_header_only`
and `write_header` make a file that llama.cpp can dry-run: a true header without a vocabulary,
followed by a hole, so that a 70B model takes a few kilobytes of disk.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from hakaru.formats import header_file
from hakaru.formats.gguf import ALIGNMENT, Tensor
from hakaru.formats.metadata import Metadata, MetadataValue
from hakaru.models.architectures import tensors_of
from hakaru.models.byte_letters import byte_letters
from hakaru.models.caches import full_attention
from hakaru.models.hyperparameters import expand
from hakaru.models.shape import Shape
from hakaru.models.towers import Tower, header_of_tower

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def tiny_shape(**changes: Any) -> Shape:
    """A shape of two layers. Its rows divide by 256, so that they can have every type. `changes`
    replace fields.
    """
    fields: dict[str, Any] = {
        "architecture": "llama", "n_layer": 2, "n_embd": 256, "n_ff": 512, "n_head": 4,
        "n_vocab": 512, "n_ctx_train": 2048,
    }  # fmt: skip
    fields |= changes
    head_dim = fields["n_embd"] // fields["n_head"]
    fields.setdefault("n_head_kv", (2,) * fields["n_layer"])
    fields.setdefault("n_embd_head_k", head_dim)
    fields.setdefault("n_embd_head_v", fields["n_embd_head_k"])
    fields.setdefault(
        "caches",
        full_attention(fields["n_head_kv"], fields["n_embd_head_k"], fields["n_embd_head_v"]),
    )
    return Shape(**fields)


def llama_tensors(shape: Shape, *, tied: bool = False) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Name and shape (rows first) of every tensor of a llama-like model, in the order of the file.

    Source: llama.cpp, src/models/{llama,qwen2,qwen3}.cpp.
    """
    n_ff, q = shape.n_ff or 0, shape.n_head * shape.n_embd_head_k
    yield "token_embd.weight", (shape.n_vocab, shape.n_embd)
    for i, heads in enumerate(shape.n_head_kv):
        k, v = heads * shape.n_embd_head_k, heads * shape.n_embd_head_v
        yield f"blk.{i}.attn_norm.weight", (shape.n_embd,)
        yield f"blk.{i}.attn_q.weight", (q, shape.n_embd)
        yield f"blk.{i}.attn_k.weight", (k, shape.n_embd)
        yield f"blk.{i}.attn_v.weight", (v, shape.n_embd)
        yield f"blk.{i}.attn_output.weight", (shape.n_embd, shape.n_head * shape.n_embd_head_v)
        if shape.architecture == "qwen2":
            yield f"blk.{i}.attn_q.bias", (q,)
            yield f"blk.{i}.attn_k.bias", (k,)
            yield f"blk.{i}.attn_v.bias", (v,)
        if shape.architecture == "qwen3":
            yield f"blk.{i}.attn_q_norm.weight", (shape.n_embd_head_k,)
            yield f"blk.{i}.attn_k_norm.weight", (shape.n_embd_head_k,)
        yield f"blk.{i}.ffn_norm.weight", (shape.n_embd,)
        yield f"blk.{i}.ffn_gate.weight", (n_ff, shape.n_embd)
        yield f"blk.{i}.ffn_up.weight", (n_ff, shape.n_embd)
        yield f"blk.{i}.ffn_down.weight", (shape.n_embd, n_ff)
    yield "output_norm.weight", (shape.n_embd,)
    if not tied:
        yield "output.weight", (shape.n_vocab, shape.n_embd)


def write_tiny_llama(
    path: Path,
    shape: Shape | None = None,
    *,
    tied: bool = False,
    add_bos: bool = False,
    seed: int = 1,
    idle_from: int | None = None,
    part_tensors: int = 0,
) -> Path:
    """Write a whole tiny model in F16 to `path` and return it. The same seed gives the same
    weights.

    Layers from number `idle_from` on take their time and change nothing: the model answers as the
    one without these layers does, which so drafts for it perfectly. With `part_tensors` the model
    is split into files of at most that many tensors, and the path of the first file is returned.
    """
    shape = shape or tiny_shape()
    random = np.random.default_rng(seed)
    writer = _writer(path, shape, part_tensors)
    writer.add_add_bos_token(add_bos)
    first_idle = shape.n_layer if idle_from is None else idle_from
    idle = tuple(f"blk.{i}." for i in range(first_idle, shape.n_layer))
    for name, dims in llama_tensors(shape, tied=tied):
        if len(dims) == 1:
            writer.add_tensor(name, np.ones(dims, dtype=np.float32))
        elif name.startswith(idle):
            writer.add_tensor(name, np.zeros(dims, dtype=np.float16))
        else:
            scale = 1.0 if name.startswith("token_embd") else dims[-1] ** -0.5
            writer.add_tensor(name, (random.standard_normal(dims) * scale).astype(np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    parts = sorted(path.parent.glob(f"{path.stem}-00001-of-*.gguf")) if part_tensors else []
    return parts[0] if parts else path


def write_header_only(
    path: Path, shape: Shape, *, tied: bool = False, vocabulary: bool = False
) -> Path:
    """Write the header of a model with `shape` in F16, then a hole of the weights' size. Returns
    `path`.

    With `vocabulary` the header has tokens, as that of a real model.
    """
    a = shape.architecture
    metadata: dict[str, MetadataValue] = {
        "general.architecture": a, "general.name": path.stem, f"{a}.block_count": shape.n_layer,
        f"{a}.context_length": shape.n_ctx_train or 2048, f"{a}.embedding_length": shape.n_embd,
        f"{a}.feed_forward_length": shape.n_ff or 0, f"{a}.attention.head_count": shape.n_head,
        f"{a}.attention.head_count_kv": list(shape.n_head_kv),
        f"{a}.attention.key_length": shape.n_embd_head_k,
        f"{a}.attention.value_length": shape.n_embd_head_v,
        f"{a}.rope.dimension_count": shape.n_embd_head_k,
        f"{a}.attention.layer_norm_rms_epsilon": 1e-5, f"{a}.rope.freq_base": 10000.0,
    }  # fmt: skip
    tensors = ((name, dims[::-1]) for name, dims in llama_tensors(shape, tied=tied))
    metadata = header_file.without_vocabulary(metadata, shape.n_vocab)
    if vocabulary:
        tokens, types = _vocabulary(shape.n_vocab)
        metadata |= {
            "tokenizer.ggml.tokens": tokens,
            "tokenizer.ggml.token_type": list(map(int, types)),
        }
    return header_file.write_header_only(path, metadata, tensors)


def write_header(
    path: Path,
    metadata: Mapping[str, MetadataValue],
    *,
    n_vocab: int,
    tied: bool = False,
    having: Collection[str] = (),
    type_: str | Mapping[str, str] = "F16",
) -> Path:
    """Write the header of any known architecture from its metadata, then a hole. Returns `path`.

    `having` names optional tensors as `architectures.tensors_of` does.
    """
    tensors = tensors_of(Metadata(path, metadata), n_vocab=n_vocab, tied=tied, having=having)
    return header_file.write_header_only(
        path, header_file.without_vocabulary(metadata, n_vocab), tensors, type_
    )


def tiny_hyperparameters(architecture: str, **changes: Any) -> dict[str, MetadataValue]:
    """The metadata of a tiny model of an architecture in `ARCHITECTURES`: two layers, rows that
    divide by 256.

    `changes` replace values by their names without the architecture; `__` stands for the dot, and
    None removes the key. Some architectures need further keys. Gemma, Command R and Cohere 2 are
    always tied.
    """
    values = {
        **_TINY,
        **(_EXPERTS if architecture in _WITH_EXPERTS else {}),
        **_BY_ARCHITECTURE.get(architecture, {}),
        **{key.replace("__", "."): value for key, value in changes.items()},
    }
    return expand(architecture, {key: value for key, value in values.items() if value is not None})


def write_tiny(
    path: Path,
    metadata: Mapping[str, MetadataValue],
    *,
    n_vocab: int = 512,
    tied: bool = False,
    having: Collection[str] = (),
    type_: str = "F16",
    seed: int = 1,
    vocabulary: bool = False,
) -> Path:
    """Write a whole model of any known architecture with random weights to `path`, and return it.
    Without a `vocabulary` of bytes llama.cpp's server cannot load it.

    `metadata` as `tiny_hyperparameters` makes it; `type_` is F16, BF16 or F32."""
    shapes = dict(tensors_of(Metadata(path, metadata), n_vocab=n_vocab, tied=tied, having=having))
    rows = header_file.header_tensors(shapes.items(), type_)
    return _write_random(path, _with_vocabulary(metadata, n_vocab, whole=vocabulary), rows, seed)


def _write_random(
    path: Path, metadata: Mapping[str, MetadataValue], rows: Sequence[Tensor], seed: int
) -> Path:
    random = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(header := header_file.header_bytes(metadata, rows))
        for row in rows:
            file.write(bytes(len(header) + row.offset - file.tell()))
            file.write(
                gguf.quantize(
                    _random_weights(row, random), gguf.GGMLQuantizationType(row.type.id)
                ).tobytes()
            )
        file.write(bytes(-file.tell() % ALIGNMENT))
    return path


TINY_TOWER = Tower(
    projector="gemma3", n_layer=2, n_embd=64, n_ff=128, n_head=2, patch=16, image=64,
    n_positions=16,
)  # fmt: skip


def write_tiny_projector(path: Path, *, tower: Tower = TINY_TOWER, n_embd: int = 256) -> Path:
    """Write a whole projector with random weights for a language model of the width `n_embd`, and
    return it. The usual `tower` makes one token of a picture of 64 pixels a side.
    """
    header = header_of_tower(tower, n_embd)
    return _write_random(path, header.metadata, header.tensors, seed=1)


def _with_vocabulary(
    metadata: Mapping[str, MetadataValue], n_vocab: int, *, whole: bool
) -> dict[str, MetadataValue]:
    """The metadata with the size of a vocabulary, or if `whole`, with a vocabulary of bytes and the
    chat template ChatML.
    """
    if not whole:
        return header_file.without_vocabulary(metadata, n_vocab)
    tokens, _ = _vocabulary(n_vocab)
    names: dict[str, MetadataValue] = {
        "model": "gpt2", "pre": "smollm", "tokens": tokens, "merges": ["a b"], "bos_token_id": 0,
        "eos_token_id": 1,
    }  # fmt: skip
    return {
        **metadata,
        **{f"tokenizer.ggml.{name}": value for name, value in names.items()},
        "tokenizer.chat_template": CHATML,
    }


_TINY: dict[str, Any] = {
    "block_count": 2, "context_length": 2048, "embedding_length": 256, "feed_forward_length": 512,
    "attention.head_count": 4, "attention.head_count_kv": 2, "attention.key_length": 64,
    "attention.value_length": 64, "rope.dimension_count": 64,
}  # fmt: skip
_EXPERTS: dict[str, Any] = {
    "expert_count": 4, "expert_used_count": 2, "expert_feed_forward_length": 256,
    "expert_shared_feed_forward_length": 256, "expert_shared_count": 1, "expert_weights_scale": 1.0,
    "leading_dense_block_count": 1,
}  # fmt: skip
_WITH_EXPERTS = (
    "qwen2moe", "qwen3moe", "phimoe", "gpt-oss", "granitemoe", "olmoe", "minimax-m2", "hunyuan-moe",
    "lfm2moe", "glm4moe", "ernie4_5-moe", "afmoe", "laguna", "cohere2moe", "mimo2", "exaone-moe",
    "hy_v3", "qwen35moe", "qwen3next", "deepseek2",
)  # fmt: skip
_WINDOW: dict[str, Any] = {"attention.sliding_window": 64}
_MAMBA: dict[str, Any] = {
    "ssm.conv_kernel": 4, "ssm.inner_size": 512, "ssm.state_size": 64, "ssm.time_step_rank": 8,
    "ssm.group_count": 1,
}  # fmt: skip
_DELTA: dict[str, Any] = {
    "ssm.conv_kernel": 4, "ssm.inner_size": 256, "ssm.state_size": 64, "ssm.time_step_rank": 4,
    "ssm.group_count": 2, "full_attention_interval": 2,
}  # fmt: skip
_SECOND_ATTENDS: dict[str, Any] = {"attention.head_count_kv": [0, 2]}
_NO_ATTENTION: dict[str, Any] = {
    key: None for key in _TINY if key.startswith(("attention", "rope"))
}
_BY_ARCHITECTURE: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (
            "gemma2", "gemma3", "gemma3n", "exaone4", "gpt-oss", "olmo2", "phi3", "exaone-moe",
            "laguna", "afmoe", "cohere2", "cohere2moe",
        ),
        _WINDOW,
    ),
    "mimo2": {**_WINDOW, "attention.sliding_window_pattern": [0, 1]},
    "olmoe": {"attention.head_count_kv": 4},
    "deepseek2": {
        "attention.q_lora_rank": 64, "attention.kv_lora_rank": 64, "attention.key_length": 96,
        "attention.key_length_mla": 96, "attention.value_length_mla": 64,
        "attention.head_count_kv": 1, "rope.dimension_count": 32,
    },
    "qwen3next": _DELTA,
    "qwen35": _DELTA,
    "qwen35moe": _DELTA,
    "granitehybrid": {**_MAMBA, **_SECOND_ATTENDS},
    "lfm2": {"shortconv.l_cache": 3, **_SECOND_ATTENDS},
    "lfm2moe": {"shortconv.l_cache": 3, **_SECOND_ATTENDS},
    "mamba": {**_NO_ATTENTION, **_MAMBA, "ssm.state_size": 16, "ssm.time_step_rank": 16},
    "mamba2": {**_NO_ATTENTION, **_MAMBA},
}  # fmt: skip


def _random_weights(row: Tensor, random: np.random.Generator) -> Any:
    """Weights with which a model computes sensibly: norms are about one, states fade, and matrices
    keep the length of a vector.
    """
    shape = row.shape[::-1]
    if row.name.endswith("ssm_a"):
        return -np.exp(random.standard_normal(shape)).astype(np.float32)
    if len(shape) == 1:
        return (random.standard_normal(shape) * 0.1 + (not row.name.endswith("bias"))).astype(
            np.float32
        )
    return (
        random.standard_normal(shape) * (1.0 if "token_embd" in row.name else row.shape[0] ** -0.5)
    ).astype(np.float32)


def _writer(path: Path, shape: Shape, part_tensors: int = 0) -> Any:
    writer = gguf.GGUFWriter(path, shape.architecture, split_max_tensors=part_tensors)
    writer.add_name(path.stem)
    writer.add_block_count(shape.n_layer)
    writer.add_context_length(shape.n_ctx_train or 2048)
    writer.add_embedding_length(shape.n_embd)
    writer.add_feed_forward_length(shape.n_ff or 0)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(list(shape.n_head_kv))
    writer.add_key_length(shape.n_embd_head_k)
    writer.add_value_length(shape.n_embd_head_v)
    writer.add_rope_dimension_count(shape.n_embd_head_k)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    tokens, types = _vocabulary(shape.n_vocab)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_chat_template(CHATML)
    return writer


def _vocabulary(n_vocab: int) -> tuple[list[str], list[int]]:
    """The texts and kinds of `n_vocab` tokens: control tokens, 256 bytes in GPT-2's spelling, one
    merge, and unused tokens.
    """
    tokens = ["<|im_start|>", "<|im_end|>", *byte_letters(), "ab"]
    types = [gguf.TokenType.CONTROL] * 2 + [gguf.TokenType.NORMAL] * 257
    unused = n_vocab - len(tokens)
    return (
        tokens + [f"[unused{i}]" for i in range(unused)],
        types + [gguf.TokenType.UNUSED] * unused,
    )
