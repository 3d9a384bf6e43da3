"""Multi-head latent attention (MLA), and the indexer of DeepSeek's sparse attention: a second,
small cache of keys ranks the cells, and a token sees the best of them alone.

Source: llama.cpp, src/models/{deepseek2,deepseek32,glm-dsa}.cpp and src/llama-graph.cpp
(build_attn_inp_k_dsa).
"""

from functools import partial
from typing import Final

from hakaru.memory.blocks import Build, attend
from hakaru.memory.graph import Dim, Tensor

ZEROS: Final = "zeros for masks"


def mla(b: Build, x: Tensor, *, rope: bool = True, sparse: bool = False) -> Tensor:
    """Multi-head latent attention: one compressed row per token, of which every head reads.

    `sparse`: an indexer chooses the cells that a token sees.
    """
    g, m, y = b.graph, b.model, b.layer
    key, latent, pe = m.n_embd_head_k_mla, m.n_lora_kv, m.n_rot
    x_q = b.norm(b.mm(x, m.n_lora_q, "queries")) if m.n_lora_q else x
    chosen = _chosen(b, x, x_q) if sparse and m.n_indexer_top_k else None
    q = g.reshape(b.mm(x_q, y.n_head * key, "queries"), (key, y.n_head, "T"))
    row = b.mm(x, latent + pe, "compressed keys and values")
    k_pe = g.view(row, (pe, 1, "T"))
    if rope:
        k_pe = g.like(k_pe, b.positions(), name="keys")
    row = g.like(g.view(row, (latent, "T")), name="compressed keys and values")
    q_pe = g.view(q, (pe, y.n_head, "T"))
    if rope:
        q_pe = g.like(q_pe, b.positions(), name="queries")
    absorbed = g.new("queries", (latent, "T", y.n_head), g.view(q, ("permuted",)))
    q = g.new("queries", (latent + pe, y.n_head, "T"), g.view(absorbed, ("permuted",)), q_pe)
    row = g.reshape(row, (latent, 1, "T"))
    k = g.new("keys", (latent + pe, 1, "T"), row, k_pe)
    narrowed = partial(_hiding_others, b, chosen) if chosen else None
    return attend(b, q, k, row, out=m.n_embd, latent=row, narrowed=narrowed)


def _chosen(b: Build, x: Tensor, x_q: Tensor) -> Tensor:
    """The cells that each token sees. A layer without an indexer takes those that the layer before
    saw.
    """
    g, m = b.graph, b.model
    if not b.layer.indexes:
        return b.beside or b.leaf("chosen cells", ("K", "T"))
    n_head, length = m.n_indexer_head, m.n_embd_head_indexer
    rotation = b.input("rotation of the indexer", ((4 * length * length, ""),))

    def turned(t: Tensor, shape: tuple[Dim, ...]) -> Tensor:
        return g.new(t.name, shape, rotation, g.like(g.reshape(t, shape), b.positions()))

    k = g.new("indexer's keys", (length, "T"), b.mm(x, length, "indexer's keys"))
    g.store(
        g.view(turned(k, (length, 1, "T")), ("row", "T")),
        b.input("indices of the indexer", ((8, "T"),)),
    )
    q = turned(b.mm(x_q, n_head * length, "indexer's queries"), (length, n_head, "T"))
    weights = g.like(g.reshape(b.mm(x, n_head, "indexer's weights"), (n_head, "T")))
    _zeros(b)
    mask = b.input("indexer's mask", ((2, "TC"),))
    scores = g.new("indexer's scores", ("C", "T"), q, weights, mask)
    b.beside = g.new("chosen cells", ("K", "T"), g.new("chosen cells", ("K", "T"), scores))
    return b.beside


def _zeros(b: Build) -> Tensor:
    """Zeros of one layer: one for each token and cell that it sees. All layers' have their place in
    the buffer from the start on.
    """
    return b.leaf(ZEROS, (1, "K", "T"))


def _hiding_others(b: Build, chosen: Tensor, mask: Tensor) -> Tensor:
    """The mask, which hides all but the chosen cells, too."""
    g, size = b.graph, ((2 if b.flash else 4, "TC"),)
    zeros = g.like(_zeros(b))
    hidden = Tensor("mask", mask.shape, size, (mask,), in_place=True)
    rows = g.view(hidden, ("rows",))
    shown = Tensor("mask", ("rows",), (), (zeros, g.view(chosen, ("K", "T")), rows), root=hidden)
    return Tensor("mask", mask.shape, size, (g.view(shown, mask.shape), mask), in_place=True)
