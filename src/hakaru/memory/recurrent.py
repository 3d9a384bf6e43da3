"""Blocks that keep a state instead of keys and values: Mamba, gated delta nets, Kimi's delta
attention, short convolutions.

Source: llama.cpp,
src/models/{mamba-base,delta-net-base,qwen3next,qwen35,kimi-linear,lfm2,plamo2}.cpp and build_rs in
src/llama-graph.cpp.
"""

from hakaru.memory.blocks import Build, attend
from hakaru.memory.graph import Dim, Size, Tensor
from hakaru.models.shape import Shape


def tokens(b: Build) -> tuple[Dim, ...]:
    """The dimensions of a micro-batch, conversation by conversation."""
    return ("T",) if b.one else ("t", "S")


def state(b: Build, n: int, name: str) -> Tensor:
    """The rows of the state, one per conversation."""
    g = b.graph
    gathered = g.new(name, ("gathered",), b.input("states", ((4, "S"),)), size=((4 * n, "S"),))
    rows = g.expand(g.view(gathered, (n,) if b.one else (n, "S")))
    g.store(g.view(gathered, ("others",)))
    return rows


def last_inputs(b: Build) -> Tensor:
    """The convolution's last inputs. A layer that needs them first finds them fetched by the layer
    before (`blueprint.early_states`).
    """
    return b.beside or state(b, n_last_inputs(b.model), "last inputs")


def n_last_inputs(m: Shape) -> int:
    """The number of elements of the convolution's last inputs."""
    if m.n_shortconv_l_cache:
        return (m.n_shortconv_l_cache - 1) * m.n_embd
    return (m.ssm_d_conv - 1) * (m.ssm_d_inner + 2 * m.ssm_n_group * m.ssm_d_state)


def convolved(
    b: Build, x: Tensor, channels: int, taps: int, before: Tensor, *, act: bool = True
) -> Tensor:
    """A short convolution along the tokens: the last inputs (`before`) are joined with `x`, their
    new values are stored, and the convolution runs over both. `act`: an activation follows.
    """
    g = b.graph
    size: Size = ((4 * (taps - 1) * channels, "S"), (4 * channels, "T"))
    joined = g.new(
        "inputs of the convolution",
        ("joined",),
        g.view(before, ("last",)),
        g.view(x, ("transposed",)),
        size=size,
    )
    g.store(g.view(joined, ("last",)))
    output = g.new("convolution", (channels, *tokens(b)), joined)
    return g.like(output) if act else output


def scanned(b: Build, x: Tensor, d_inner: int, n_state: int, *sources: Tensor) -> Tensor:
    """The selective scan: its output per token, and its new state, which is stored. Returns the
    output.
    """
    g, size = b.graph, ((4 * d_inner, "T"), (4 * n_state, "S"))
    ids = b.input("states", ((4, "S"),))
    scan = g.expand(g.new("scan", ("scan",), x, *sources, g.view(ids, ("chosen",)), size=size))
    if not b.one:  # all states but the first are gathered, although none is left over
        others: Size = ((4 * n_state, "S"), (-4 * n_state, ""))
        gathered = g.new("other states", ("others",), g.view(ids, ("tail",)), size=others)
        g.store(g.view(gathered, ("none",)))
    g.store(g.view(scan, ("state",)))
    return g.view(scan, x.shape, plain=True)


def mamba(b: Build, x: Tensor) -> Tensor:
    """Mamba 1."""
    g, m = b.graph, b.model
    inner, d_state, rank, t = m.ssm_d_inner, m.ssm_d_state, m.ssm_dt_rank, tokens(b)
    last = last_inputs(b)
    xz = b.mm(g.reshape(x, (m.n_embd, *t)), 2 * inner, "x and z")
    z = g.view(xz, (inner, *t))
    cur = convolved(b, g.view(xz, (inner, *t)), inner, m.ssm_d_conv, last)
    parts = b.mm(cur, rank + 2 * d_state, "dt, B and C")
    dt, b_, c = (
        g.view(parts, (rank, *t)),
        g.view(parts, (d_state, 1, *t)),
        g.view(parts, (d_state, 1, *t)),
    )
    if m.ssm_dt_b_c_rms:
        dt, b_, c = b.norm(dt), b.norm(b_), b.norm(c)
    else:
        dt = g.new("dt", (rank, *t), dt)
    dt = b.mm(dt, inner, "dt")
    wide = g.reshape(cur, (1, inner, *t))
    y = g.reshape(scanned(b, wide, inner, d_state * inner, dt, b_, c), (inner, *t))
    y = b.add(y, b.graph.like(cur, name="skipped"))
    y = g.new("gated", (inner, *t), g.new("z", (inner, *t), z), y)
    return g.reshape(b.mm(y, m.n_embd, "state output"), (m.n_embd, "T"))


