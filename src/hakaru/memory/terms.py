"""The footprint as an account: every term with its formula and its inputs. The terms add up to the
total, to the byte. Pure.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby

from msgspec import Struct

from hakaru.formats.gguf import Tensor
from hakaru.language import say
from hakaru.memory.compute import explain_compute
from hakaru.memory.footprint import (
    PROCESS_BYTES,
    PROCESS_BYTES_PER_TOKEN,
    cells_of,
    graph_records_bytes,
    layer_cache_bytes,
    output_bytes,
)
from hakaru.memory.graph_names import spoken
from hakaru.memory.settings import ContextSettings
from hakaru.models.architectures import buffer_bytes
from hakaru.models.shape import Shape


class Term(Struct, frozen=True, kw_only=True):
    """One line of the account."""

    part: str  # of the footprint, such as "kv_cache_bytes"
    what: str  # in words
    formula: str  # with its numbers
    where: str  # the metadata or settings that the numbers come from
    bytes: int


def explain(shape: Shape, tensors: Iterable[Tensor], settings: ContextSettings) -> list[Term]:
    """The terms of `compute_footprint` of the same arguments, part by part. The graph of the shape
    must be known.
    """
    return [
        *_weights(tensors),
        *_caches(shape, settings),
        *_compute(shape, settings),
        Term(
            part="output_bytes",
            what=say("logits of one token per conversation"),
            formula=f"4 × {shape.n_vocab:,} × {settings.n_parallel}",
            where="n_vocab, `n_parallel`",
            bytes=output_bytes(shape, settings),
        ),
        *_process(shape, settings),
    ]


def _weights(tensors: Iterable[Tensor]) -> Iterator[Term]:
    """One term for all tensors of one kind, shape and type; the largest term first."""

    def kind(tensor: Tensor) -> tuple[str, str, tuple[int, ...]]:
        return re.sub(r"^blk\.\d+\.", "blk.*.", tensor.name), tensor.type.name, tensor.shape

    terms = []
    for (name, type_, dims), group in groupby(sorted(tensors, key=kind), key=kind):
        same = list(group)
        quant = same[0].type
        size = " × ".join(f"{n:,}" for n in dims)
        per = f"{quant.block_bytes} B"
        if quant.block > 1:
            per = say("{bytes} B per {n}", bytes=quant.block_bytes, n=quant.block)
        terms.append(
            Term(
                part="weights_bytes",
                what=f"{name} {type_}",
                formula=f"{len(same)} × {size} × {per}",
                where=say("tensor table"),
                bytes=buffer_bytes(same),
            )
        )
    yield from sorted(terms, key=lambda t: -t.bytes)


def _caches(shape: Shape, settings: ContextSettings) -> Iterator[Term]:
    """One term for all layers with equal keys and values, and one for all with equal states."""
    streams = 1 if settings.kv_unified else settings.n_parallel
    for cache, n in Counter(shape.caches or ()).items():
        total = n * layer_cache_bytes(cache, settings)
        state = n * 4 * cache.state * settings.n_parallel
        if cache.k or cache.v:
            whole = cache.window is None
            cells = say("{n:,} cells", n=cells_of(cache, settings))
            reach = say("whole context") if whole else say("window of {n}", n=cache.window)
            keys = f"({cache.k:,} + {cache.indexer:,})" if cache.indexer else f"{cache.k:,}"
            yield Term(
                part="kv_cache_bytes",
                what=say("{n} layers, {seen}", n=n, seen=reach),
                formula=f"{n} × ({keys} {settings.type_k} + {cache.v:,} {settings.type_v}) × "
                f"{cells} × {streams}",
                where="attention.head_count_kv, key_length, value_length",
                bytes=total - state,
            )
        if cache.state:
            yield Term(
                part="kv_cache_bytes",
                what=say("{n} recurrent layers", n=n),
                formula=f"{n} × {cache.state:,} × 4 B × {settings.n_parallel}",
                where="ssm.*, shortconv.*",
                bytes=state,
            )


def _compute(shape: Shape, settings: ContextSettings) -> Iterator[Term]:
    """What lies in the compute buffer when it is fullest, for one micro-batch."""
    for name, n_bytes in explain_compute(shape, settings):
        per_token, remainder = divmod(n_bytes, settings.n_tokens)
        yield Term(
            part="compute_bytes",
            what=say("compute buffer: {name}", name=spoken(name)),
            formula=f"{settings.n_tokens:,} × {per_token:,} B"
            if not remainder
            else f"{n_bytes:,} B",
            where=say("the graph at its peak, `n_ubatch`"),
            bytes=n_bytes,
        )


def _process(shape: Shape, settings: ContextSettings) -> Iterator[Term]:
    assumed = say("assumed, docs/memory.md")
    yield Term(
        part="overhead_bytes",
        what=say("process"),
        formula="34 MiB",
        where=assumed,
        bytes=PROCESS_BYTES,
    )
    yield Term(
        part="overhead_bytes",
        what=say("vocabulary in memory"),
        formula=f"{PROCESS_BYTES_PER_TOKEN} × {shape.n_vocab:,}",
        where=assumed,
        bytes=PROCESS_BYTES_PER_TOKEN * shape.n_vocab,
    )
    if records := graph_records_bytes(shape, settings):
        yield Term(
            part="overhead_bytes", what=say("records of graphs, for every token of a micro-batch"),
            formula=f"{records // settings.n_tokens:,} × {settings.n_tokens}",
            where="llama.cpp, graph_max_nodes", bytes=records,
        )  # fmt: skip
