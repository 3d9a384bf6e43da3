"""The tensors of feed-forward layers: dense ones and mixtures of experts."""

from typing import Literal

from hakaru.models.architectures.parts.sizes import Block, Sizes, Tensors


def dense(*, gate: bool = True, fused: bool = False, bias: bool = False) -> Block:
    """Up, down and usually a gate. `fused`: gate and up are one matrix."""

    def tensors(m: Sizes, layer: int) -> Tensors:
        n_ff = m.n_ff(layer)
        rows = {"ffn_gate": n_ff} if gate and not fused else {}
        rows |= {"ffn_up": n_ff * (1 + fused)}
        for name, n in rows.items():
            yield f"{name}.weight", (m.n_embd, n)
            if bias or f"{name}.bias" in m.having:
                yield f"{name}.bias", (n,)
        yield "ffn_down.weight", (n_ff, m.n_embd)
        if bias or "ffn_down.bias" in m.having:
            yield "ffn_down.bias", (m.n_embd,)

    return tensors


def experts(
    *,
    width: Literal["expert", "dense"] = "expert",
    gate: bool = True,
    fused: bool = False,
    bias: bool = False,
    probs_bias: str | None = None,
) -> Block:
    """The router and the experts. `width` says which length in the metadata is that of an expert.
    `probs_bias` is the name of the router's bias.

    With a latent size the experts work in a narrower space than the layer (Nemotron 3 Super).
    """

    def tensors(m: Sizes, layer: int) -> Tensors:
        n, n_ff = m.n_expert, m.n_ff_exp(layer) if width == "expert" else m.n_ff(layer)
        latent = m.number("moe_latent_size")
        inner = latent or m.n_embd
        yield "ffn_gate_inp.weight", (m.n_embd, n)
        if bias:
            yield "ffn_gate_inp.bias", (n,)
        if probs_bias:
            yield probs_bias, (n,)
        if latent:
            yield "ffn_latent_down.weight", (m.n_embd, latent)
            yield "ffn_latent_up.weight", (latent, m.n_embd)
        if fused:
            rows = {"ffn_gate_up_exps": 2 * n_ff}
        else:
            rows = {"ffn_gate_exps": n_ff} if gate else {}
            rows |= {"ffn_up_exps": n_ff}
        for name, n_rows in rows.items():
            yield f"{name}.weight", (inner, n_rows, n)
            if bias:
                yield f"{name}.bias", (n_rows, n)
        yield "ffn_down_exps.weight", (n_ff, inner, n)
        if bias:
            yield "ffn_down_exps.bias", (m.n_embd, n)

    return tensors


def shared_expert(*, gate: bool = True, router: bool = False) -> Block:
    """The expert that every token passes. The metadata state its width, or how many times as wide
    as an expert it is; without either there is no shared expert.
    """

    def tensors(m: Sizes, layer: int) -> Tensors:
        width = m.number("expert_shared_feed_forward_length")
        width = width or m.number("expert_shared_count") * m.n_ff_exp(layer)
        if not width:
            return
        if router:
            yield "ffn_gate_inp_shexp.weight", (m.n_embd,)
        if gate:
            yield "ffn_gate_shexp.weight", (m.n_embd, width)
        yield "ffn_up_shexp.weight", (m.n_embd, width)
        yield "ffn_down_shexp.weight", (width, m.n_embd)

    return tensors
