"""What a model does for one token: the bytes that it reads and the products that it computes. Pure.

Decoding reads every weight in use once for each token, and the keys and values of the tokens
before. Reading a prompt computes with every weight in use for each token, and fetches the weights
once for each micro-batch. A model is cut into items as `load` cuts it (layers, then the output), so
that the work of a device is the sum over the items that lie there.

Left out: norms, biases and activations, whose bytes hardly count, and what a graph costs besides
its matrices (`speed` adds a time for each layer).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import replace

from hakaru.formats.gguf import Tensor
from hakaru.formats.quant_types import BY_NAME
from hakaru.models.caches import LayerCache
from hakaru.models.shape import Shape
from hakaru.planning.load import INPUT_TENSORS, layer_of


class Attention(Struct, frozen=True, kw_only=True):
    """What the attention of one layer, or of several with the same window, reads and computes for
    each token that it sees.
    """

    cell_bytes: float  # keys and values of one token
    products: float  # multiplications with one token's keys and values
    window: int | None = None  # tokens that it sees at most; None: all

    def seen(self, depth: float) -> float:
        """How many of `depth` tokens before it sees."""
        return depth if self.window is None else min(depth, self.window)


class TokenWork(Struct, frozen=True, kw_only=True):
    """The work of some items of a model."""

    read: Mapping[str, float] = field(default_factory=dict)  # by type: bytes that a token reads
    stored: Mapping[str, float] = field(default_factory=dict)  # by type: bytes of all weights
    products: float = 0.0  # multiplications of a token with weights, the output's left out
    state_bytes: float = 0.0  # of recurrent states, which a token reads and writes
    attention: tuple[Attention, ...] = ()
    expert_products: float = 0.0  # the part of `products` with experts
    expert_bytes: float = 0.0  # the part of `stored` that is experts
    n_layer: int = 0
    n_expert_layer: int = 0  # of them with experts
    n_state_layer: int = 0  # of them with a recurrent state
    n_expert: int = 0  # in each of these layers
    n_expert_used: int = 0  # by each token

    @property
    def read_bytes(self) -> float:
        """Bytes of weights that one decoded token reads."""
        return sum(self.read.values())

    @property
    def stored_bytes(self) -> float:
        """Bytes of all weights."""
        return sum(self.stored.values())

    def part_of_experts(self, n_tokens: float) -> float:
        """The part of the experts that at least one of `n_tokens` uses, if they use them evenly."""
        if not self.n_expert:
            return 0.0
        return 1 - float((1 - self.n_expert_used / self.n_expert) ** n_tokens)

    def cache_bytes(self, depth: float) -> float:
        """Bytes of keys and values that one token reads behind `depth` tokens."""
        return sum(layer.cell_bytes * layer.seen(depth) for layer in self.attention)

    def attention_products(self, depth: float) -> float:
        """Multiplications of one token with the keys and values of `depth` tokens."""
        return sum(layer.products * layer.seen(depth) for layer in self.attention)

    def batch(self, users: int) -> "TokenWork":
        """The work of a step in which each of `users` decodes one token: weights are read once for
        all, of experts those that any of them uses; the rest is each user's own.
        """
        if users == 1:
            return self
        one, several = self.part_of_experts(1), self.part_of_experts(users)
        more = (several - one) / (1 - one) if one < 1 else 0.0
        return replace(
            self,
            read={t: n + more * (self.stored[t] - n) for t, n in self.read.items()},
            products=users * self.products,
            expert_products=users * self.expert_products,
            state_bytes=users * self.state_bytes,
            attention=tuple(
                replace(a, cell_bytes=users * a.cell_bytes, products=users * a.products)
                for a in self.attention
            ),
        )

    def scaled(self, factor: float) -> "TokenWork":
        """The same work with all weights larger by `factor`: a file whose size is known."""
        return replace(
            self,
            read={t: n * factor for t, n in self.read.items()},
            stored={t: n * factor for t, n in self.stored.items()},
            expert_bytes=self.expert_bytes * factor,
        )


def total(works: Iterable[TokenWork]) -> TokenWork:
    """The sum. A model's items are of a few kinds, of which each is one object and added once."""
    parts = list(works)
    by_kind, counts = {id(work): work for work in parts}, Counter(map(id, parts))
    counted = [(work, counts[kind]) for kind, work in by_kind.items()]
    read: dict[str, float] = {}
    stored: dict[str, float] = {}
    for work, n in counted:
        for sums, n_bytes in ((read, work.read), (stored, work.stored)):
            for type_, one in n_bytes.items():
                sums[type_] = sums.get(type_, 0.0) + n * one
    return TokenWork(
        read=read,
        stored=stored,
        products=sum(n * work.products for work, n in counted),
        state_bytes=sum(n * work.state_bytes for work, n in counted),
        attention=_joined((layer, n) for work, n in counted for layer in work.attention),
        expert_products=sum(n * work.expert_products for work, n in counted),
        expert_bytes=sum(n * work.expert_bytes for work, n in counted),
        n_layer=sum(n * work.n_layer for work, n in counted),
        n_expert_layer=sum(n * work.n_expert_layer for work, n in counted),
        n_state_layer=sum(n * work.n_state_layer for work, n in counted),
        n_expert=max((work.n_expert for work, _ in counted), default=0),
        n_expert_used=max((work.n_expert_used for work, _ in counted), default=0),
    )


