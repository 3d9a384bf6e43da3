"""Which blocks the graph of each architecture is made of: how tokens come in, what a layer does, how logits come out.

Every architecture named in GRAPHS was compared with llama.cpp's dry run, see docs/memory.md; for others nothing is
computed. Source: llama.cpp, src/models/<architecture>.cpp.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, TypeAlias

from hakaru.memory.blocks import (
    Build,
    Layer,
    attention,
    dense,
    embedded,
    experts,
    fused_attention,
    fused_dense,
    mla,
    scaled,
    ungated,
)
from hakaru.memory.gemma import gemma3n, gemma4, joined, per_layer_start
from hakaru.memory.graph import Tensor
from hakaru.memory.recurrent import delta_net, gated_attention, kimi_delta, mamba, mamba2, plamo_mamba, short_conv

Block: TypeAlias = Callable[[Build, Tensor], Tensor]


def deep_start(b: Build) -> Tensor:
    """Embeddings with room for what images add to the first layers (Qwen3-VL)."""
    b.beside = embedded(b)
    return b.graph.view(b.beside, (b.model.n_embd, "T"))


def deep(layer: Block) -> Block:
    """A layer whose input is those embeddings, or to which they are added again."""

    def with_rows(b: Build, x: Tensor) -> Tensor:
        shape = b.model.n_embd, "T"
        x = layer(b, b.graph.view(b.beside, shape) if b.beside and b.layer.first else x)
        return b.add(x, b.graph.view(b.beside, shape)) if b.beside else x

    return with_rows


def head(b: Build, x: Tensor) -> Tensor:
    """The last norm and the logits."""
    cur = b.norm(x)
    cur.kept = True
    logits = b.mm(cur, b.model.n_vocab, "logits")
    logits.kept = True
    return b.graph.expand(logits)


def head_beside_rows(b: Build, x: Tensor) -> Tensor:
    """The last layer's rows stay, kept for a draft of further tokens."""
    x.kept = True
    return head(b, x)


def last_norm(b: Build, x: Tensor) -> Tensor:
    """An encoder's end: a norm, no logits."""
    cur = b.norm(x)
    cur.kept = True
    return b.graph.expand(cur)


def nothing(b: Build, x: Tensor) -> Tensor:
    """An encoder whose layers end in a norm."""
    return x


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One model's graph. `trimmed`: the last layer goes on with the rows whose logits are wanted."""

    layer: Block
    start: Callable[[Build], Tensor] = embedded
    end: Block = head
    trimmed: bool = True


def residual(
    mix: Block, feed: Block, *, norms: Literal["before", "both", "after"] = "before", first: bool = False, late: bool = False
) -> Block:
    """A layer of two halves, attention and feed-forward, each added to what came in.

    ggml may give the result of an addition the memory of the first operand. `first`: the residual is
    that operand in the attention sum. `late`: the residual is that operand in the feed-forward sum.
    """

    def layer(b: Build, x: Tensor) -> Tensor:
        cur = mix(b, b.norm(x) if norms != "after" else x)
        if b.layer.last:
            cur, x = b.outputs(cur), b.outputs(x)
        if norms != "before":
            cur = b.norm(cur)
        x = b.add(x, cur) if first else b.add(cur, x)
        cur = feed(b, b.norm(x) if norms != "after" else x)
        if norms != "before":
            cur = b.norm(cur)
        return b.add(x, cur) if late else b.add(cur, x)

    return layer


def one_half(mix: Block) -> Block:
    """A layer of one block, added to what came in."""

    def layer(b: Build, x: Tensor) -> Tensor:
        cur = mix(b, b.norm(x))
        if b.layer.last:
            cur, x = b.outputs(cur), b.outputs(x)
        return b.add(cur, x)

    return layer


def parallel(mix: Block, feed: Block) -> Block:
    """Attention and feed-forward side by side, from one norm."""

    def layer(b: Build, x: Tensor) -> Tensor:
        normed = b.norm(x)
        cur = mix(b, normed)
        if b.layer.last:
            cur, x, normed = b.outputs(cur), b.outputs(x), b.outputs(normed)
        return b.add(b.add(feed(b, normed), x), cur)

    return layer


def either(yes: Block, no: Block, test: Callable[[Layer], bool]) -> Block:
    """One block or the other, by layer."""
    return lambda b, x: (yes if test(b.layer) else no)(b, x)


def has_experts(layer: Layer) -> bool:
    return layer.experts


def is_recurrent(layer: Layer) -> bool:
    return layer.recurrent


def shared(route: Block, *, feed: Callable[[Build, Tensor, int | None], Tensor] = dense, gate: bool = False) -> Block:
    """Experts and one more that every token passes, whose output may be multiplied by a gate."""

    def both(b: Build, x: Tensor) -> Tensor:
        routed = route(b, x)
        if not b.model.n_ff_shexp:
            return routed
        common = feed(b, x, b.model.n_ff_shexp)
        if gate:
            common = b.mul(common, b.graph.like(b.mm(x, 1, "gate")))
        return b.add(routed, common)

    return both


