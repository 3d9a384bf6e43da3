"""The sizes of one model as its tensor table needs them, read from GGUF metadata.

Keys stand without the architecture's name: `of("attention.head_count_kv", i)` is the value of layer
i, whether the file has one number or one per layer. Tensors that no key decides (a bias, a table of
rope factors) are listed in `having` by their names without the block, such as `attn_q.bias`.

A block is a function that yields the tensors of one layer. In these functions `m` is the model's
`Sizes`.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Final, TypeAlias

from hakaru.formats.gguf import Dims
from hakaru.formats.metadata import Metadata

MAX_LAYERS: Final = 512  # llama.cpp, src/llama-hparams.h: LLAMA_MAX_LAYERS; it aborts above
MAX_WIDTH: Final = 2**24
Tensors: TypeAlias = Iterator[tuple[str, Dims]]


class Sizes:
    """Hyperparameters of one model. Raises ModelDamaged where the metadata makes no sense."""

    def __init__(
        self, metadata: Metadata, *, n_vocab: int, tied: bool, having: Collection[str] = ()
    ) -> None:
        self._metadata = metadata
        self._layers: dict[str, tuple[int, ...]] = {}
        self.n_vocab, self.tied, self.having = n_vocab, tied, frozenset(having)
        self.n_layer_all = metadata.need(metadata.arch_key("block_count"), high=2**14)
        self.n_layer = self.n_layer_all - self.number("nextn_predict_layers")
        self.n_embd = metadata.need(metadata.arch_key("embedding_length"), high=2**24)
        self.n_expert = self.number("expert_count")
        most_heads = max(self.all("attention.head_count"), default=0)
        head = self.n_embd // most_heads if most_heads else 0
        self.n_embd_head_k = self.number("attention.key_length") or head
        self.n_embd_head_v = self.number("attention.value_length") or head
        self.n_rot = self.number("rope.dimension_count") or self.n_embd_head_k
        self.n_token_types = metadata.integer("tokenizer.ggml.token_type_count") or 0

    def number(self, key: str) -> int:
        """The value of `key` for the whole model; 0 if the key is absent."""
        return self._metadata.integer(self._metadata.arch_key(key)) or 0

    def need(self, key: str) -> int:
        """The value of `key` for the whole model, above 0. Raises ModelDamaged."""
        return self._metadata.need(self._metadata.arch_key(key), high=2**24)

    def all(self, key: str) -> tuple[int, ...]:
        """The values of `key` for every layer; empty if the key is absent."""
        if key not in self._layers:
            self._layers[key] = self._metadata.per_layer(
                self._metadata.arch_key(key), self.n_layer_all
            )
        return self._layers[key]

    def main(self, key: str) -> tuple[int, ...]:
        """The values of `key` for the layers before those for multi-token prediction; empty if the
        key is absent.
        """
        return self._metadata.per_layer(self._metadata.arch_key(key), self.n_layer)

    def of(self, key: str, layer: int) -> int:
        """The value of `key` for one layer; 0 if the key is absent."""
        values = self.all(key)
        return values[layer] if values else 0

    def n_head(self, layer: int) -> int:
        """Query heads."""
        return self.of("attention.head_count", layer)

    def n_head_kv(self, layer: int) -> int:
        """Key and value heads; without a key for them, as many as query heads."""
        key = "attention.head_count_kv"
        return self.of(key if self.all(key) else "attention.head_count", layer)

    def n_ff(self, layer: int) -> int:
        """Width of the dense feed-forward part."""
        return self.of("feed_forward_length", layer)

    def n_ff_exp(self, layer: int) -> int:
        """Width of one expert; older files store it as the feed-forward length."""
        return self.of("expert_feed_forward_length", layer) or self.n_ff(layer)


Block: TypeAlias = Callable[[Sizes, int], Tensors]
Test: TypeAlias = Callable[[Sizes, int], bool]


def norm(name: str, *, bias: bool = False) -> Block:
    """A norm over the embedding."""

    def tensors(m: Sizes, _: int) -> Tensors:
        yield f"{name}.weight", (m.n_embd,)
        if bias:
            yield f"{name}.bias", (m.n_embd,)

    return tensors


def table(name: str, size: Callable[[Sizes], Dims]) -> Block:
    """One tensor of the whole model."""

    def tensors(m: Sizes, _: int) -> Tensors:
        yield name, size(m)

    return tensors


def either(test: Test, yes: tuple[Block, ...], no: tuple[Block, ...] = ()) -> Block:
    """`yes` where the test holds for the layer, else `no`."""

    def tensors(m: Sizes, layer: int) -> Tensors:
        for block in yes if test(m, layer) else no:
            yield from block(m, layer)

    return tensors


def without_kv(m: Sizes, layer: int) -> bool:
    """True for a layer without key and value heads: recurrent, or feed-forward alone."""
    return m.n_head_kv(layer) == 0


def lead(m: Sizes, layer: int) -> bool:
    """True for one of the dense layers before the first layer with experts."""
    return layer < m.number("leading_dense_block_count")
