"""The tensors of layers with a state instead of a cache: Mamba, gated delta nets, Kimi's delta
attention, short convolutions.
"""

from hakaru.models.architectures.parts.sizes import Block, Sizes, Tensors


def mamba(m: Sizes, _: int) -> Tensors:
    """Mamba 1: one decay per channel and state. Source: llama.cpp, src/models/mamba.cpp."""
    inner, state = m.number("ssm.inner_size"), m.number("ssm.state_size")
    rank = m.number("ssm.time_step_rank")
    yield "ssm_in.weight", (m.n_embd, 2 * inner)
    yield "ssm_conv1d.weight", (m.number("ssm.conv_kernel"), inner)
    yield "ssm_conv1d.bias", (inner,)
    yield "ssm_x.weight", (inner, rank + 2 * state)
    yield "ssm_dt.weight", (rank, inner)
    yield "ssm_dt.bias", (inner,)
    yield "ssm_a", (state, inner)
    yield "ssm_d", (inner,)
    yield "ssm_out.weight", (inner, m.n_embd)


def mamba2(*, normed: bool = True) -> Block:
    """Mamba 2: one decay per head, and a norm unless the model leaves it out.

    Source: llama.cpp, src/models/{mamba2,granite-hybrid,nemotron-h,falcon-h1}.cpp.
    """

    def tensors(m: Sizes, _: int) -> Tensors:
        inner, heads = m.number("ssm.inner_size"), m.number("ssm.time_step_rank")
        groups = m.need("ssm.group_count")
        conv = inner + 2 * groups * m.number("ssm.state_size")
        yield "ssm_in.weight", (m.n_embd, inner + conv + heads)
        yield "ssm_conv1d.weight", (m.number("ssm.conv_kernel"), conv)
        yield "ssm_conv1d.bias", (conv,)
        yield "ssm_dt.bias", (heads,)
        yield "ssm_a", (1, heads)
        yield "ssm_d", (1, heads)
        if normed or "ssm_norm.weight" in m.having:
            yield "ssm_norm.weight", (inner // groups, groups)
        yield "ssm_out.weight", (inner, m.n_embd)

    return tensors


def plamo_mamba(m: Sizes, _: int) -> Tensors:
    """PLaMo 2's Mamba: per head, with norms on the step and the two projections. Source: llama.cpp,
    src/models/plamo2.cpp.
    """
    inner, state = m.number("ssm.inner_size"), m.number("ssm.state_size")
    heads = m.number("ssm.time_step_rank")
    step = max(64, m.n_embd // 16)
    yield "ssm_in.weight", (m.n_embd, 2 * inner)
    yield "ssm_conv1d.weight", (m.number("ssm.conv_kernel"), inner)
    yield "ssm_x.weight", (inner, step + 2 * state)
    yield "ssm_dt.weight", (step, heads)
    yield "ssm_dt.bias", (heads,)
    yield "ssm_a", (heads,)
    yield "ssm_d", (heads,)
    yield "ssm_out.weight", (inner, m.n_embd)
    yield "ssm_dt_norm", (step,)
    yield "ssm_b_norm", (state,)
    yield "ssm_c_norm", (state,)


def is_linear(m: Sizes, layer: int) -> bool:
    """True if a layer of Qwen3-Next or Qwen3.5 is a delta net: as the metadata list it, or all
    layers but every fourth (or `full_attention_interval`-th).
    """
    if layer >= m.n_layer:
        return False
    if stated := m.all("attention.recurrent_layers"):
        return bool(stated[layer])
    return (layer + 1) % (m.number("full_attention_interval") or 4) != 0


def delta_net(*, joint: bool) -> Block:
    """Qwen's gated delta net; Qwen3-Next keeps beta and alpha in one matrix. Source: llama.cpp,
    src/models/qwen3{5,next}.cpp.
    """

    def tensors(m: Sizes, _: int) -> Tensors:
        state, heads = m.number("ssm.state_size"), m.number("ssm.time_step_rank")
        value, conv = state * heads, state * heads + 2 * state * m.number("ssm.group_count")
        yield "attn_qkv.weight", (m.n_embd, conv)
        yield "attn_gate.weight", (m.n_embd, value)
        yield "ssm_conv1d.weight", (m.number("ssm.conv_kernel"), conv)
        yield "ssm_dt.bias", (heads,)
        yield "ssm_a", (heads,)
        for name in ("ssm_ba",) if joint else ("ssm_beta", "ssm_alpha"):
            yield f"{name}.weight", (m.n_embd, heads * (1 + joint))
        yield "ssm_norm.weight", (state,)
        yield "ssm_out.weight", (value, m.n_embd)

    return tensors


def kimi_delta(m: Sizes, layer: int) -> Tensors:
    """Kimi Linear's delta attention: a convolution for each of query, key and value. Source:
    llama.cpp, src/models/kimi-linear.cpp.
    """
    size, heads = m.number("kda.head_dim"), m.n_head(layer)
    inner = size * heads
    for part in "qkv":
        yield f"ssm_conv1d_{part}.weight", (m.number("ssm.conv_kernel"), 1, inner)
    for part in "qkv":
        yield f"attn_{part}.weight", (m.n_embd, inner)
    yield "ssm_f_a.weight", (m.n_embd, size)
    yield "ssm_f_b.weight", (size, inner)
    yield "ssm_beta.weight", (m.n_embd, heads)
    yield "ssm_a", (1, heads)
    yield "ssm_dt.bias", (inner,)
    yield "ssm_g_a.weight", (m.n_embd, size)
    yield "ssm_g_b.weight", (size, inner)
    yield "ssm_norm.weight", (size,)
    yield "attn_output.weight", (inner, m.n_embd)


def short_conv(m: Sizes, _: int) -> Tensors:
    """LFM2's gated short convolution. Source: llama.cpp, src/models/lfm2.cpp."""
    yield "shortconv.conv.weight", (m.number("shortconv.l_cache"), m.n_embd)
    yield "shortconv.in_proj.weight", (m.n_embd, 3 * m.n_embd)
    yield "shortconv.out_proj.weight", (m.n_embd, m.n_embd)