def mamba2(b: Build, x: Tensor, *, normed: bool = True) -> Tensor:
    """Mamba 2."""
    g, m, t = b.graph, b.model, tokens(b)
    inner, n_head = m.ssm_d_inner, m.ssm_dt_rank
    conv = inner + 2 * m.ssm_n_group * m.ssm_d_state
    head = (inner // n_head, n_head, *t)
    last = last_inputs(b)
    parts = g.reshape(b.mm(x, inner + conv + n_head, "z, x, B, C and dt"), ("parts", *t))
    z, dt = g.view(parts, head), g.view(parts, (n_head, *t))
    cur = convolved(b, g.view(parts, (conv, *t)), conv, m.ssm_d_conv, last)
    x_, b_, c = g.view(cur, head), g.view(cur, ("B",)), g.view(cur, ("C",))
    dt = g.new("dt", (n_head, *t), dt)
    y = scanned(b, x_, inner, m.ssm_d_state * inner, dt, b_, c)
    y = b.add(y, g.like(x_, name="skipped"))
    y = g.new("gated", head, g.new("z", head, z), y)
    if normed:
        y = b.norm(g.reshape(y, (inner // m.ssm_n_group, m.ssm_n_group, *t)))
    return b.mm(g.reshape(y, (inner, "T")), m.n_embd, "state output")


def plamo_mamba(b: Build, x: Tensor) -> Tensor:
    """PLaMo 2's Mamba, with norms on its parts."""
    g, m, t = b.graph, b.model, tokens(b)
    inner, d_state, n_head = m.ssm_d_inner, m.ssm_d_state, m.ssm_dt_rank
    head = (inner // n_head, n_head, *t)
    last = last_inputs(b)
    zx = b.mm(g.reshape(x, (m.n_embd, *t)), 2 * inner, "z and x")
    zx = g.new("z and x", (2 * inner // n_head, n_head, *t), g.view(zx, ("permuted",)))
    cur = g.new("x", (inner, *t), g.view(zx, head))
    z = g.view(zx, head)
    cur = convolved(b, cur, inner, m.ssm_d_conv, last)
    step = max(64, m.n_embd // 16)
    parts = b.mm(cur, step + 2 * d_state, "dt, B and C")
    b_, c, dt = (b.norm(g.view(parts, (n, *t))) for n in (d_state, d_state, step))
    dt = b.mm(dt, n_head, "dt")
    wide = g.reshape(cur, head)
    y = scanned(b, wide, inner, d_state * inner, dt, g.view(b_, ("B",)), g.view(c, ("C",)))
    y = b.add(y, g.like(wide, name="skipped"))
    y = g.new("gated", head, g.new("z", head, z), y)
    return g.reshape(b.mm(g.reshape(y, (inner, *t)), m.n_embd, "state output"), (m.n_embd, "T"))


def delta_net(b: Build, x: Tensor, *, joint: bool) -> Tensor:
    """Qwen's gated delta net. In Qwen3-Next (`joint`) beta and alpha are one matrix, and queries
    and keys are repeated.
    """
    g, m, t = b.graph, b.model, tokens(b)
    k_head, n_k, n_v = m.ssm_d_state, m.ssm_n_group, m.ssm_dt_rank
    v_head = m.ssm_d_inner // n_v
    conv = m.ssm_d_inner + 2 * n_k * k_head
    qkv = g.reshape(b.mm(x, conv, "queries, keys, values"), (conv, *t))
    z = b.mm(x, m.ssm_d_inner, "z")
    if joint:
        both = b.mm(x, 2 * n_v, "beta and alpha")
        beta = g.like(g.new("beta", (n_v, *t), g.view(both, ("half",))))
        alpha = g.like(g.new("alpha", (n_v, *t), g.view(both, ("half",))))
    else:
        beta = g.like(g.reshape(b.mm(x, n_v, "beta"), (1, n_v, *t)))
        alpha = g.like(g.reshape(b.mm(x, n_v, "alpha"), (n_v, *t)))
    last = state(b, (m.ssm_d_conv - 1) * conv, "last inputs")
    cur = convolved(b, qkv, conv, m.ssm_d_conv, last)
    before = state(b, m.ssm_d_state * m.ssm_d_inner, "state")
    q, k = (g.like(g.view(cur, (k_head, n_k, *t)), name=name) for name in ("queries", "keys"))
    if joint and n_k != n_v:
        q, k = (
            g.new(s.name, (k_head, n_v, *t), g.reshape(s, (k_head, 1, n_k, "T"))) for s in (q, k)
        )
    v = g.view(cur, (v_head, n_v, *t))
    rule = _delta_rule(b, (q, k, v, alpha, beta), before, v_head, n_v)
    y = g.view(rule, (v_head, n_v, *t), plain=True)
    y = b.mul(b.norm(y), g.like(g.reshape(z, (v_head, n_v, *t))))
    cur = b.mm(g.reshape(y, (m.ssm_d_inner, *t)), m.n_embd, "state output")
    return g.reshape(cur, (m.n_embd, "T"))


def _delta_rule(
    b: Build, sources: tuple[Tensor, ...], before: Tensor, length: int, n_head: int
) -> Tensor:
    """The fused delta rule over heads of `length`: an output per token and the new state, which is
    stored. Returns both.
    """
    g = b.graph
    size: Size = ((4 * length * n_head, "T"), (4 * length * length * n_head, "S"))
    rule = g.new("delta rule", ("delta rule",), *sources, g.view(before, ("state",)), size=size)
    g.store(g.view(rule, ("state",)))
    return rule


def gated_attention(b: Build, x: Tensor) -> Tensor:
    """Attention whose output is multiplied by a gate that comes with the queries (Qwen3-Next,
    Qwen3.5).
    """
    g, length, n_head = b.graph, b.layer.n_embd_head_k, b.layer.n_head
    n_head_kv = b.layer.n_head_kv
    both = b.mm(x, 2 * length * n_head, "queries and gate")
    k, v = (b.mm(x, length * n_head_kv, name) for name in ("keys", "values"))
    q = g.like(g.view(both, (length, n_head, "T")), name="queries")
    k, v = (g.reshape(rows, (length, n_head_kv, "T")) for rows in (k, v))
    q, k = (g.like(rows, b.positions()) for rows in (q, b.norm(k)))
    gate = g.new("gate", (length * n_head, "T"), g.view(both, ("gate",)))
    cur = attend(b, q, k, v, out=None)
    return b.mm(b.mul(cur, g.like(gate)), b.model.n_embd, "attention output")


def kimi_delta(b: Build, x: Tensor) -> Tensor:
    """Kimi Linear's delta attention: a convolution for each of queries, keys and values."""
    g, m, t = b.graph, b.model, tokens(b)
    length, n_head = m.n_embd_head_kda, b.layer.n_head
    inner, taps = length * n_head, m.ssm_d_conv or 4
    last = state(b, 3 * (taps - 1) * inner, "last inputs")
    parts = []
    for name in ("queries", "keys", "values"):
        cur = convolved(b, g.reshape(b.mm(x, inner, name), (inner, *t)), inner, taps, last)
        parts.append(g.reshape(cur, (length, n_head, *t)))
    decay = g.reshape(b.mm(b.mm(x, length, "decay"), inner, "decay"), (length, n_head, "T"))
    decay = g.reshape(g.like(decay), (length, n_head, *t))
    beta = g.like(g.reshape(b.mm(x, n_head, "beta"), (1, n_head, *t)))
    before = state(b, length * length * n_head, "state")
    q, k, v = g.like(parts[0]), g.like(parts[1]), parts[2]
    rule = _delta_rule(b, (q, k, v, decay, beta), before, length, n_head)
    cur = g.new("attention", (length, n_head, *t), g.view(rule, ("output",)))
    gate = g.reshape(b.mm(b.mm(x, length, "gate"), inner, "gate"), (length, n_head, "T"))
    cur = b.mul(b.norm(g.reshape(cur, (length, n_head, "T"))), g.like(gate))
    return b.mm(g.new("attention", (inner, "T"), cur), m.n_embd, "attention output")


def short_conv(b: Build, x: Tensor) -> Tensor:
    """LFM2's gated short convolution."""
    g, m, t = b.graph, b.model, tokens(b)
    parts = b.mm(g.reshape(x, (m.n_embd, *t)), 3 * m.n_embd, "b, c and x")
    b_, c, x_ = (g.view(parts, (m.n_embd, *t)) for _ in range(3))
    gated = g.like(b_, x_, name="gated")
    cur = convolved(b, gated, m.n_embd, m.n_shortconv_l_cache, last_inputs(b), act=False)
    cur = g.like(c, cur, name="gated")
    return g.reshape(b.mm(cur, m.n_embd, "state output"), (m.n_embd, "T"))
