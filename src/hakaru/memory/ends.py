"""How a graph begins and how it ends: from tokens to the first residual, and from the last residual
to logits.

Source: llama.cpp, src/llama-graph.cpp (build_inp_embd) and src/models.
"""

from collections.abc import Callable
from typing import Final

from hakaru.memory.blocks import Build, embedded, scaled
from hakaru.memory.gemma import joined, parts_after_tokens, parts_before_tokens
from hakaru.memory.graph import Tensor
from hakaru.models.architectures.parts.blueprint import End, Start


def _with_room_for_images(b: Build) -> Tensor:
    """Embeddings with room for what images add to the first layers (Qwen3-VL)."""
    b.beside = embedded(b)
    return b.graph.view(b.beside, (b.model.n_embd, "T"))


def _with_types(b: Build) -> Tensor:
    """The sum of the embeddings of tokens and of their types, normed."""
    return b.graph.expand(b.norm(b.graph.like(embedded(b), name="embeddings")))


def _with_types_and_positions(b: Build) -> Tensor:
    """The sum of the embeddings of tokens, types and positions, normed."""
    cur = b.graph.like(embedded(b), name="embeddings")
    rows = b.graph.new("position embeddings", (b.model.n_embd, "T"), b.positions())
    return b.graph.expand(b.norm(b.add(rows, cur)))


def _normed(b: Build) -> Tensor:
    """Embeddings, normed."""
    return b.graph.expand(b.norm(embedded(b)))


def _scaled(b: Build) -> Tensor:
    """Embeddings; those of tokens are scaled, those of images are not."""
    return b.graph.expand(scaled(b, embedded(b)))


def _with_two_masks(b: Build) -> Tensor:
    """Embeddings, scaled; without a cache both masks have one entry per pair of tokens."""
    b.input("mask of the window", ((2, "TT"),))
    return _scaled(b)


STARTS: Final[dict[Start, Callable[[Build], Tensor]]] = {
    "tokens": embedded,
    "tokens, scaled": _scaled,
    "tokens, scaled, two masks": _with_two_masks,
    "tokens, then parts of layers": parts_after_tokens,
    "parts of layers, then tokens": parts_before_tokens,
    "tokens with room for images": _with_room_for_images,
    "tokens, normed": _normed,
    "tokens and types, normed": _with_types,
    "tokens, types and positions, normed": _with_types_and_positions,
}


def _logits(b: Build, x: Tensor) -> Tensor:
    """The last norm and the logits."""
    cur = b.norm(x)
    cur.kept = True
    logits = b.mm(cur, b.model.n_vocab, "logits")
    logits.kept = True
    return b.graph.expand(logits)


def _logits_beside_rows(b: Build, x: Tensor) -> Tensor:
    """Logits, and the last layer's rows, which are kept for a draft of further tokens."""
    x.kept = True
    return _logits(b, x)


def _logits_of_streams(b: Build, x: Tensor) -> Tensor:
    """Logits of the sum of parallel streams (Gemma 3n)."""
    return _logits(b, joined(b, x))


def _norm(b: Build, x: Tensor) -> Tensor:
    """An encoder's end: a norm, no logits."""
    cur = b.norm(x)
    cur.kept = True
    return b.graph.expand(cur)


def _nothing(_: Build, x: Tensor) -> Tensor:
    """An encoder whose layers end in a norm."""
    return x


ENDS: Final[dict[End, Callable[[Build, Tensor], Tensor]]] = {
    "logits": _logits,
    "logits beside rows": _logits_beside_rows,
    "streams, logits": _logits_of_streams,
    "norm": _norm,
    "nothing": _nothing,
}