def _joined(layers: Iterable[tuple[Attention, int]]) -> tuple[Attention, ...]:
    """So many of each layer, those with the same window as one."""
    sums: dict[int | None, tuple[float, float]] = {}
    for layer, n in layers:
        cell_bytes, products = sums.get(layer.window, (0.0, 0.0))
        sums[layer.window] = cell_bytes + n * layer.cell_bytes, products + n * layer.products
    return tuple(
        Attention(cell_bytes=cell_bytes, products=products, window=window)
        for window, (cell_bytes, products) in sums.items()
    )


def part_read(tensor: Tensor, shape: Shape, *, is_tied: bool) -> float:
    """The part of a tensor's bytes that one decoded token reads.

    Of experts it reads those in use, and of the embedding one row, unless the embedding is the
    output as well (`is_tied`).
    """
    if tensor.name == "per_layer_token_embd.weight":
        return 1 / tensor.shape[1]
    if tensor.name == "token_embd.weight" and not is_tied:
        return 1 / tensor.shape[1]
    return shape.part_of_experts if "_exps." in tensor.name else 1.0


class ItemWork(Struct, frozen=True, kw_only=True):
    """The work of one item, and the part of it that experts do."""

    rest: TokenWork
    experts: TokenWork = field(default_factory=TokenWork)


def item_works(
    tensors: Sequence[Tensor], shape: Shape, *, type_k: str = "F16", type_v: str = "F16"
) -> tuple[ItemWork, ...]:
    """The work of each layer, then of the output. The tensors are those that llama.cpp loads, with
    their types; `type_k` and `type_v` are the types of the cache.
    """
    n_layer = shape.n_layer
    is_tied = not any(tensor.name == "output.weight" for tensor in tensors)
    rest: list[list[Tensor]] = [[] for _ in range(n_layer + 1)]
    experts: list[list[Tensor]] = [[] for _ in range(n_layer)]
    for tensor in {tensor.name: tensor for tensor in tensors}.values():  # a copy is read once
        if tensor.name in INPUT_TENSORS and not (is_tied and tensor.name == "token_embd.weight"):
            continue  # single rows
        layer = layer_of(tensor.name)
        if layer is None or layer >= n_layer:
            rest[n_layer].append(tensor)
        else:
            (experts if "_exps." in tensor.name else rest)[layer].append(tensor)
    items = [
        layer_work(
            i,
            _weights(rest[i], shape),
            _weights(experts[i], shape),
            shape,
            type_k=type_k,
            type_v=type_v,
        )
        for i in range(n_layer)
    ]
    output = replace(_weights(rest[n_layer], shape), products=0.0)
    return (*items, ItemWork(rest=output))


def layer_work(
    i: int, rest: TokenWork, experts: TokenWork, shape: Shape, *, type_k: str, type_v: str
) -> ItemWork:
    """The work of layer `i` from that of its weights: with its attention, its states, and what is
    counted of it.
    """
    cache = shape.caches[i] if shape.caches else LayerCache()
    return ItemWork(
        rest=replace(
            rest,
            attention=_attention(shape, i, cache, type_k, type_v),
            state_bytes=4.0 * cache.state,
            n_layer=int(bool(rest.stored)),
            n_state_layer=int(bool(cache.state)),
        ),
        experts=_as_experts(experts, shape),
    )


def whole_work(items: Iterable[ItemWork]) -> TokenWork:
    """The work of all items together."""
    return total(part for item in items for part in (item.rest, item.experts))


def _weights(tensors: Iterable[Tensor], shape: Shape) -> TokenWork:
    read: dict[str, float] = {}
    stored: dict[str, float] = {}
    products = 0.0
    for tensor in tensors:
        part = part_read(tensor, shape, is_tied=True)
        name = tensor.type.name
        read[name] = read.get(name, 0.0) + tensor.n_bytes * part
        stored[name] = stored.get(name, 0.0) + tensor.n_bytes
        if len(tensor.shape) > 1:
            products += tensor.n_elements * part
    return TokenWork(read=read, stored=stored, products=products)


def _as_experts(work: TokenWork, shape: Shape) -> TokenWork:
    """The work of a layer's experts; empty for a layer without."""
    if not work.stored:
        return work
    return replace(
        work,
        expert_products=work.products,
        expert_bytes=work.stored_bytes,
        n_expert_layer=1,
        n_expert=shape.n_expert,
        n_expert_used=shape.n_expert_used,
    )


def _attention(
    shape: Shape, i: int, cache: LayerCache, type_k: str, type_v: str
) -> tuple[Attention, ...]:
    """The attention of layer `i`; empty for a layer without."""
    k, v = cache.k, cache.v
    if not k and cache.n_embd_head_k:  # it reads an earlier layer's cache
        k, v = shape.n_head_kv[i] * cache.n_embd_head_k, shape.n_head_kv[i] * cache.n_embd_head_v
    if not k:
        return ()
    n_head = shape.n_heads[i] if i < len(shape.n_heads) else shape.n_head
    per_k, per_v = (BY_NAME[t].bpw / 8 for t in (type_k.upper(), type_v.upper()))
    return (
        Attention(
            cell_bytes=(k + cache.indexer) * per_k + v * per_v,
            products=float(
                n_head * (cache.n_embd_head_k + cache.n_embd_head_v)
                + shape.n_indexer_head * cache.indexer
            ),
            window=cache.window,
        ),
    )