def falcon_h1(b: Build, x: Tensor) -> Tensor:
    """Attention and a state side by side, from two norms of the same."""
    attended = attention(b, b.norm(x))
    cur = b.add(attended, mamba2(b, b.norm(x)))
    x = b.add(cur, x)
    if b.layer.last:
        b.outputs(cur)
        x = b.outputs(x)
    return b.add(dense(b, b.norm(x)), x)


def nemotron_moe(b: Build, x: Tensor) -> Tensor:
    """Experts in a narrower space than the layer's, if it states one."""
    inner = b.mm(x, b.model.moe_latent_size, "latent") if b.model.moe_latent_size else x
    cur = experts(b, inner, gating="sigmoid", biased=True, gate=False, router=b.mm(x, b.model.n_expert, "router"))
    if b.model.moe_latent_size:
        cur = b.mm(cur, b.model.n_embd, "sum of experts")
    return b.add(cur, ungated(b, x, b.model.n_ff_shexp))


def bert(b: Build, x: Tensor, *, feed: Block) -> Tensor:
    """An encoder's layer, normed after each half."""
    cur = attention(b, x, rope=b.model.architecture != "bert")
    if b.layer.last:
        cur, x = b.outputs(cur), b.outputs(x)
    cur = b.norm(b.add(cur, x))
    x = b.norm(b.add(feed(b, cur), cur))
    x.kept = b.layer.last
    return x


def bert_start(b: Build) -> Tensor:
    """Tokens, types and positions."""
    cur = embedded(b)
    cur = b.graph.like(cur, name="embeddings")
    if b.model.architecture == "bert":
        cur = b.add(b.graph.new("position embeddings", (b.model.n_embd, "T"), b.positions()), cur)
    return b.graph.expand(b.norm(cur))


def normed_start(b: Build) -> Tensor:
    """Embeddings, normed."""
    return b.graph.expand(b.norm(embedded(b)))


def scaled_start(b: Build) -> Tensor:
    """Embeddings, scaled where they are tokens'."""
    return b.graph.expand(scaled(b, embedded(b)))


def two_masks_start(b: Build) -> Tensor:
    """Embeddings, scaled; without a cache both masks have one entry per pair of tokens."""
    b.input("mask of the window", ((2, "TT"),))
    return scaled_start(b)


def modern_bert(b: Build, x: Tensor) -> Tensor:
    """An encoder's layer whose first one is not normed before."""
    cur = fused_attention(b, x if b.layer.first else b.norm(x))
    if b.layer.last:
        cur, x = b.outputs(cur), b.outputs(x)
    x = b.add(cur, x)
    return b.add(fused_dense(b, b.norm(x)), x)


PLAIN: Final = Architecture(layer=residual(attention, dense))
MIXED: Final = Architecture(layer=residual(attention, either(experts, dense, has_experts)))
SOFTMAX: Final = 1


def deepseek_moe(b: Build, x: Tensor) -> Tensor:
    """Experts with the gate that the file states: a softmax, or sigmoids with a bias for the choice. DeepSeek 2 files that
    state none mean a softmax, except GLM 4.7 Flash.
    """
    m = b.model
    stated = m.expert_gating_func or (SOFTMAX if m.architecture in {"deepseek2", "mistral4"} and m.n_vocab != 154880 else 0)
    soft = stated == SOFTMAX
    return experts(b, x, gating="softmax" if soft else "sigmoid", biased=not soft, normed=m.expert_weights_norm or not soft)


WITH_SHARED: Final = either(shared(deepseek_moe), dense, has_experts)
QWEN_MOE: Final = shared(experts, gate=True)
MLA: Final = Architecture(layer=residual(mla, WITH_SHARED), trimmed=True)
GRANITE: Final = either(shared(experts), dense, has_experts)


def qwen_linear(feed: Block, *, joint: bool) -> Architecture:
    mix = either(partial(delta_net, joint=joint), gated_attention, is_recurrent)

    def layer(b: Build, x: Tensor) -> Tensor:
        cur = mix(b, b.graph.expand(b.norm(x)))
        if b.layer.last:
            cur, x = b.outputs(cur), b.outputs(x)
        cur = b.add(cur, x)
        return b.add(feed(b, b.norm(cur)), cur)

    return Architecture(layer=layer)


def nemotron_block(b: Build, x: Tensor) -> Tensor:
    if b.layer.recurrent:
        return mamba2(b, x)
    if b.layer.attends:
        return attention(b, x, rope=False)
    return nemotron_moe(b, x) if b.layer.experts else ungated(b, x)


def nemotron_layer(b: Build, x: Tensor) -> Tensor:
    """One block, and the dense feed-forward layers after it: nothing asks for those before the next layer begins."""
    blocks: list[Block] = [nemotron_block, *(partial(ungated, n_ff=n_ff) for n_ff in b.layer.then)]
    for i, block in enumerate(blocks):
        cur = block(b, b.norm(x))
        if b.layer.last and i == len(blocks) - 1:
            cur, x = b.outputs(cur), b.outputs(x)
        x = b.add(cur, x)
    return x


