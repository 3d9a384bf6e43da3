"""The graphs of Gemma 3n and Gemma 4: per-layer embeddings, layers that read another layer's cache,
parallel streams.

Source: llama.cpp, src/models/{gemma3n,gemma4}.cpp.
"""

from hakaru.memory.blocks import Build, attend, dense, embedded, scaled
from hakaru.memory.experts import experts
from hakaru.memory.graph import Tensor
from hakaru.models.architectures.gemma import LAUREL_RANK, N_ALTUP


def _n_per_layer(b: Build) -> int:
    return b.blueprint.n_embd_per_layer or b.model.n_embd_per_layer


def parts_after_tokens(b: Build) -> Tensor:
    """Embeddings, then the per-layer embeddings, scaled at once (Gemma 3n)."""
    g = b.graph
    x = embedded(b)
    n = _n_per_layer(b)
    b.beside = g.expand(g.like(g.reshape(_rows_of_layers(b), (n, b.model.n_layer, "T"))))
    return x


def parts_before_tokens(b: Build) -> Tensor:
    """The per-layer embeddings, if there are any, looked up before the embeddings (Gemma 4)."""
    if _n_per_layer(b):
        b.beside = b.graph.expand(_rows_of_layers(b))
    return embedded(b)


def _rows_of_layers(b: Build) -> Tensor:
    width = _n_per_layer(b) * b.model.n_layer
    return b.rows_of("per-layer embeddings", width, "tokens of every layer")


def _slice(b: Build, x: Tensor) -> Tensor:
    """This layer's part of the per-layer embeddings. The first layer computes all parts."""
    g, m, n = b.graph, b.model, _n_per_layer(b)
    assert b.beside is not None
    if b.layer.first:
        projected = b.norm(
            g.reshape(b.mm(x, n * m.n_layer, "per-layer embeddings"), (n, m.n_layer, "T"))
        )
        both = g.like(projected, b.beside)
        b.beside = g.new("per-layer embeddings", (n, "T", m.n_layer), g.view(both, ("permuted",)))
    return g.view(b.beside, (n, "T"))


def _per_layer(b: Build, x: Tensor, part: Tensor) -> Tensor:
    """A narrow gate over this layer's part of the per-layer embeddings, widened again."""
    cur = b.mul(b.graph.like(b.mm(x, _n_per_layer(b), "per-layer gate")), part)
    return b.norm(b.mm(cur, b.model.n_embd, "per-layer output"))


def _attention(b: Build, x: Tensor) -> Tensor:
    """Attention with normed values. A layer without keys and values of its own reads another
    layer's cache.
    """
    g, layer = b.graph, b.layer
    n_k, n_head, n_head_kv = layer.n_embd_head_k, layer.n_head, layer.n_head_kv
    q = g.like(g.reshape(b.mm(x, n_k * n_head, "queries"), (n_k, n_head, "T")))
    q = g.like(q, b.positions())
    if not layer.own_kv:
        return attend(b, q, None, None, out=b.model.n_embd)
    shape = n_k, n_head_kv, "T"
    keys = b.mm(x, n_k * n_head_kv, "keys")
    values = keys
    if not layer.shared_values:
        values = b.mm(x, layer.n_embd_head_v * n_head_kv, "values")
    k = g.like(g.like(g.reshape(keys, shape)), b.positions())
    return attend(b, q, k, g.like(g.reshape(values, shape)), out=b.model.n_embd)


def gemma4(b: Build, x: Tensor) -> Tensor:
    """A layer of Gemma 4."""
    m = b.model
    if b.layer.first:
        x = scaled(b, x)
    start, cur = x, _attention(b, b.norm(x))
    if b.layer.last:
        cur, x = b.outputs(cur), b.outputs(x)
    x = b.add(b.norm(cur), x)
    if b.layer.experts:
        shared = b.norm(dense(b, b.norm(x)))
        normed = b.norm(x)
        router = b.mm(b.norm(x), m.n_expert, "router")
        cur = b.add(shared, b.norm(experts(b, normed, router=router, fused=True, scaled=True)))
    else:
        cur = dense(b, b.norm(x))
    cur = b.add(b.norm(cur), x)
    if m.n_embd_per_layer:
        part = _slice(b, start)
        cur = b.add(cur, _per_layer(b, cur, b.outputs(part) if b.layer.last else part))
    return cur


def _one_stream(b: Build, x: Tensor) -> Tensor:
    """One of the parallel streams."""
    return b.graph.view(x, (b.model.n_embd, "T"))


