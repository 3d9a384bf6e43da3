"""A mixture of experts in a graph: the router, the chosen experts' feed-forward layers, and their
sum.

Source: llama.cpp, src/llama-graph.cpp (build_moe_ffn).
"""

from hakaru.memory.blocks import Build
from hakaru.memory.graph import Tensor
from hakaru.models.architectures.parts.blueprint import Gating


def experts(
    b: Build,
    x: Tensor,
    *,
    gating: Gating = "softmax",
    normed: bool = True,
    biased: bool = False,
    gate: bool = True,
    fused: bool = False,
    weighted_first: bool = False,
    scaled: bool = False,
    router: Tensor | None = None,
) -> Tensor:
    """A mixture of experts: every token passes through the few experts that the router chose.

    For `gating`, `normed`, `biased` and `weighted_first` see `blueprint.Experts`. `gate`: an expert
    has a gate matrix. `fused`: gate and up are one matrix. `scaled`: every expert has a scale.
    `router`: its output, if it was computed before.
    """
    g, m, rows = b.graph, b.model, x.shape[-1]
    used, n_ff, n_embd = m.n_expert_used, m.n_ff_exp or b.layer.n_ff, x.shape[0]
    logits = router or b.mm(x, m.n_expert, "router")
    probs = logits if gating == "chosen" else g.like(logits, name="router")
    choice = g.new("choice", probs.shape, probs) if biased else logits if weighted_first else probs
    ids = g.view(g.new("experts in order", choice.shape, choice), (used, rows))
    weights = g.new("weights", (1, used, rows), g.reshape(probs, (1, m.n_expert, rows)), ids)
    if gating == "chosen":
        weights = g.reshape(g.like(g.reshape(weights, (used, rows))), (1, used, rows))
    if normed:
        flat = g.reshape(weights, (used, rows))
        total = g.new("weights", (1, rows), flat)
        weights = g.reshape(g.like(flat, g.like(total)), (1, used, rows))
    g.expand(weights)
    cur = g.reshape(x, (n_embd, 1, rows))
    if weighted_first:
        cur = b.mul(g.new("repeated", (n_embd, used, rows), cur), weights)
    if b.experts_on_host:
        outputs = g.new("experts from host memory", (n_embd, used, rows), cur, ids)
    else:
        outputs = _feed_forward(b, cur, ids, n_ff, gate=gate, fused=fused)
    if scaled:
        scales = g.new("scales of experts", (1, m.n_expert, rows), ids)
        outputs = b.mul(outputs, g.new("scales of experts", (1, used, rows), scales, ids))
    return summed(b, g.expand(outputs if weighted_first else b.mul(outputs, weights)))


def _feed_forward(
    b: Build, x: Tensor, ids: Tensor, n_ff: int, *, gate: bool = True, fused: bool = False
) -> Tensor:
    """The chosen experts' feed-forward layers."""
    g, used, rows = b.graph, ids.shape[0], x.shape[-1]
    shape = n_ff, used, rows
    if fused:
        both = g.new("gate and up of experts", (2 * n_ff, used, rows), x, ids)
        hidden = g.new("gated experts", shape, g.view(both, ("half",)), g.view(both, ("half",)))
    elif gate:
        up = g.new("up of experts", shape, x, ids)
        hidden = g.new("gated experts", shape, g.new("gate of experts", shape, x, ids), up)
    else:
        hidden = g.like(g.new("up of experts", shape, x, ids))
    return g.new("experts", (x.shape[0], used, rows), hidden, ids)


def summed(b: Build, outputs: Tensor) -> Tensor:
    """The sum of the outputs of a token's experts."""
    g = b.graph
    width, used, rows = outputs.shape
    assert isinstance(used, int)
    parts = [g.expand(g.view(outputs, (width, rows))) for _ in range(used)]
    if used == 1:
        return g.new("sum of experts", (width, rows), parts[0])
    total = parts[0]
    for part in parts[1:]:
        total = g.expand(g.like(total, part, name="sum of experts"))
    return total