NEMOTRON_H: Final = Architecture(layer=nemotron_layer)

GRAPHS: Final[dict[str, Architecture]] = {
    **dict.fromkeys(("qwen2", "qwen2vl", "qwen3", "seed_oss", "smollm3", "ernie4_5", "exaone", "hunyuan-dense"), PLAIN),
    **dict.fromkeys(("llama", "mistral3"), MIXED),
    "qwen3moe": Architecture(layer=residual(attention, experts)),
    "qwen3vl": Architecture(layer=deep(residual(attention, dense)), start=deep_start),
    "qwen3vlmoe": Architecture(layer=deep(residual(attention, experts)), start=deep_start),
    "qwen2moe": Architecture(layer=residual(attention, shared(partial(experts, normed=False), gate=True))),
    "qwen3next": qwen_linear(QWEN_MOE, joint=True),
    "qwen35": qwen_linear(dense, joint=False),
    "qwen35moe": qwen_linear(QWEN_MOE, joint=False),
    "gemma": PLAIN,
    "gemma-embedding": Architecture(layer=residual(attention, dense, norms="both"), start=two_masks_start, end=last_norm),
    "gemma2": Architecture(layer=residual(attention, dense, norms="both")),
    "gemma3": Architecture(layer=residual(attention, dense, norms="both"), start=scaled_start),
    "gemma3n": Architecture(layer=gemma3n, start=per_layer_start, end=lambda b, x: head(b, joined(b, x)), trimmed=False),
    "gemma4": Architecture(layer=gemma4, start=per_layer_start),
    "phi3": Architecture(layer=residual(fused_attention, fused_dense, late=True)),
    "phimoe": Architecture(layer=residual(attention, experts, late=True)),
    "gpt-oss": Architecture(
        layer=residual(attention, partial(experts, gating="chosen", normed=False)), end=head_beside_rows
    ),
    "deepseek2": MLA,
    "mistral4": MLA,
    "glm4": Architecture(layer=residual(attention, fused_dense, norms="both")),
    "glm4moe": Architecture(layer=residual(attention, WITH_SHARED)),
    "granite": Architecture(layer=residual(attention, GRANITE)),
    "granitemoe": Architecture(layer=residual(attention, GRANITE)),
    "granitehybrid": Architecture(layer=residual(either(mamba2, attention, is_recurrent), GRANITE)),
    "falcon-h1": Architecture(layer=falcon_h1),
    "lfm2": Architecture(layer=residual(either(short_conv, attention, is_recurrent), dense, first=True, late=True)),
    "lfm2moe": Architecture(
        layer=residual(
            either(short_conv, attention, is_recurrent), either(deepseek_moe, dense, has_experts), first=True, late=True
        )
    ),
    "nemotron_h": NEMOTRON_H,
    "nemotron_h_moe": NEMOTRON_H,
    "olmo2": Architecture(layer=residual(partial(attention, whole=True), dense, norms="after")),
    "olmoe": Architecture(layer=residual(partial(attention, whole=True), partial(experts, normed=False))),
    "cohere2": Architecture(layer=parallel(attention, dense)),
    "command-r": Architecture(layer=parallel(attention, dense)),
    "ernie4_5-moe": Architecture(layer=residual(attention, either(shared(partial(experts, biased=True)), dense, has_experts))),
    "exaone4": Architecture(layer=residual(attention, dense, norms="after")),
    "exaone-moe": Architecture(layer=residual(attention, WITH_SHARED)),
    "plamo2": Architecture(layer=residual(either(plamo_mamba, fused_attention, is_recurrent), fused_dense, norms="both")),
    "llama4": Architecture(
        layer=residual(
            attention, either(shared(partial(experts, gating="sigmoid", normed=False, weighted_first=True)), dense, has_experts)
        )
    ),
    "minimax-m2": Architecture(layer=residual(partial(attention, whole=True), deepseek_moe)),
    "hunyuan-moe": Architecture(layer=residual(attention, shared(experts))),
    "hy_v3": Architecture(layer=residual(attention, WITH_SHARED)),
    "kimi-linear": Architecture(layer=residual(either(kimi_delta, partial(mla, rope=False), is_recurrent), WITH_SHARED)),
    "apertus": Architecture(layer=residual(attention, ungated)),
    "mamba": Architecture(layer=one_half(mamba)),
    "mamba2": Architecture(layer=one_half(mamba2)),
    "bert": Architecture(layer=partial(bert, feed=ungated), start=bert_start, end=nothing),
    "nomic-bert": Architecture(layer=partial(bert, feed=dense), start=bert_start, end=nothing),
    "modern-bert": Architecture(layer=modern_bert, start=normed_start, end=last_norm),
}  # fmt: skip
