"""The numbers that decide a transformer's memory, with llama.cpp's names, and the tensors that follow from them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

LLAMA_LIKE: Final = frozenset({"llama", "qwen2", "qwen3"})
"""Architectures whose memory hakaru computes itself; each was compared with llama.cpp's dry run. Others are dry-run
only.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Hyperparameters of a decoder. `n_head_kv` has one entry per layer; unknown is None."""

    architecture: str
    n_layer: int
    n_embd: int
    n_ff: int | None
    n_head: int
    n_head_kv: tuple[int, ...]
    n_embd_head_k: int
    n_embd_head_v: int
    n_vocab: int
    n_ctx_train: int | None = None
    n_expert: int = 0

    @property
    def is_llama_like(self) -> bool:
        """Whether our arithmetic holds for it: dense, full attention in every layer."""
        return self.architecture in LLAMA_LIKE and self.n_expert == 0 and self.n_ff is not None

    def tensors(self, *, tied: bool = False) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape (rows first) of every tensor of a llama-like model, in the order of the file.

        Source: llama.cpp, src/models/{llama,qwen2,qwen3}.cpp.
        """
        n_ff, q = self.n_ff or 0, self.n_head * self.n_embd_head_k
        yield "token_embd.weight", (self.n_vocab, self.n_embd)
        for i, heads in enumerate(self.n_head_kv):
            k, v = heads * self.n_embd_head_k, heads * self.n_embd_head_v
            yield f"blk.{i}.attn_norm.weight", (self.n_embd,)
            yield f"blk.{i}.attn_q.weight", (q, self.n_embd)
            yield f"blk.{i}.attn_k.weight", (k, self.n_embd)
            yield f"blk.{i}.attn_v.weight", (v, self.n_embd)
            yield f"blk.{i}.attn_output.weight", (self.n_embd, self.n_head * self.n_embd_head_v)
            if self.architecture == "qwen2":
                yield f"blk.{i}.attn_q.bias", (q,)
                yield f"blk.{i}.attn_k.bias", (k,)
                yield f"blk.{i}.attn_v.bias", (v,)
            if self.architecture == "qwen3":
                yield f"blk.{i}.attn_q_norm.weight", (self.n_embd_head_k,)
                yield f"blk.{i}.attn_k_norm.weight", (self.n_embd_head_k,)
            yield f"blk.{i}.ffn_norm.weight", (self.n_embd,)
            yield f"blk.{i}.ffn_gate.weight", (n_ff, self.n_embd)
            yield f"blk.{i}.ffn_up.weight", (n_ff, self.n_embd)
            yield f"blk.{i}.ffn_down.weight", (self.n_embd, n_ff)
        yield "output_norm.weight", (self.n_embd,)
        if not tied:
            yield "output.weight", (self.n_vocab, self.n_embd)
