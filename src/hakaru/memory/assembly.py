"""From a record's blueprint to a layer's graph: every word becomes the function that adds
its nodes.

Every architecture with a blueprint was compared with llama.cpp's dry run, see docs/memory.md; for
others nothing is computed. Source: llama.cpp, src/models/<architecture>.cpp.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

from hakaru.memory.blocks import (
    Build,
    attention,
    dense,
    fused_dense,
    separately_gated_attention,
    ungated,
)
from hakaru.memory.experts import experts
from hakaru.memory.gemma import gemma3n, gemma4
from hakaru.memory.graph import Tensor
from hakaru.memory.latent_attention import mla
from hakaru.memory.recurrent import (
    delta_net,
    gated_attention,
    kimi_delta,
    mamba,
    mamba2,
    plamo_mamba,
    short_conv,
)
from hakaru.models.architectures.parts import blueprint as words

Function: TypeAlias = Callable[[Build, Tensor], Tensor]
SOFTMAX: Final = 1  # llama.cpp, expert_gating_func


def layer_of(layer: words.Layer) -> Function:
    """The function that builds one layer."""
    match layer:
        case str():
            return _OWN_LAYERS[layer]
        case words.Residual():
            return _residual(layer)
        case words.Single():
            return _single(block_of(layer.mix))
        case words.Parallel():
            return _parallel(block_of(layer.mix), block_of(layer.feed))
        case words.WithImages():
            return _with_images(_residual(layer.layer))
        case words.PostNormed():
            return partial(_post_normed, feed=block_of(layer.feed), rope=layer.rope)


def block_of(block: words.Block) -> Function:
    """The function that builds one block of a layer."""
    match block:
        case str():
            return _MIXES[block]
        case words.Attention():
            return partial(separately_gated_attention if block.gate else attention, word=block)
        case words.Mla(rope=rope, sparse=sparse):
            return partial(mla, rope=rope, sparse=sparse)
        case words.Mamba2(normed=normed):
            return partial(mamba2, normed=normed)
        case words.DeltaNet(joint=joint):
            return partial(delta_net, joint=joint)
        case words.Dense(gate=gate, fused=fused):
            return fused_dense if fused else dense if gate else ungated
        case words.Experts():
            return partial(_experts, word=block)
        case words.Shared():
            return partial(_shared, word=block)
        case words.IfRecurrent(yes=yes, no=no):
            return _either(block_of(yes), block_of(no), lambda b: b.layer.recurrent)
        case words.IfExperts(yes=yes, no=no):
            return _either(block_of(yes), block_of(no), lambda b: b.layer.experts)


def _either(yes: Function, no: Function, test: Callable[[Build], bool]) -> Function:
    return lambda b, x: (yes if test(b) else no)(b, x)


def _experts(b: Build, x: Tensor, *, word: words.Experts) -> Tensor:
    """Experts with the gating that the record or the file states."""
    if word.gating != "stated":
        return experts(
            b,
            x,
            gating=word.gating,
            normed=word.normed,
            biased=word.biased,
            weighted_first=word.weighted_first,
        )
    m = b.model
    soft = word.unstated == "softmax" and m.n_vocab != word.sigmoid_n_vocab
    if m.expert_gating_func:
        soft = m.expert_gating_func == SOFTMAX
    gating: words.Gating = "softmax" if soft else "sigmoid"
    normed = m.expert_weights_norm or not soft
    return experts(b, x, gating=gating, biased=not soft, normed=normed)


def _shared(b: Build, x: Tensor, *, word: words.Shared) -> Tensor:
    """Experts, and a shared expert that every token passes and that may have a gate."""
    routed = _experts(b, x, word=word.experts)
    if not b.model.n_ff_shexp:
        return routed
    common = dense(b, x, b.model.n_ff_shexp)
    if word.gate:
        common = b.mul(common, b.graph.like(b.mm(x, 1, "gate")))
    return b.add(routed, common)


def _residual(word: words.Residual) -> Function:
    mix, feed = block_of(word.mix), block_of(word.feed)
    before, after = word.norms != "after", word.norms != "before"

    def layer(b: Build, x: Tensor) -> Tensor:
        normed = b.norm(x) if before else x
        cur = mix(b, b.graph.expand(normed) if word.at_once else normed)
        if b.layer.last:
            cur, x = b.outputs(cur), b.outputs(x)
        if after:
            cur = b.norm(cur)
        x = b.add(x, cur) if word.first else b.add(cur, x)
        cur = feed(b, b.norm(x) if before else x)
        if after:
            cur = b.norm(cur)
        return b.add(x, cur) if word.late else b.add(cur, x)

    return layer


def _single(mix: Function) -> Function:
    def layer(b: Build, x: Tensor) -> Tensor:
        cur = mix(b, b.norm(x))
        if b.layer.last:
            cur, x = b.outputs(cur), b.outputs(x)
        return b.add(cur, x)

    return layer


def _parallel(mix: Function, feed: Function) -> Function:
    def layer(b: Build, x: Tensor) -> Tensor:
        normed = b.norm(x)
        cur = mix(b, normed)
        if b.layer.last:
            cur, x, normed = b.outputs(cur), b.outputs(x), b.outputs(normed)
        return b.add(b.add(feed(b, normed), x), cur)

    return layer


def _with_images(layer: Function) -> Function:
    def with_rows(b: Build, x: Tensor) -> Tensor:
        shape = b.model.n_embd, "T"
        x = layer(b, b.graph.view(b.beside, shape) if b.beside and b.layer.first else x)
        return b.add(x, b.graph.view(b.beside, shape)) if b.beside else x

    return with_rows


def _beside_state(b: Build, x: Tensor) -> Tensor:
    attended = attention(b, b.norm(x))
    cur = b.add(attended, mamba2(b, b.norm(x), normed=False))
    x = b.add(cur, x)
    if b.layer.last:
        b.outputs(cur)
        x = b.outputs(x)
    return b.add(dense(b, b.norm(x)), x)


def _optional_parts(b: Build, x: Tensor) -> Tensor:
    """DeciLM's layer. Without a feed-forward part the engine leaves out what attention gave."""
    y, cur = b.layer, x
    if y.n_head:
        normed = b.norm(x)
        mixed = (
            attention(b, normed)
            if y.n_head_kv
            else b.mm(normed, b.model.n_embd, "attention output")
        )
        if not y.n_ff:
            return x
        if y.last:
            mixed, x = b.outputs(mixed), b.outputs(x)
        cur = b.add(mixed, x)
    return b.add(dense(b, b.norm(cur)), cur)


