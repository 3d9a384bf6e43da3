"""The words in which a record describes a graph. `memory/assembly.py` turns each word into nodes.

Example: `Blueprint(layer=Residual(Attention(), Dense()))` is Llama's graph: a norm, attention, a
sum, a norm, a gated feed-forward part, a sum. Source: llama.cpp, src/models/<architecture>.cpp.
"""

from typing import Literal, NamedTuple, TypeAlias

Gating: TypeAlias = Literal["softmax", "sigmoid", "chosen"]


class Attention(NamedTuple):
    """Attention with shared keys."""

    fused: bool = False  # one matrix gives queries, keys and values
    rope: bool = True  # queries and keys are rotated by their positions
    whole: bool = False  # queries and keys are normed over all heads at once
    scaled: bool = False  # queries of layers without rope are scaled by their positions
    gate: Literal["per head", "per element"] | None = None
    """The output is multiplied by a gate from a matrix of its own: one number per head, or one per
    element of a head.
    """


class Mla(NamedTuple):
    """Multi-head latent attention."""

    rope: bool = True
    sparse: bool = False  # an indexer chooses the cells that a token sees


class Mamba2(NamedTuple):
    """Mamba 2."""

    normed: bool = True


class DeltaNet(NamedTuple):
    """Qwen's gated delta net."""

    joint: bool  # beta and alpha in one matrix


class Dense(NamedTuple):
    """A feed-forward part that every token passes."""

    gate: bool = True
    fused: bool = False  # gate and up in one matrix


class Experts(NamedTuple):
    """A mixture of experts."""

    gating: Gating | Literal["stated"] = "softmax"
    """How the router weighs experts: a softmax over all, sigmoids, a softmax over the chosen
    experts, or as the file states. Sigmoids that a file states have a bias and normed weights.
    """
    normed: bool = True  # the weights of the chosen experts are divided by their sum
    biased: bool = False  # a bias for the choice alone
    weighted_first: bool = False  # the weights multiply what goes in, not what comes out
    unstated: Gating = "sigmoid"  # the gating of files that state none
    sigmoid_n_vocab: int | None = None  # files of models with this n_vocab mean sigmoids


class Shared(NamedTuple):
    """Experts, and a shared expert that every token passes."""

    experts: Experts
    gate: bool = False  # the output of the shared expert is multiplied by a gate


class IfRecurrent(NamedTuple):
    """`yes` in layers with a state, `no` in the others."""

    yes: "Block"
    no: "Block"


class IfExperts(NamedTuple):
    """`yes` in layers with experts, `no` in the others."""

    yes: "Block"
    no: "Block"


Mix: TypeAlias = Literal[
    "gated attention",  # the output is multiplied by a gate that comes with the queries (Qwen)
    "Mamba 1",
    "PLaMo's Mamba",  # with norms on its parts
    "Kimi's delta attention",
    "short convolution",  # gated (LFM2)
]
Block: TypeAlias = (
    Mix | Attention | Mla | Mamba2 | DeltaNet | Dense | Experts | Shared | IfRecurrent | IfExperts
)


class Residual(NamedTuple):
    """A layer of two halves. The output of each half is added to its input, the residual.

    ggml may give a sum the memory of its first operand, so the order of operands matters.
    """

    mix: Block
    feed: Block
    norms: Literal["before", "both", "after"] = "before"
    first: bool = False  # in the sum after `mix`, the residual is the first operand
    late: bool = False  # in the sum after `feed`, the residual is the first operand
    at_once: bool = False  # the first norm is computed before anything that `mix` needs


class Single(NamedTuple):
    """A layer of one block, whose output is added to its input."""

    mix: Block


class Parallel(NamedTuple):
    """Attention and feed-forward side by side, from one norm."""

    mix: Block
    feed: Block


class WithImages(NamedTuple):
    """A layer to which the embeddings are added again, for what images add to the first layers."""

    layer: Residual


class PostNormed(NamedTuple):
    """An encoder's layer, normed after each half (BERT)."""

    feed: Block
    rope: bool = True


Own: TypeAlias = Literal[
    "attention beside state",  # from two norms of the same (Falcon H1)
    "optional parts",  # attention, one matrix in its place, or nothing; feed-forward or not (Deci)
    "one part",  # one block, whichever it is, and the dense layers after it (Nemotron H)
    "later normed",  # an encoder whose first layer is not normed before (ModernBERT)
    "streams",  # one of parallel streams passes through the layer (Gemma 3n)
    "part of layers",  # the layer adds its own part of per-layer embeddings (Gemma 4)
]
Layer: TypeAlias = Own | Residual | Single | Parallel | WithImages | PostNormed
Start: TypeAlias = Literal[
    "tokens",
    "tokens, scaled",
    "tokens, scaled, two masks",
    "tokens, then parts of layers",
    "parts of layers, then tokens",
    "tokens with room for images",
    "tokens, normed",
    "tokens and types, normed",
    "tokens, types and positions, normed",
]
End: TypeAlias = Literal["logits", "logits beside rows", "streams, logits", "norm", "nothing"]


class Blueprint(NamedTuple):
    """One architecture's graph: how tokens come in, what a layer does, how logits come out."""

    layer: Layer
    start: Start = "tokens"
    end: End = "logits"
    trimmed: bool = True  # the last layer goes on with the rows whose logits are wanted
    layer_norm: bool = False  # norms subtract the mean, so they cannot overwrite their source
    begins_normed: bool = True  # a layer begins with a norm of the residual
    first_differs: bool = False  # the first layer has another graph than the others
    n_positions: int = 1  # numbers per token's position: 4 where images are
    rope_period: int | None = None  # every `rope_period`-th layer has no rope
    rope_in_windows: bool = False  # only layers with a window have rope
    rope_in_lead: bool = False  # and the dense layers before the first with experts
    early_states: bool = False
    """A layer needs the convolution's last inputs before anything else, so they are fetched before
    the layer below has ended.
    """
    experts_by_width: bool = False  # a layer with a feed-forward width has experts
    n_sparse: int = 0  # the first layers, whose gates keep only values far above the mean
    shares_values: bool = False  # layers that see everything use their keys as values
    n_streams: int = 1  # parallel residuals
    n_embd_per_layer: int | None = None  # width of per-layer embeddings, where no key states it
    needs_mla_lengths: bool = False  # files without the lengths of MLA have another graph
    splits_attention: bool = False
    """With some layers in RAM, attention is split over devices and flash attention turned off."""
    crossing_rows: tuple[int, int] = (0, 0)
    """Rows of n_embd per copy that cross between devices beside the residual: on the devices before
    a cut, and after. States that layers ask for early, and parallel streams. Measured, rounded up.
    """