def _magnitude(b: Build, x: Tensor) -> Tensor:
    squares = b.graph.like(x)
    return b.graph.like(b.graph.new("magnitude", (1, *x.shape[1:]), squares))


def _streams(b: Build, x: Tensor) -> Tensor:
    """The embeddings and three projections of them, brought to one magnitude."""
    g, shape = b.graph, (b.model.n_embd, "T", N_ALTUP - 1)
    target = _magnitude(b, x)
    added = g.new("streams", shape, g.new("streams", shape, x))
    scaled = b.mul(added, target)
    added = g.like(scaled, _magnitude(b, added))
    return g.new("streams", (b.model.n_embd, "T", N_ALTUP), x, added)


def _modalities(b: Build, x: Tensor) -> Tensor:
    return b.graph.like(b.mm(b.norm(x), N_ALTUP, "modalities"))


def _predicted(b: Build, x: Tensor) -> Tensor:
    g, shape = b.graph, (b.model.n_embd, "T", N_ALTUP)
    coefficients = b.mm(_modalities(b, _one_stream(b, x)), N_ALTUP**2, "coefficients")
    permuted = g.new("streams", (N_ALTUP, b.model.n_embd, "T"), g.view(x, ("permuted",)))
    square = g.view(coefficients, ("square",))
    mixed = g.new("streams", (b.model.n_embd, N_ALTUP, "T"), permuted, square)
    return b.add(g.new("streams", shape, g.view(mixed, ("permuted",))), x)


def _corrected(b: Build, predictions: Tensor, activated: Tensor) -> Tensor:
    g = b.graph
    coefficients = g.like(b.mm(_modalities(b, activated), N_ALTUP, "coefficients"))
    innovation = g.like(activated, _one_stream(b, predictions))
    factors = g.new("coefficients", (1, "T", N_ALTUP), g.view(coefficients, ("transposed",)))
    repeated = g.new("streams", (b.model.n_embd, "T", N_ALTUP), innovation)
    return b.add(b.mul(repeated, factors), predictions)


def _sparse(b: Build, gate: Tensor) -> Tensor:
    """The values of a gate that lie far above their mean; the others become zero."""
    g = b.graph
    mean = g.new("mean", (1, "T"), gate)
    deviation = g.like(g.new("deviation", (1, "T"), g.like(g.like(gate, mean))))
    return g.like(gate, g.like(mean, deviation))


def gemma3n(b: Build, x: Tensor) -> Tensor:
    """A layer of Gemma 3n: four streams, of which one passes through attention and feed-forward."""
    g, m = b.graph, b.model
    embeddings = x
    if b.layer.first:
        embeddings = scaled(b, x)
        x = _streams(b, embeddings)
    predictions = _predicted(b, x)
    active = _one_stream(b, predictions)
    cur = b.norm(active)
    laurel = b.add(b.norm(b.mm(b.mm(cur, LAUREL_RANK, "laurel"), m.n_embd, "laurel")), cur)
    cur = b.add(b.norm(_attention(b, cur)), active)
    mixed = b.add(cur, laurel)
    cur = b.norm(mixed)
    up, gate = b.mm(cur, b.layer.n_ff, "up"), b.mm(cur, b.layer.n_ff, "gate")
    gate = g.like(_sparse(b, gate) if b.layer.sparse else gate)
    cur = b.norm(b.mm(b.mul(up, gate), m.n_embd, "feed-forward"))
    corrected = _corrected(b, predictions, b.add(cur, mixed))
    first = g.like(_one_stream(b, corrected))
    first = _per_layer(b, first, _slice(b, embeddings))
    others = g.like(g.view(corrected, (m.n_embd, "T", N_ALTUP - 1)), first)
    return g.new("streams", (m.n_embd, "T", N_ALTUP), _one_stream(b, corrected), others)


def joined(b: Build, x: Tensor) -> Tensor:
    """The sum of the parallel streams, only the rows whose logits are wanted."""
    g, m = b.graph, b.model
    target = _magnitude(b, _one_stream(b, x))
    others = g.new("streams", (m.n_embd, "T", N_ALTUP - 1), g.view(x, ("others",)))
    scaled = b.mul(others, target)
    others = g.like(scaled, _magnitude(b, others))
    cur = _one_stream(b, x)
    for _ in range(N_ALTUP - 1):
        cur = b.add(cur, _one_stream(b, others))
    return b.outputs(cur)
