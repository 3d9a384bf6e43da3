"""How vLLM divides a model: tensor parallel within a layer, pipeline stages of whole layers. Pure.

A replica has `tp` x `pp` ranks, each with a device of its own. Only some shapes are legal.
"""

from collections.abc import Iterator
from typing import Final

from msgspec import Struct

from hakaru.language import say
from hakaru.models.shape import Shape
from hakaru.vllm.mixers import recurrent_parts
from hakaru.vllm.served_type import N_GROUP, ServedType

N_VOCAB_PAD: Final = 64
"""The vocabulary is padded to a multiple of it. Source: vLLM, DEFAULT_VOCAB_PADDING_SIZE in
model_executor/layers/vocab_parallel_embedding.py.
"""


class Parallel(Struct, frozen=True, kw_only=True):
    """The shape of a replica."""

    tp: int = 1  # ranks that divide every matrix among them
    pp: int = 1  # stages that divide the layers among them

    @property
    def n_ranks(self) -> int:
        """Devices of a replica."""
        return self.tp * self.pp


def padded_vocab(n_vocab: int) -> int:
    """Rows of the embedding in memory."""
    return -(-n_vocab // N_VOCAB_PAD) * N_VOCAB_PAD


def stages(n_layer: int, pp: int) -> tuple[range, ...]:
    """The layers of each of `pp` stages. What does not divide goes to the stages before the last,
    from the second to last backwards.

    Source: vLLM, get_pp_indices in distributed/utils.py.
    """
    n, left = divmod(n_layer, pp)
    counts = [n + (pp - 1 - left <= i < pp - 1) for i in range(pp)]
    ends = [sum(counts[: i + 1]) for i in range(pp)]
    return tuple(range(end - count, end) for end, count in zip(ends, counts, strict=True))


def why_not(shape: Shape, served: ServedType, parallel: Parallel) -> str | None:
    """What does not divide, in a sentence; None where vLLM takes the shape."""
    tp, n_layer = parallel.tp, n_own_layers(shape)
    if parallel.pp > n_layer:
        return say("{n} layers are too few for {pp} stages", n=n_layer, pp=parallel.pp)
    if shape.record.has_states and not all(
        _attends(shape, part) for part in stages(n_layer, parallel.pp)
    ):
        return say("of {pp} stages, some have no layer of attention", pp=parallel.pp)
    heads_kv = max(shape.n_head_kv)
    if heads_kv % tp and tp % heads_kv:
        return say("{n} KV heads are neither divided nor repeated by {tp}", n=heads_kv, tp=tp)
    for what, n in _divided(shape):
        if n % tp:
            return say("{n} {what} do not divide by {tp}", n=n, what=what, tp=tp)
    for what, n in _row_parallel(shape):
        if tp > 1 and (n // tp) % served.must_divide:
            return say(
                "{n} {what} by {tp} are no multiple of the {group} weights that share a scale",
                n=n,
                what=what,
                tp=tp,
                group=N_GROUP,
            )
    return None


def _attends(shape: Shape, part: range) -> bool:
    """Where a stage has only recurrent layers, its ranks make blocks of another size."""
    return any(cache.k for cache in (shape.caches or ())[part.start : part.stop])


def legal_tensor_parallel(shape: Shape, served: ServedType, most: int) -> Iterator[int]:
    """Tensor-parallel sizes up to `most` that vLLM takes for a model."""
    for tp in range(1, most + 1):
        if why_not(shape, served, Parallel(tp=tp)) is None:
            yield tp


def n_own_layers(shape: Shape) -> int:
    """Layers without those for multi-token prediction, which vLLM loads only to draft."""
    return shape.n_layer - shape.n_layer_nextn


def kv_heads_of_rank(n_head_kv: int, tp: int) -> int:
    """KV heads on each rank: divided, or one where ranks share one."""
    return max(1, n_head_kv // tp)


def _divided(shape: Shape) -> Iterator[tuple[str, int]]:
    yield say("attention heads"), shape.n_head
    yield say("rows of the vocabulary"), padded_vocab(shape.n_vocab)
    yield from recurrent_parts(shape)
    yield from _feed_forward(shape)


def _row_parallel(shape: Shape) -> Iterator[tuple[str, int]]:
    yield (
        say("values of all heads"),
        shape.n_head * (shape.n_embd_head_v_mla or shape.n_embd_head_v),
    )
    yield from _feed_forward(shape)


def _feed_forward(shape: Shape) -> Iterator[tuple[str, int]]:
    widths = {*shape.n_ffs, shape.n_ff_exp, shape.n_ff_shexp}
    if shape.n_expert and not shape.n_layer_dense_lead:
        widths -= {*shape.n_ffs} if shape.n_ff_exp else set()
    for width in sorted(widths - {0}):
        yield say("values of the feed-forward part"), width