def _one_part(b: Build, x: Tensor) -> Tensor:
    """Nemotron H's block of one layer."""
    if b.layer.recurrent:
        return mamba2(b, x)
    if b.layer.attends:
        return attention(b, x, words.Attention(rope=False))
    return _latent_experts(b, x) if b.layer.experts else ungated(b, x)


def _latent_experts(b: Build, x: Tensor) -> Tensor:
    """Experts in a narrower space than the layer's, if the file states one."""
    m = b.model
    inner = b.mm(x, m.moe_latent_size, "latent") if m.moe_latent_size else x
    router = b.mm(x, m.n_expert, "router")
    cur = experts(b, inner, gating="sigmoid", biased=True, gate=False, router=router)
    if m.moe_latent_size:
        cur = b.mm(cur, m.n_embd, "sum of experts")
    return b.add(cur, ungated(b, x, m.n_ff_shexp))


def _one_part_with_dense(b: Build, x: Tensor) -> Tensor:
    """One block and the dense layers after it, as one layer: the graph computes them together when
    the next layer begins.
    """
    blocks: list[Function] = [_one_part, *(partial(ungated, n_ff=n) for n in b.layer.then)]
    for i, block in enumerate(blocks):
        cur = block(b, b.norm(x))
        if b.layer.last and i == len(blocks) - 1:
            cur, x = b.outputs(cur), b.outputs(x)
        x = b.add(cur, x)
    return x


def _post_normed(b: Build, x: Tensor, *, feed: Function, rope: bool) -> Tensor:
    cur = attention(b, x, words.Attention(rope=rope))
    if b.layer.last:
        cur, x = b.outputs(cur), b.outputs(x)
    cur = b.norm(b.add(cur, x))
    x = b.norm(b.add(feed(b, cur), cur))
    x.kept = b.layer.last
    return x


def _later_normed(b: Build, x: Tensor) -> Tensor:
    cur = attention(b, x if b.layer.first else b.norm(x), words.Attention(fused=True))
    if b.layer.last:
        cur, x = b.outputs(cur), b.outputs(x)
    x = b.add(cur, x)
    return b.add(fused_dense(b, b.norm(x)), x)


_MIXES: Final[dict[words.Mix, Function]] = {
    "gated attention": gated_attention,
    "Mamba 1": mamba,
    "PLaMo's Mamba": plamo_mamba,
    "Kimi's delta attention": kimi_delta,
    "short convolution": short_conv,
}
_OWN_LAYERS: Final[dict[words.Own, Function]] = {
    "attention beside state": _beside_state,
    "one part": _one_part_with_dense,
    "optional parts": _optional_parts,
    "later normed": _later_normed,
    "streams": gemma3n,
    "part of layers": gemma4,
}
